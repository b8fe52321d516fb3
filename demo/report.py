"""The report on an audit: which distributions are the largest, and what was found."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Finding = dict[str, Any]
"""What ``audit`` answered of one distribution."""

COUNTS = ("files", "bytes", "unchecked", "mismatches", "missing")


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """Sum up what can be summed up, and count the distributions."""
    listed = list(findings)
    return {"distributions": len(listed)} | {name: sum(one[name] for one in listed) for name in COUNTS}


def largest(findings: Iterable[Finding], count: int) -> list[Finding]:
    """Return the distributions with the most bytes, the largest first."""
    return sorted(findings, key=lambda one: (-one["bytes"], one["distribution"]))[:count]


def write(path: Path, run_id: str, sums: dict[str, int], top: list[Finding]) -> str:
    """Write the report as Markdown; return its sha256."""
    summary = (
        f"Run `{run_id}`: {sums['distributions']} distributions, {sums['files']:,} files, {sums['bytes']:,} bytes, "
        f"{sums['mismatches']} mismatches, {sums['missing']} missing, {sums['unchecked']:,} without a recorded digest."
    )
    lines = [
        "# Software supply chain",
        "",
        summary,
        "",
        f"The {len(top)} largest:",
        "",
        "| distribution | version | files | bytes | mismatches | missing |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {one['distribution']} | {one['version']} | {one['files']:,} | {one['bytes']:,} "
            f"| {one['mismatches']} | {one['missing']} |"
            for one in top
        ),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return digest(path)


def digest(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def faults(path: Path, sha256: str, sums: dict[str, int], top: list[Finding]) -> list[str]:
    """Check that a report is the one that was written, and tells these numbers; return what is wrong."""
    text = path.read_text()
    rows = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][2:]
    expected = [one["distribution"] for one in top]
    checks = {
        f"its digest is not {sha256}": digest(path) == sha256,
        f"it does not tell of {sums['files']:,} files": f" {sums['files']:,} files" in text,
        f"it does not tell of {sums['bytes']:,} bytes": f" {sums['bytes']:,} bytes" in text,
        f"it lists {rows}, not {expected}": rows == expected,
    }
    return [fault for fault, holds in checks.items() if not holds]
