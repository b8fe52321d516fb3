"""What a worker holds in its table, and for how long."""

from dataclasses import dataclass, field

from jabba.engine.dedup_markers import Window


@dataclass(frozen=True, slots=True)
class Policy:
    """When lanes move into the table, how many bytes of slices a worker may hold there, and how long it remembers.

    ``suspects`` is how many lanes a worker that crashed may have been running: as many as a worker keeps in memory.
    """

    adopt_seconds: float = 10.0
    adopt_bytes: int = 64 * 1024 * 1024
    window: Window = field(default_factory=Window)
    suspects: int = 2000
