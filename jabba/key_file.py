"""The key of a local ``jabba up``: a file of its data directory that only its owner may read."""

import os
from pathlib import Path

from jabba.settings import Settings

_KEY = "key"
_URL = "url"


def path_of(data: Path) -> Path:
    """Answer where the key stands."""
    return data / _KEY


def read(data: Path) -> str | None:
    """Answer the key, or None when there is none or it belongs to somebody else."""
    return _read(path_of(data))


def write(data: Path, key: str) -> None:
    """Keep a key; at no moment may others read it."""
    data.mkdir(parents=True, exist_ok=True)
    new = data / f"{_KEY}.new"
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 — takes the mode
        file.write(f"{key}\n")
    new.replace(path_of(data))


def write_url(data: Path, url: str) -> None:
    """Keep where the web process is to which the key belongs."""
    data.mkdir(parents=True, exist_ok=True)
    (data / _URL).write_text(f"{url}\n")


def key_for(settings: Settings, url: str) -> str | None:
    """Answer the key to send to a URL: that of the settings or, only to a local ``jabba up``, its own; None without."""
    given = settings.key.get_secret_value()
    if given:
        return given
    return read(settings.data) if _read(settings.data / _URL) == url.rstrip("/") else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
