"""The configuration of a topic: Kafka's names, with the values that hold when nothing is set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiokafka.errors import InvalidConfigurationError

_MINUTE_MS = 60 * 1000
_DAY_MS = 24 * 60 * _MINUTE_MS
_MIB = 1024 * 1024
_FOR_EVER = -1


def _one_of(*names: str) -> Callable[[str], bool]:
    return lambda value: value in names


def _number(at_least: int) -> Callable[[str], bool]:
    return lambda value: value.lstrip("-").isdecimal() and int(value) >= at_least


def _ratio(value: str) -> bool:
    return value.replace(".", "", 1).isdecimal() and float(value) <= 1


_KNOWN: dict[str, tuple[str, Callable[[str], bool]]] = {
    "cleanup.policy": ("delete", _one_of("delete", "compact")),
    "delete.retention.ms": (str(60 * _MINUTE_MS), _number(0)),
    "max.message.bytes": (str(_MIB), _number(0)),
    "message.timestamp.type": ("CreateTime", _one_of("CreateTime", "LogAppendTime")),
    "min.cleanable.dirty.ratio": ("0.5", _ratio),
    "min.insync.replicas": ("1", _number(1)),
    "retention.bytes": (str(_FOR_EVER), _number(_FOR_EVER)),
    "retention.ms": (str(7 * _DAY_MS), _number(_FOR_EVER)),
    "segment.bytes": (str(64 * _MIB), _number(1)),
    "segment.ms": (str(7 * _DAY_MS), _number(1)),
    "unclean.leader.election.enable": ("false", _one_of("true", "false")),
}

DEFAULTS = {name: default for name, (default, _) in _KNOWN.items()}
"""Every setting of a topic that is known here. Those about replicas are accepted, and mean nothing to one broker."""


@dataclass(frozen=True, slots=True)
class TopicConfig:
    """What the configuration of a topic says, times in milliseconds; None stands for no limit.

    ``tombstone_ms`` is how long a compacted topic still shows that a key was deleted.
    """

    compacted: bool
    append_time: bool
    max_message_bytes: int
    segment_bytes: int
    segment_ms: int
    retention_ms: int | None
    retention_bytes: int | None
    dirty_ratio: float
    tombstone_ms: int


def parse(overrides: Mapping[str, str]) -> TopicConfig:
    """Read what is set for a topic.

    Raises:
        InvalidConfigurationError: a name is not known, or its value is none of its values.
    """
    for name, value in overrides.items():
        if name not in _KNOWN:
            raise InvalidConfigurationError(f"unknown topic config name: {name}")
        if not _KNOWN[name][1](value or ""):
            raise InvalidConfigurationError(f"invalid value {value!r} for configuration {name}")
    values = {**DEFAULTS, **overrides}
    return TopicConfig(
        compacted=values["cleanup.policy"] == "compact",
        append_time=values["message.timestamp.type"] == "LogAppendTime",
        max_message_bytes=int(values["max.message.bytes"]),
        segment_bytes=int(values["segment.bytes"]),
        segment_ms=int(values["segment.ms"]),
        retention_ms=_limit(values["retention.ms"]),
        retention_bytes=_limit(values["retention.bytes"]),
        dirty_ratio=float(values["min.cleanable.dirty.ratio"]),
        tombstone_ms=int(values["delete.retention.ms"]),
    )


def _limit(value: str) -> int | None:
    return None if int(value) == _FOR_EVER else int(value)
