"""How long partitions stood still while work waited for them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from jabba.jobs.lifecycle import Strategy
from tests.fault.executions import Execution
from tests.fault.load import Accepted


class Pause(NamedTuple):
    """For so many seconds a partition had work waiting and started none of it; ``until`` is a monotonic time."""

    seconds: float = 0.0
    partition: int = 0
    until: float = 0.0

    def __str__(self) -> str:
        """Tell the pause, and when the clock of the logs showed its end."""
        ended = time.localtime(time.time() - time.monotonic() + self.until)
        return f"{self.seconds:.1f} s pause of partition {self.partition} until {time.strftime('%H:%M:%S', ended)}"


def longest_pause(accepted: Iterable[Accepted], executions: Sequence[Execution], partitions: int) -> Pause:
    """Return the longest pause of any partition.

    A step waits from the moment its job was accepted, or the step before it ended.
    """
    jobs = {str(one.plan.id): one for one in accepted}
    ends: dict[tuple[str, int], float] = {}
    for execution in executions:
        if execution.ended is not None:
            place = (execution.job, execution.index)
            ends[place] = min(execution.ended, ends.get(place, execution.ended))
    starts: dict[int, list[tuple[float, float]]] = {}
    for execution in executions:
        if (job := jobs.get(execution.job)) is not None:
            ready = _ready_since(job, execution, ends)
            partition = job.plan.partition(execution.index, partitions)
            starts.setdefault(partition, []).append((execution.started, ready))
    return max((_longest_gap(partition, sorted(moments)) for partition, moments in starts.items()), default=Pause())


def _ready_since(job: Accepted, execution: Execution, ends: Mapping[tuple[str, int], float]) -> float:
    if job.plan.strategy is Strategy.CONCURRENT or execution.index == 0:
        return job.at
    return ends.get((execution.job, execution.index - 1), job.at)


def _longest_gap(partition: int, moments: list[tuple[float, float]]) -> Pause:
    longest, waiting_since = Pause(), float("inf")
    for (before, _), (started, ready) in reversed(list(pairwise([(float("-inf"), 0.0), *moments]))):
        waiting_since = min(waiting_since, ready)
        longest = max(longest, Pause(started - max(before, waiting_since), partition, started))
    return longest
