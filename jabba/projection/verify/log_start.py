"""Where the log begins, which decides of which jobs it has everything. No I/O."""

from dataclasses import dataclass
from typing import Self

from jabba.kafka.admin import RETENTION_SECONDS
from jabba.messages.topics import Topics
from jabba.projection.replay import Replay
from jabba.projection.verify.compare import JobRows, as_json
from jabba.projection.verify.expected import Account


@dataclass(frozen=True, slots=True)
class Beginning:
    """All messages from ``since`` on (milliseconds, exclusive) are kept; ``deleted`` tells whether any is not."""

    since: int
    deleted: bool

    @classmethod
    def of(cls, replay: Replay, topics: Topics, now: float) -> Self:
        """Learn it from the oldest messages, of a log that was read, and the time, in seconds.

        A partition of the tasks topic that has lost none still has its first message, which is as old as the log. One
        that has lost all has lost none that is younger than messages are kept.
        """
        since = [0]
        for place, offset in replay.beginnings.items():
            at = replay.first_at.get(place, int((now - RETENTION_SECONDS) * 1000))
            if offset or (place[0] == topics.tasks and place in replay.first_at):
                since.append(at)
        return cls(max(since), any(replay.beginnings.values()))

    def has_all_of(self, log: Account, live: JobRows) -> bool:
        """Return whether the log has everything about a job, as far as it has anything."""
        times = [as_json(row["inserted_at"]) for row in (log.rows.job, live.job) if row is not None]
        known = log.complete or live.job is not None or not self.deleted
        return known and all(at > self.since for at in times)
