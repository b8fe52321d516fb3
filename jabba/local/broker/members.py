"""The members of a consumer group: what they say, what they are told, and for what they wait."""

from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self, TypeVar

NO_GENERATION = -1
NEW_MEMBER = ""

Answer_contra = TypeVar("Answer_contra", contravariant=True)


class Reply(Protocol[Answer_contra]):
    """Where an answer that may come later is given, once; futures are of this kind."""

    def done(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def set_result(self, result: Answer_contra, /) -> None:
        """Answer."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Refuse."""
        ...


@dataclass(frozen=True, slots=True)
class Application:
    """What a member says when it joins; ``protocols`` are its ways of sharing out, best first, with its wishes."""

    client_id: str
    protocol_type: str
    protocols: list[tuple[str, bytes]]
    session_seconds: float
    rebalance_seconds: float
    member_id: str = NEW_MEMBER


class Joined(NamedTuple):
    """A new generation; only its leader learns of all members and their wishes."""

    generation: int
    protocol: str
    leader: str
    member_id: str
    members: list[tuple[str, bytes]]


@dataclass(slots=True)
class Member:
    """One consumer; ``expires`` is when its session ends unless it is heard of."""

    id: str
    application: Application
    expires: float
    share: bytes = b""
    joining: Reply[Joined] | None = None
    syncing: Reply[bytes] | None = None

    @classmethod
    def from_json(cls, document: dict[str, Any], expires: float) -> Self:
        """Make a member of what ``as_json`` answered."""
        said = document["application"]
        protocols = [(name, b64decode(wishes)) for name, wishes in said["protocols"]]
        application = Application(**(said | {"protocols": protocols}))
        return cls(document["id"], application, expires, b64decode(document["share"]))

    def as_json(self) -> dict[str, Any]:
        """Return who it is and what it reads, for a file."""
        protocols = [(name, b64encode(wishes).decode()) for name, wishes in self.application.protocols]
        application = asdict(self.application) | {"protocols": protocols}
        return {"id": self.id, "application": application, "share": b64encode(self.share).decode()}

    def wishes(self, protocol: str) -> bytes:
        """Return what it wants in this protocol."""
        return dict(self.application.protocols)[protocol]

    @property
    def is_silent(self) -> bool:
        """Whether it waits for no answer, and so has to be heard of."""
        return self.joining is None and self.syncing is None

    @property
    def protocols(self) -> list[str]:
        """The names of its ways of sharing out, best first."""
        return [name for name, _ in self.application.protocols]

    def tell_joined(self, joined: Joined) -> None:
        """Return its join."""
        reply, self.joining = self.joining, None
        if reply is not None and not reply.done():
            reply.set_result(joined)

    def tell_share(self) -> None:
        """Return its sync, if it waits for that."""
        reply, self.syncing = self.syncing, None
        if reply is not None and not reply.done():
            reply.set_result(self.share)

    def refuse(self, error: Exception) -> None:
        """Refuse whatever it waits for."""
        for reply in (self.joining, self.syncing):
            if reply is not None and not reply.done():
                reply.set_exception(error)
        self.joining = self.syncing = None
