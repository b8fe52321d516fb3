"""A partition of the embedded broker's log, opened again and again."""

from pathlib import Path

from jabba.local.broker import configs
from jabba.local.broker.log import PartitionLog
from tests.support.batches import split, values
from tests.support.clocks import HandClock


class Partition:
    """A directory in which a log is opened again and again."""

    def __init__(self, directory: Path, clock: HandClock) -> None:
        self.directory = directory
        self._clock = clock

    def open(self, **overrides: str) -> PartitionLog:
        config = configs.parse({name.replace("_", "."): value for name, value in overrides.items()})
        return PartitionLog(self.directory, config, self._clock)

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.iterdir())


def read_all(log: PartitionLog) -> list[tuple[int, bytes | None]]:
    found: list[tuple[int, bytes | None]] = []
    offset = log.start_offset
    while offset < log.end_offset:
        batches = log.read(offset, 1000, at_least_one=True)
        found += [(place, value) for place, value in values(batches) if place >= offset]
        offset = split(batches)[-1].next_offset
    return found
