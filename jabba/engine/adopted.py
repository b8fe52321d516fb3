"""How much of the table the slices of adopted lanes take."""

from collections.abc import Iterator


class AdoptedSlices:
    """The slices in one partition of the table, by key, and their sizes; ``bytes`` is kept, never counted."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self.bytes = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def add(self, key: str, size: int) -> None:
        """Note that the table holds this slice."""
        self.discard(key)
        self._sizes[key] = size
        self.bytes += size

    def discard(self, key: str) -> bool:
        """Note that it is to hold it no more; return whether it did."""
        size = self._sizes.pop(key, None)
        self.bytes -= size or 0
        return size is not None
