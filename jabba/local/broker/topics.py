"""The topics: their partitions and configurations, kept in a file beside the logs."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from aiokafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from jabba.clock import Clock
from jabba.local.broker import configs
from jabba.local.broker.journal import Journal
from jabba.local.broker.log import PartitionLog

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_FROM_DEFAULT = -1
_MAX_PARTITIONS = 1000


class Topics:
    """All topics of a directory; opening it opens every log."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._logs_directory = directory / "logs"
        self._clock = clock
        self._journal = Journal(directory / "topics.jsonl")
        self._logs: dict[str, list[PartitionLog]] = {}
        self._overrides: dict[str, dict[str, str]] = {}
        for name, partitions, overrides in self._journal.load():
            self._open(name, partitions, overrides)
        self._journal.rewrite([name, len(logs), self._overrides[name]] for name, logs in self._logs.items())

    @property
    def names(self) -> list[str]:
        """The names of all topics."""
        return list(self._logs)

    def logs(self) -> Iterator[PartitionLog]:
        """Return the logs of all partitions."""
        for logs in self._logs.values():
            yield from logs

    def partitions(self, name: str) -> int:
        """Return how many partitions a topic has.

        Raises:
            UnknownTopicOrPartitionError: there is no such topic.
        """
        return len(self._logs_of(name))

    def log(self, name: str, partition: int) -> PartitionLog:
        """Return the log of a partition.

        Raises:
            UnknownTopicOrPartitionError: there is no such topic or partition.
        """
        logs = self._logs_of(name)
        if not 0 <= partition < len(logs):
            raise UnknownTopicOrPartitionError
        return logs[partition]

    def overrides(self, name: str) -> dict[str, str]:
        """Return what was configured for a topic itself.

        Raises:
            UnknownTopicOrPartitionError: there is no such topic.
        """
        self._logs_of(name)
        return self._overrides[name]

    def create(
        self, name: str, partitions: int, replication: int, overrides: Mapping[str, str], *, only_check: bool = False
    ) -> None:
        """Create a topic; ``partitions`` and ``replication`` may be -1 for the default of 1.

        Raises:
            InvalidTopicError, TopicAlreadyExistsError, InvalidPartitionsError, InvalidReplicationFactorError,
            InvalidConfigurationError: it cannot be created.
        """
        count = 1 if partitions == _FROM_DEFAULT else partitions
        if not _NAME.fullmatch(name) or name in (".", ".."):
            raise InvalidTopicError(f"topic name {name!r} is illegal")
        if name in self._logs:
            raise TopicAlreadyExistsError(f"topic {name!r} already exists")
        if not 1 <= count <= _MAX_PARTITIONS:
            raise InvalidPartitionsError(f"a topic has 1 to {_MAX_PARTITIONS} partitions, not {count}")
        if replication not in (_FROM_DEFAULT, 1):
            raise InvalidReplicationFactorError(f"there is one broker, and {replication} replicas were asked for")
        configs.parse(overrides)
        if not only_check:
            self._journal.append([name, count, dict(overrides)])
            self._open(name, count, dict(overrides))

    def configure(self, name: str, overrides: Mapping[str, str], *, only_check: bool = False) -> None:
        """Set the configuration of a topic; what is not named gets its default.

        Raises:
            UnknownTopicOrPartitionError, InvalidConfigurationError: it cannot be set.
        """
        logs = self._logs_of(name)
        configs.parse(overrides)
        if not only_check:
            self._journal.append([name, len(logs), dict(overrides)])
            self._open(name, len(logs), dict(overrides))

    def unsynced(self) -> list[int]:
        """Return descriptors of the files written to since the last call, the caller's to sync and to close."""
        return [*self._journal.unsynced(), *(descriptor for log in self.logs() for descriptor in log.unsynced())]

    def close(self) -> None:
        """Close all files."""
        self._journal.close()
        for log in self.logs():
            log.close()

    def _open(self, name: str, partitions: int, overrides: dict[str, str]) -> None:
        config = configs.parse(overrides)
        self._overrides[name] = overrides
        if name not in self._logs:
            self._logs[name] = [
                PartitionLog(self._logs_directory / f"{name}-{partition}", config, self._clock)
                for partition in range(partitions)
            ]
        for log in self._logs[name]:
            log.config = config

    def _logs_of(self, name: str) -> list[PartitionLog]:
        if name not in self._logs:
            raise UnknownTopicOrPartitionError(f"there is no topic {name!r}")
        return self._logs[name]
