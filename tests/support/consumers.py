"""Members of the embedded broker's consumer groups, without a socket."""

from concurrent.futures import Future

from jabba.local.broker.groups import Group
from jabba.local.broker.members import Application, Joined

SESSION = 10.0
ROUND = 30.0


class Consumer:
    """A member that says what a test tells it to."""

    def __init__(self, group: Group, name: str, *, protocols: tuple[str, ...] = ("range",)) -> None:
        self.group = group
        self.name = name
        self.id = ""
        self.protocols = [(protocol, name.encode()) for protocol in protocols]
        self.answer: Future[Joined] = Future()
        self.share: Future[bytes] = Future()

    @property
    def joined(self) -> Joined:
        return self.answer.result(0)

    def join(self, *, kind: str = "consumer", session: float = SESSION) -> "Consumer":
        self.answer, self.share = Future(), Future()
        self.group.join(Application(self.name, kind, self.protocols, session, ROUND, self.id), self.answer)
        return self

    def learn(self) -> "Consumer":
        """Take the id that the broker gave it."""
        self.id = self.joined.member_id
        return self

    def sync(self, shares: dict[str, bytes] | None = None, *, generation: int | None = None) -> "Consumer":
        at = self.joined.generation if generation is None else generation
        self.group.sync(self.id, at, shares or {}, self.share)
        return self

    def heartbeat(self) -> None:
        self.group.heartbeat(self.id, self.joined.generation)


def stable(group: Group, *names: str) -> list[Consumer]:
    """Bring members into a group until each has its share, which is its name."""
    consumers: list[Consumer] = []
    for name in names:
        newcomer = Consumer(group, name).join()
        for one in consumers:
            one.join()
        consumers.append(newcomer)
        for one in consumers:
            one.learn()
    for one in consumers:
        one.sync({other.id: other.name.encode() for other in consumers})
    assert [one.share.result(0) for one in consumers] == [name.encode() for name in names]
    return consumers
