"""The key of a local ``jabba up`` and where it runs: files of its data directory that only its owner may read."""

import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from jabba.errors import NotReady
from jabba.settings import Settings, remove_libpq_variables

_KEY = "key"
_URL = "url"
_KAFKA = "kafka"
_DATABASE = "database"


def path_of(data: Path) -> Path:
    """Return where the key stands."""
    return data / _KEY


def read(data: Path) -> str | None:
    """Return the key, or None when there is none or it belongs to somebody else."""
    key = _read(path_of(data))
    return key if key and key.isascii() else None


def write(data: Path, key: str) -> None:
    """Keep a key; at no moment may others read it."""
    write_private(path_of(data), key)


def write_places(data: Path, url: str, settings: Settings) -> None:
    """Keep where the web process is to which the key belongs, and the Kafka and PostgreSQL behind it."""
    write_private(data / _URL, url)
    write_private(data / _KAFKA, settings.kafka)
    write_private(data / _DATABASE, settings.database.get_secret_value())


def kafka(data: Path) -> str | None:
    """Return the Kafka of the last ``jabba up``, as ``host:port``; None when there was none."""
    return _read(data / _KAFKA)


def prepare(data: Path) -> None:
    """Create the directory if need be.

    Raises:
        NotReady: nothing can be written there.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        raise NotReady(f"nothing can be written in {data} ({error.strerror}); choose another --data") from error


def with_places(settings: Settings) -> Settings:
    """Return settings with the places of the ``jabba up`` in their data directory, where they name none themselves.

    That is the URL of the web, and Kafka and PostgreSQL if neither of both is named. The variables of libpq are removed
    from this process's environment then: they are not meant for that PostgreSQL.
    """
    given = settings.model_fields_set
    names = [_URL] if {_KAFKA, _DATABASE} & given else [_URL, _KAFKA, _DATABASE]
    places = {name: _read(settings.data / name) for name in names if name not in given}
    found = {name: place for name, place in places.items() if place}
    try:
        complete = Settings.model_validate(settings.model_dump(exclude_unset=True) | found)
    except ValidationError:
        # A power cut may leave anything in a file.
        return settings
    if _DATABASE in found:
        remove_libpq_variables()
    return complete


def key_for(settings: Settings, url: str) -> str | None:
    """Return the key to send to a URL: that of the settings or, only to a local ``jabba up``, its own; None without."""
    given = settings.key.get_secret_value()
    if given:
        return given
    return read(settings.data) if _read(settings.data / _URL) == url.rstrip("/") else None


def write_private(path: Path, text: str) -> None:
    """Write a file that at no moment others may read, and that is whole, or what it was, after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 — takes the mode
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _read(path: Path) -> str | None:
    """Return a file's line; None when there is none or, as a power cut leaves it, none that can be one."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if text and text.isprintable() else None
