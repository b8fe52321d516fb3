"""Checking an installed distribution against the RECORD that its installer wrote."""

import base64
import csv
import hashlib
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path
from typing import NamedTuple

_FAULTS_NAMED = 20
"""Faulty files that an answer names; all are counted."""


class Entry(NamedTuple):
    """A line of a RECORD: the digest is empty for files without one, such as those Python compiled afterwards."""

    name: str
    path: Path
    algorithm: str
    digest: str
    size: int | None


def audit(distribution: Distribution) -> dict[str, object]:
    """Check every file of a distribution; answer counts, bytes on disk, and what is wrong with which file.

    ``unchecked`` counts files that are there but have no digest in the RECORD.
    """
    files = total = unchecked = 0
    mismatches: list[str] = []
    missing: list[str] = []
    for entry in entries(distribution):
        files += 1
        if not entry.path.is_file():
            missing.append(entry.name)
            continue
        total += entry.path.stat().st_size
        if not entry.digest:
            unchecked += 1
        elif not _is_as_recorded(entry):
            mismatches.append(entry.name)
    return {
        "distribution": distribution.metadata["Name"],
        "version": distribution.version,
        "files": files,
        "bytes": total,
        "unchecked": unchecked,
        "mismatches": len(mismatches),
        "missing": len(missing),
        "faults": [*mismatches, *missing][:_FAULTS_NAMED],
    }


def entries(distribution: Distribution) -> Iterator[Entry]:
    """Read the RECORD; a distribution without one has no entries.

    ``Distribution.files`` would leave missing files out.
    """
    for name, hashed, size in csv.reader((distribution.read_text("RECORD") or "").splitlines()):
        algorithm, _, digest = hashed.partition("=")
        yield Entry(name, Path(str(distribution.locate_file(name))), algorithm, digest, int(size) if size else None)


def _is_as_recorded(entry: Entry) -> bool:
    with entry.path.open("rb") as file:
        digest = hashlib.file_digest(file, entry.algorithm).digest()
        size = file.tell()
    encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return encoded == entry.digest and entry.size in (None, size)
