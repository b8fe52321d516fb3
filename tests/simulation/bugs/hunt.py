"""Plants bugs, and looks for a seed that finds them."""

import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from typing import NamedTuple, Self

from tests.simulation.bugs import BUGS, Bug
from tests.simulation.simulation import run

MOST_SEEDS = 2000
"""Every bug must be found within so many seeds."""

_SEEDS_PER_CORE = 8


class Finding(NamedTuple):
    """The seed that found a bug, and the first rule that was broken."""

    seed: int
    violation: str


class Hunt:
    """Hunters on all cores: ``with Hunt() as hunt``."""

    def __init__(self) -> None:
        self._cores = os.cpu_count() or 1
        # A process that forks may have threads; and what a bug leaves unawaited is none of a reader's business.
        spawning = multiprocessing.get_context("spawn")
        self._hunters = ProcessPoolExecutor(self._cores, spawning, warnings.simplefilter, ("ignore",))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hunters.shutdown(cancel_futures=True)

    def find(self, bug: Bug) -> Finding | None:
        """Return what finds a bug: the seed that did so before, else the first of all; None if there is none."""
        for seeds in self._portions(bug):
            found = [one for one in self._hunters.map(_try, repeat(bug.name), seeds) if one is not None]
            if found:
                return found[0]
        return None

    def _portions(self, bug: Bug) -> Iterator[Iterable[int]]:
        yield [bug.found_by]
        together = self._cores * _SEEDS_PER_CORE
        for first in range(0, MOST_SEEDS, together):
            yield range(first, min(first + together, MOST_SEEDS))


def _try(name: str, seed: int) -> Finding | None:
    with BUGS[name].planted():
        report = run(seed)
    return Finding(seed, report.violations[0]) if report.violations else None
