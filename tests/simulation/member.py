"""The worker's side of the simulated group: requests that take time, and may not arrive.

As in Faust, heartbeats come from a thread of their own: a main thread that is blocked does not stop them, a pause of
the whole process does.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

from aiokafka.errors import CommitFailedError, KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from jabba.engine.lease import Lease
from tests.simulation.group import HEARTBEAT_SECONDS, Assignment, Coordinator, UnknownMember
from tests.simulation.loop import Process
from tests.simulation.world import World


class Member:
    """A member of the group, as aiokafka's coordinator is one."""

    def __init__(self, world: World, group: Coordinator, process: Process, lease: Lease) -> None:
        self._world = world
        self._lease = lease
        self._group = group
        self._process = process
        self._names = 0
        self._joining = True
        self._left = False
        self.name: str | None = None
        self.generation = -1
        self.cut_until = 0.0
        self.must_join = asyncio.Event()
        self._rejoin_needed_fut = SimpleNamespace(done=self.must_join.is_set)
        self.heart = process.companion(f"heart of {process}")
        self.heart.start(self._beat())

    async def join(self) -> Assignment:
        """Take part in the next generation."""
        if self._left:
            await self._world.loop.create_future()
        self.must_join.clear()
        if self.name is None:
            self._names += 1
            self.name = f"{self._process}/{self._names}"
        self._joining = True
        while (assignment := await self._assigned()) is None:
            pass
        self._joining = False
        self.generation = assignment.generation
        return assignment

    async def _assigned(self) -> Assignment | None:
        """Join once and ask for the assignment; None if there is none any more."""
        name = cast("str", self.name)
        joined = await self._ask(lambda: self._group.join(name, self._process), insist=True)
        assignment: Assignment = await joined
        await asyncio.sleep(max(self._delay(), self.cut_until - self._world.now))
        since = self._lease.now()
        try:
            if await self._ask(lambda: self._group.sync(name, assignment.generation)):
                return None
        except KafkaConnectionError:
            return None
        except UnknownMember:
            self._names += 1
            self.name = f"{self._process}/{self._names}"
            return None
        self._lease.renew(since)
        return assignment

    async def commit(self, offsets: dict[tuple[str, int], OffsetAndMetadata]) -> None:
        """Commit offsets under the generation of this moment."""
        name, generation = self.name or "", self.generation
        try:
            await self._ask(lambda: self._group.commit(name, generation, offsets))
        except UnknownMember as error:
            self._forgotten(name, generation)
            raise CommitFailedError("simulated") from error

    def committed(self, place: tuple[str, int]) -> OffsetAndMetadata:
        """Return what the group has committed."""
        return self._group.committed[place]

    async def leave(self) -> None:
        """Say goodbye, after a rebalance that is under way, and take part in no other."""
        while self._joining:
            await self._world.pause(0.05)
        self._left, name = True, self.name
        if name is not None:
            with suppress(KafkaConnectionError):
                await self._ask(lambda: self._group.leave(name))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self.name is not None and not self._joining and not self._left:
                await self._do_heartbeat()

    async def _do_heartbeat(self) -> bool:
        """Send a heartbeat; return whether the coordinator still knows this member."""
        name, generation = self.name or "", self.generation
        try:
            join_again = await self._ask(lambda: self._group.heartbeat(name, generation))
        except UnknownMember:
            self._forgotten(name, generation)
            return False
        except KafkaConnectionError:
            return False
        if join_again and (self.name, self.generation) == (name, generation):
            self.must_join.set()
        return True

    def _forgotten(self, name: str, generation: int) -> None:
        if (self.name, self.generation) == (name, generation) and not self._joining:
            self.name = None
            self.must_join.set()

    async def _ask(self, request: Callable[[], Any], *, insist: bool = False) -> Any:
        """Send a request; one that cannot arrive fails after a while, unless it is sent again until it does."""
        while True:
            answer = self._world.loop.create_future()
            self._world.loop.later(self._delay(), self._arrive, request, answer)
            try:
                return await answer
            except KafkaConnectionError:
                if not insist:
                    raise

    def _arrive(self, request: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        if self._world.now < self.cut_until:
            self._world.loop.later(1.0, _settle, answer, KafkaConnectionError("simulated"), None)
            return
        error: Exception | None = None
        result = None
        try:
            result = request()
        except Exception as raised:  # noqa: BLE001 — the broker's answer, whatever it is
            error = raised
        self._world.loop.later(self._delay(), _settle, answer, error, result)

    def _delay(self) -> float:
        return self._world.delay()


def _settle(answer: asyncio.Future[Any], error: Exception | None, result: Any) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
