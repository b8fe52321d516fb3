"""The keys that a web process has seen, in a file: for its next start, should PostgreSQL be away then."""

import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from web.authenticate import Seen

logger = logging.getLogger(__name__)

_SEEN = TypeAdapter(list[Seen])
_OWN = stat.S_IRUSR | stat.S_IWUSR


class KeyCache:
    """A file of keys, as they are stored: their hashes open nothing. Who could write to it could let anyone in."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Seen]:
        """Return what was written; nothing if that is not ours alone, or cannot be read."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & ~_OWN:
                    raise PermissionError("others may write or read it")
                return _SEEN.validate_json(file.read())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            logger.warning("key cache not used", extra={"file": self._path, "error": _reason(error)})
            return []

    def write(self, seen: Sequence[Seen]) -> None:
        """Write the keys in place of those before."""
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWN), "wb") as file:
                file.write(_SEEN.dump_json(list(seen)))
            beside.replace(self._path)
        except OSError as error:
            logger.warning("key cache cannot be written", extra={"file": self._path, "error": str(error)})


def _reason(error: Exception) -> str:
    # What is in the file may be anything, and belongs in no log.
    return str(error) if isinstance(error, OSError) else "it holds no keys"
