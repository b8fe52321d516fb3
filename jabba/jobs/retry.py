"""Retry policies: how often a task is attempted, and how long it waits in between. Pure."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field

MOST_ATTEMPTS = 1000
LONGEST_SECONDS = 365 * 24 * 3600.0
"""No time in a policy is longer."""

JITTER = 0.2
"""A delay is lengthened at random by up to this part of it, never shortened, so that retries of many tasks spread."""

Seconds = Annotated[float, Field(gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)]
ErrorFilter = Annotated[str, Field(min_length=1, max_length=500)]


class Retry(BaseModel):
    """A retry policy, of a service, a callback, a job or a task; what is None is left to the next one outside.

    Attributes:
        max_attempts: calls of the callback in all; 1 means no retry.
        initial: seconds before the second attempt.
        factor: what each following delay is multiplied by.
        max: the longest delay, in seconds.
        retry_for: seconds from the first attempt after which no other one begins.
        retry_on: filters such as ``error.code:temporary``; only errors that match one are retried. An answered error is
            retried only if one of them matches.
        never_on: filters of errors that are never retried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int | None = Field(default=None, ge=1, le=MOST_ATTEMPTS)
    initial: Seconds | None = None
    factor: float | None = Field(default=None, ge=1, le=100)
    max: Seconds | None = None
    retry_for: Seconds | None = None
    retry_on: list[ErrorFilter] | None = Field(default=None, max_length=20)
    never_on: list[ErrorFilter] | None = Field(default=None, max_length=20)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy in force; ``explicit`` says that somebody has set ``max_attempts``.

    The defaults: three attempts where no answer came, one where the callback itself answered or raised.
    """

    max_attempts: int = 3
    initial: float = 1.0
    factor: float = 2.0
    max: float = 60.0
    retry_for: float | None = None
    retry_on: tuple[str, ...] = ()
    never_on: tuple[str, ...] = ()
    explicit: bool = False

    @classmethod
    def of(cls, *policies: Retry | None) -> Self:
        """Merge policies field by field; a later one goes before an earlier one."""
        fields: dict[str, object] = {}
        for one in policies:
            if one is not None:
                fields |= one.model_dump(exclude_none=True)
        for name in ("retry_on", "never_on"):
            if name in fields:
                fields[name] = tuple(fields[name])  # type: ignore[arg-type]  # a list of texts
        return cls(**fields, explicit="max_attempts" in fields)  # type: ignore[arg-type]  # as Retry has checked them

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds between the end of an attempt, counted from 1, and the next one.

        ``random`` is from 0 to 1.
        """
        try:
            delay = min(self.initial * self.factor ** (attempt - 1), self.max)
        except OverflowError:
            delay = self.max
        return delay * (1 + JITTER * random)


class Defaults(NamedTuple):
    """What holds for a callback where neither its job nor its task says anything; ``timeout`` is in seconds."""

    retry: Retry | None = None
    timeout: float | None = None


NO_DEFAULTS = Defaults()
