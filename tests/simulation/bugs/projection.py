"""Bugs in what becomes of events."""

from typing import Any

from jabba.jobs.lifecycle import FINAL
from jabba.kafka.writer import Log
from jabba.projection.reference import Rows
from tests.simulation.bugs.planting import Patch, bug


@bug("Ended tasks are counted by event instead of by difference", found_by=1)
def counts_by_event() -> list[Patch]:
    write = Rows._write_task

    def count_always(self: Rows, new: Any) -> Any:
        write(self, new)
        return self.tasks[new["id"]] if new["status"] in FINAL else None

    return [(Rows, "_write_task", count_always)]


@bug("An event of a lower version takes a task back", found_by=4)
def takes_tasks_back() -> list[Patch]:
    return [(Rows, "follows", staticmethod(lambda *_: True))]


@bug("An event that was refused is not sent again", found_by=11)
def gives_events_up() -> list[Patch]:
    append = Log.append

    async def append_once(self: Log, topic: str, *arguments: Any, **options: Any) -> int:
        if topic.endswith("events"):
            options |= {"once": True}
        return await append(self, topic, *arguments, **options)

    return [(Log, "append", append_once)]
