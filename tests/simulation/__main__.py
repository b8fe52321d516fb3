"""Many seeds on all cores, and a table of what they did.

    python -m tests.simulation --seeds 10000
    python -m tests.simulation --first 202 --seeds 1 --tell
    python -m tests.simulation --bugs

A violation prints its seed; the seed replays it, with ``--tell`` line by line. ``--bugs`` shows that the simulator
bites: it plants one bug after the other and looks for a seed that finds it.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.simulation.bugs import BUGS
from tests.simulation.bugs.hunt import MOST_SEEDS, Hunt
from tests.simulation.simulation import Report, run

_CHUNK = 20
_TELL_SECONDS = 10.0
"""How often a long run says how far it is."""


def main() -> None:
    """Run the seeds; exit 1 if a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--tell", action="store_true", help="print all that happens")
    parser.add_argument("--bugs", action="store_true", help="plant bugs, and look for seeds that find them")
    given = parser.parse_args()
    if given.bugs:
        sys.exit(not _all_bugs_found())
    seeds = range(given.first, given.first + given.seeds)
    began = time.monotonic()
    reports = [run(seed, print) for seed in seeds] if given.tell else list(_on_all_cores(seeds, began))
    _show(reports, time.monotonic() - began)
    sys.exit(any(report.violations for report in reports))


def _on_all_cores(seeds: range, began: float) -> Iterator[Report]:
    told_at = began
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for done, report in enumerate(pool.imap_unordered(run, seeds, _CHUNK), 1):
            for violation in report.violations:
                print(f"seed {report.seed}: {violation}", flush=True)
            if (now := time.monotonic()) - told_at >= _TELL_SECONDS:
                told_at = now
                print(f"{done:12,} of {len(seeds):,} schedules after {now - began:.0f} s", flush=True)
            yield report


def _all_bugs_found() -> bool:
    missing = 0
    with Hunt() as hunt:
        for bug in BUGS.values():
            found = hunt.find(bug)
            missing += found is None
            seed, violation = found or ("none", f"not within {MOST_SEEDS:,} seeds")
            told, *_ = violation.splitlines()
            print(f"{bug.name:45} {seed:>5}  {told[:120]}", flush=True)
    print(f"{len(BUGS) - missing} of {len(BUGS)} bugs found")
    return missing == 0


def _show(reports: list[Report], seconds: float) -> None:
    simulated = sum(report.seconds for report in reports) / 3600
    print(f"{'schedules':>12} {len(reports):12,}   in {seconds:.0f} s; simulated {simulated:.0f} hours")
    for name in ("jobs", "steps", "messages", "crashes", "rebalances"):
        print(f"{name:>12} {sum(getattr(report, name) for report in reports):12,}")
    print(f"{'violations':>12} {sum(bool(report.violations) for report in reports):12,}")


if __name__ == "__main__":
    main()
