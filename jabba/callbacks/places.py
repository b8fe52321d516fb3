"""What steps share, of which there are only so many: slots and threads; who holds them, and whether anyone waits."""

from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID


class Held(NamedTuple):
    """A step that holds a place: the name of its callback, its job, and since when, by a monotonic clock."""

    callback: str
    job: UUID
    since: float


class Capacity(NamedTuple):
    """At most so many places of a kind, those that are held, and how many steps wait for one."""

    kind: str
    limit: int
    held: Callable[[], Iterable[Held]]
    waiting: Callable[[], int]
