"""How a bug is planted: some attributes of the engine are replaced for a while."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

Patch = tuple[type, str, Any]
"""Which attribute of a class is replaced by what."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A seeded defect: what is wrong, in one sentence, and how to bring it about.

    ``found_by`` is the seed that found it last: tried first, it saves a search for as long as schedules do not shift.
    """

    name: str
    sentence: str
    found_by: int
    patches: list[Patch]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Bring the defect about for a while."""
        with ExitStack() as planted:
            for owner, name, wrong in self.patches:
                planted.enter_context(patch.object(owner, name, wrong))
            yield


BUGS: dict[str, Bug] = {}


def bug(sentence: str, *, found_by: int) -> Callable[[Callable[[], list[Patch]]], None]:
    """Keep a bug under the name of the function that answers its patches."""

    def keep(patches: Callable[[], list[Patch]]) -> None:
        BUGS[patches.__name__] = Bug(patches.__name__, sentence, found_by, patches())

    return keep


async def at_once(*_: Any) -> None:
    """Wait for nothing."""
