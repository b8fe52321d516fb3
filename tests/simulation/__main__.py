"""Many seeds on all cores, and a table of what they did.

    python -m tests.simulation --seeds 10000
    python -m tests.simulation --first 202 --seeds 1 --tell

A violation prints its seed; the seed replays it, with ``--tell`` line by line.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator

from tests.simulation.simulation import Report, run

_CHUNK = 20


def main() -> None:
    """Run the seeds; exit 1 if a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--tell", action="store_true", help="print all that happens")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    began = time.monotonic()
    reports = [run(seed, print) for seed in seeds] if given.tell else list(_on_all_cores(seeds))
    _show(reports, time.monotonic() - began)
    sys.exit(any(report.violations for report in reports))


def _on_all_cores(seeds: Iterable[int]) -> Iterator[Report]:
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for report in pool.imap_unordered(run, seeds, _CHUNK):
            for violation in report.violations:
                print(f"seed {report.seed}: {violation}", flush=True)
            yield report


def _show(reports: list[Report], seconds: float) -> None:
    simulated = sum(report.seconds for report in reports) / 3600
    print(f"{'schedules':>12} {len(reports):12,}   in {seconds:.0f} s; simulated {simulated:.0f} hours")
    for name in ("jobs", "steps", "messages", "crashes", "rebalances"):
        print(f"{name:>12} {sum(getattr(report, name) for report in reports):12,}")
    print(f"{'violations':>12} {sum(bool(report.violations) for report in reports):12,}")


if __name__ == "__main__":
    main()
