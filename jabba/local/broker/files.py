"""Writing to files so that a full disk breaks nothing."""

import os

Buffer = bytes | bytearray | memoryview


def append_whole(file: int, content: Buffer, size: int) -> None:
    """Write to the end of a file of ``size`` bytes: all, or with an OSError nothing."""
    try:
        written = os.write(file, content)
        while written < len(content):
            written += os.write(file, memoryview(content)[written:])
    except OSError:
        os.truncate(file, size)
        raise
