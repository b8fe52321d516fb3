"""Who may do what: the roles, what each of them permits, and the types of jobs that a key is limited to. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from jabba.errors import FieldError, Forbidden, InvalidRequest
from jabba.printable import quoted

_ANY_REST = "*"
_LONGEST = 255


class Permission(StrEnum):
    """What a route may ask of its caller."""

    SUBMIT = "submit"
    READ = "read"
    SEARCH = "search"
    OPERATE = "operate"
    ADMINISTER = "administer"


class Role(StrEnum):
    """What a key is for."""

    SUBMITTER = "submitter"
    READER = "reader"
    OPERATOR = "operator"
    ADMIN = "admin"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {
        Role.SUBMITTER: frozenset({Permission.SUBMIT, Permission.READ}),
        Role.READER: frozenset({Permission.READ, Permission.SEARCH}),
        Role.OPERATOR: frozenset({Permission.SUBMIT, Permission.READ, Permission.SEARCH, Permission.OPERATE}),
        Role.ADMIN: frozenset(Permission),
    }
)
"""The one table of access: a submitter reads the jobs whose ids it has, a reader finds all others."""


def roles_with(permission: Permission) -> list[Role]:
    """Return the roles that have a permission."""
    return [role for role, permissions in PERMISSIONS.items() if permission in permissions]


@dataclass(frozen=True, slots=True)
class TypeScope:
    """The types of jobs that a key is limited to: ``audit_*`` is every one that begins so, without patterns all are."""

    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, patterns: Iterable[str]) -> Self:
        """Check patterns.

        Raises:
            InvalidRequest: one is empty, too long, or has its ``*`` before the end.
        """
        given = tuple(patterns)
        for number, pattern in enumerate(given):
            if not 0 < len(pattern) <= _LONGEST or _ANY_REST in pattern[:-1] or "\0" in pattern:
                message = f"invalid type pattern {quoted(pattern)}: * is allowed only at the end"
                raise InvalidRequest.at(f"types[{number}]", message)
        return cls(given)

    @property
    def limited(self) -> bool:
        """Return whether there are types beyond it."""
        return bool(self.patterns)

    def allows(self, type_: str) -> bool:
        """Return whether jobs of a type are within it."""
        return not self.patterns or any(_matches(pattern, type_) for pattern in self.patterns)

    def __str__(self) -> str:
        return ", ".join(self.patterns) or _ANY_REST


EVERY_TYPE = TypeScope()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request; ``key`` is the id of its key, None where there is no access control."""

    role: Role
    types: TypeScope = EVERY_TYPE
    key: str | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """Return what the role permits."""
        return PERMISSIONS[self.role]

    def require(self, permission: Permission) -> None:
        """Refuse what the role does not permit.

        Raises:
            Forbidden: names the permission and the roles that have it.
        """
        if permission not in PERMISSIONS[self.role]:
            roles = ", ".join(roles_with(permission))
            raise Forbidden(f"this needs the permission {permission}, which {roles} have; this key is a {self.role}'s")

    def require_type(self, type_: str) -> None:
        """Refuse to submit a job of a type beyond the key's.

        Raises:
            Forbidden: names the types that it may submit.
        """
        if not self.types.allows(type_):
            message = f"this key is limited to the types {self.types}"
            raise Forbidden(message, [FieldError("type", message)])

    def require_every_type(self) -> None:
        """Refuse a key that is limited to some types what tells of all.

        Raises:
            Forbidden: names its types.
        """
        if self.types.limited:
            raise Forbidden(f"this tells of jobs of every type, and this key is limited to the types {self.types}")


ANYONE = Caller(Role.ADMIN)
"""Every caller where there is no access control, or on a route that is open to all."""


def _matches(pattern: str, type_: str) -> bool:
    return type_.startswith(pattern[:-1]) if pattern.endswith(_ANY_REST) else type_ == pattern
