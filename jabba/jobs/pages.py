"""Pages of what was searched for."""

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class Count(BaseModel):
    """How many items meet a search, on all of its pages: counted one by one, or estimated where they are many."""

    model_config = ConfigDict(frozen=True)

    value: int
    exact: bool


class Page(list[Item]):
    """A list of items, of which there may be more.

    ``next`` is the cursor of the page behind this one, None when there is none. ``total`` tells how many items there
    are in all, if that was asked for; it is no ``count``, since lists have a method of that name.
    """

    def __init__(self, items: Iterable[Item] = (), *, next: str | None = None, total: Count | None = None) -> None:  # noqa: A002 — its name in the interface
        super().__init__(items)
        self.next = next
        self.total = total
