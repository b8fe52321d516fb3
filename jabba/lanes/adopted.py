"""How much of the table the slices of adopted lanes take."""


class Adopted:
    """The bytes of the slices in one partition of the table, by lane; ``bytes`` is kept, never counted."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self.bytes = 0

    def add(self, key: str, size: int) -> None:
        """Note that the table holds the slice of this lane."""
        self.discard(key)
        self._sizes[key] = size
        self.bytes += size

    def discard(self, key: str) -> None:
        """Note that it holds it no more."""
        self.bytes -= self._sizes.pop(key, 0)
