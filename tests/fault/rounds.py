"""A round: load, a fault in the middle of it, and the verdict once everything has come to rest."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.fault.executions import Execution
from tests.fault.faults import Fault, Scene
from tests.fault.house import House, wait_until
from tests.fault.load import Accepted, Load, Pace
from tests.fault.pauses import Pause, longest_pause
from tests.fault.projection import EventLog, read_projection, unended
from tests.fault.verdict import Disruption, Evidence, Verdict, judge

REST_SECONDS = 180.0
"""How long it may take until every job has ended and every offset is committed, on a busy machine."""

_BEFORE_SECONDS = (1.0, 3.0)
_AFTER_SECONDS = 3.0


@dataclass(frozen=True)
class Result:
    """What came of a round: the verdict, and the longest pause."""

    fault: str
    seed: int
    verdict: Verdict
    pause: Pause


class Rounds:
    """Rounds in one house; what ran in an earlier one must never run again."""

    def __init__(self, house: House, pace: Pace | None = None) -> None:
        self._house = house
        self._pace = pace
        self._events = EventLog(house.settings)

    def play(self, fault: Fault, seed: int) -> Result:
        """Play one round."""
        house, rng = self._house, random.Random(seed)
        with Load(house.settings.kafka, house.settings.prefix, house.url, seed, self._pace) as load:
            time.sleep(rng.uniform(*_BEFORE_SECONDS))
            disruptions = fault(Scene(house, load, rng))
            time.sleep(_AFTER_SECONDS)
        accepted = load.submissions.accepted
        missing = self._await_rest(set(accepted))
        executions = house.executions.new()
        verdict = self._judge(accepted, executions, disruptions)
        for problem in missing:
            verdict.add("lost", problem)
        self._revive(verdict)
        pause = longest_pause(accepted.values(), executions, house.settings.partitions)
        return Result(fault.__name__, seed, verdict, pause)

    def _judge(
        self, accepted: dict[UUID, Accepted], executions: Sequence[Execution], disruptions: Sequence[Disruption]
    ) -> Verdict:
        projection = read_projection(self._house.settings, accepted)
        return judge(Evidence(accepted, executions, projection, self._events.outcomes(), disruptions))

    def _await_rest(self, jobs: set[UUID]) -> list[str]:
        """Wait until all jobs have ended, and no worker needs the log any more; return what did not come."""
        settings, left = self._house.settings, jobs

        def all_ended() -> bool:
            nonlocal left
            left = unended(settings, left)
            return not left

        try:
            wait_until(all_ended, REST_SECONDS, lambda: f"{len(left)} jobs have not ended: {sorted(left)[:3]}")
            wait_until(
                lambda: not self._house.uncommitted(),
                REST_SECONDS,
                lambda: f"offsets are not committed: {self._house.uncommitted()}",
            )
        except AssertionError as late:
            return [str(late)]
        return []

    def _revive(self, verdict: Verdict) -> None:
        """Start what has ended by itself, and say so."""
        for process in self._house.processes:
            if not process.running:
                verdict.add("wrong", process.account("ended by itself"))
                process.start()
