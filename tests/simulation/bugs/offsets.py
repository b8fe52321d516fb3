"""Bugs in what is committed, and what is read again."""

from agents.replay import Intake
from jabba.engine.engine import Engine
from jabba.engine.offsets import AckTracker
from jabba.engine.partition import OwnedPartition
from tests.simulation.bugs.planting import Patch, at_once, bug


@bug("An offset is committed as soon as its message is finished, whatever is before it", found_by=0)
def acknowledges_out_of_order() -> list[Patch]:
    finish = AckTracker.finish

    def finish_first(self: AckTracker, partition: int, offset: int) -> None:
        finish(self, partition, offset)
        if (known := self._partitions.get(partition)) is not None:
            known.committable = max(known.committable or 0, offset + 1)

    return [(AckTracker, "finish", finish_first)]


@bug("A message that is read again after a rebalance counts twice", found_by=101)
def counts_a_message_twice() -> list[Patch]:
    return [(OwnedPartition, "forget_offsets", lambda _: None)]


@bug("A message that arrives between revoke and assign is followed alone", found_by=93)
def follows_messages_of_the_past() -> list[Patch]:
    def forget(self: Engine) -> None:
        self._tracker.reset()
        self._commands.reset()

    return [(Engine, "forget_offsets", forget)]


@bug("The offset of an adopted lane is released before the table has its slice", found_by=1)
def releases_before_adoption() -> list[Patch]:
    adopt_old = OwnedPartition._adopt_old

    async def release_first(self: OwnedPartition, now: float) -> None:
        for running in list(self._running.values()):
            if now - running.since >= self._policy.adopt_seconds:
                self._finish_offsets(running)
        await adopt_old(self, now)

    return [(OwnedPartition, "_adopt_old", release_first)]


@bug("A message that was fetched and never came is committed over", found_by=47)
def passes_over_what_never_came() -> list[Patch]:
    return [(Intake, "_fill", at_once)]


@bug("The last message of a partition is not looked for when it never came", found_by=21)
def looks_for_no_last_message() -> list[Patch]:
    return [(Intake, "look", at_once)]
