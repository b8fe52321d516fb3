"""Roles, type scopes, and the form of keys."""

from datetime import UTC, datetime, timedelta

import pytest

from jabba.auth.api_keys import hash_of, id_of, new_key
from jabba.auth.roles import ANYONE, PERMISSIONS, Caller, Permission, Role, TypeScope, roles_with
from jabba.errors import Forbidden, InvalidRequest, Unauthorized
from jabba.settings import Settings
from web.operations import operations_of
from web.routes import VIEWS, open_routes

HEALTH = {"/health/live", "/health/submit", "/health/ready"}
FILES = {"/", "/assets/{path}"}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_each_role_may_do() -> None:
    assert {role: sorted(permissions) for role, permissions in PERMISSIONS.items()} == {
        "submitter": ["read", "submit"],
        "reader": ["read", "search"],
        "operator": ["operate", "read", "search", "submit"],
        "admin": ["administer", "operate", "read", "search", "submit"],
    }
    assert set(PERMISSIONS) == set(Role)


def test_every_route_names_a_permission_or_is_open_and_only_health_is() -> None:
    needs = {(view.view_path, method): one.needs for view in VIEWS for method, one in operations_of(view).items()}

    assert {path for (path, _), needed in needs.items() if needed is None} == HEALTH | {"/v1/session"}
    assert {needed for needed in needs.values() if needed is not None} <= set(Permission)


def test_a_role_without_a_permission_is_told_which_and_who_has_it() -> None:
    with pytest.raises(
        Forbidden, match=r"needs the permission search, which reader, operator, admin have; .*submitter"
    ):
        Caller(Role.SUBMITTER).require(Permission.SEARCH)
    Caller(Role.READER).require(Permission.SEARCH)
    assert roles_with(Permission.ADMINISTER) == ["admin"]
    for permission in Permission:
        ANYONE.require(permission)


@pytest.mark.parametrize(
    "patterns, type_, allowed",
    [
        ((), "anything", True),
        (("order",), "order", True),
        (("order",), "orders", False),
        (("order",), "Order", False),
        (("order", "audit_*"), "audit_report", True),
        (("audit_*",), "audit_", True),
        (("audit_*",), "audit", False),
        (("audit_*",), "my_audit_", False),
        (("*",), "anything", True),
    ],
)
def test_types_within_a_scope(patterns: tuple[str, ...], type_: str, allowed: bool) -> None:  # noqa: FBT001 — a column
    assert TypeScope.parse(patterns).allows(type_) is allowed


@pytest.mark.parametrize("pattern", ["", "a*b", "**", "nul\0", "x" * 256])
def test_what_is_no_type_is_refused_by_its_place(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match=r"types\[1\]"):
        TypeScope.parse(["fine", pattern])


def test_a_caller_beyond_its_types_is_told_which_it_has() -> None:
    caller = Caller(Role.ADMIN, TypeScope(("order", "audit_*")))

    caller.require_type("audit_report")
    with pytest.raises(Forbidden, match=r"limited to the types order, audit_\*") as caught:
        caller.require_type("salary")
    assert [one.field for one in caught.value.fields] == ["type"]


def test_of_a_key_only_a_hash_is_kept_and_its_text_is_long_random_and_its_own() -> None:
    made = [new_key(Role.READER, NOW, types=TypeScope()) for _ in range(100)]

    texts = {text for _, text in made}
    assert len(texts) == len({key.id for key, _ in made}) == 100
    for key, text in made:
        secret = text.rpartition("_")[2]
        assert len(bytes.fromhex(secret)) == 32
        assert id_of(text) == key.id
        assert key.is_text(text)
        assert not key.is_text(text[:-1] + ("0" if text[-1] != "0" else "1"))
        assert secret not in repr(key)
        assert key.hash == hash_of(text)
        assert key.hash not in repr(key)


@pytest.mark.parametrize("text", ["", "jabba_", "jabba_123_456", "secret", f"jabba_{'0' * 12}_{'g' * 64}", "ключ"])
def test_what_has_not_the_form_of_a_key_has_no_id(text: str) -> None:
    assert id_of(text) is None


def test_a_key_ends_at_its_time_and_when_it_is_revoked() -> None:
    ends = NOW + timedelta(days=1)
    key, _ = new_key(Role.READER, NOW, types=TypeScope(("a",)), expires_at=ends)

    assert key.caller(ends.timestamp() - 1) == Caller(Role.READER, TypeScope(("a",)), key.id)
    with pytest.raises(Unauthorized, match="expired"):
        key.caller(ends.timestamp())


def test_the_documentation_is_open_only_when_a_setting_says_so() -> None:
    assert {path for method, path in open_routes(Settings()) if method == "GET"} == HEALTH | FILES
    assert {path for method, path in open_routes(Settings(open_docs=True)) if method == "GET"} == {
        *HEALTH,
        *FILES,
        "/docs",
        "/openapi.json",
    }
