"""Rounds of real faults, and a table of what was done and what was lost.

    python -m tests.fault --rounds 200
    python -m tests.fault --rounds 1 --seed 17 --fault kill_worker

Each round is chosen and driven by its own seed, which is printed when something is wrong. The logs of all processes
stay in the directory that is printed then.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fault.faults import FAULTS, Fault
from tests.fault.house import House
from tests.fault.load import Pace
from tests.fault.rounds import Result, Rounds
from tests.fault.table import show_result, show_table
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer


def main() -> None:
    """Play the rounds and print the table; exit 1 if anything was wrong."""
    given = _arguments()
    directory = Path(tempfile.mkdtemp(prefix="jabba-faults-"))
    results: list[Result] = []
    try:
        with (
            KafkaServer(directory / "kafka") as kafka,
            PostgresServer(directory / "postgres") as postgres,
            House(directory / "house", kafka, postgres, workers=given.workers) as house,
        ):
            _play(Rounds(house, Pace(longest_step=given.longest_step)), given, results)
    finally:
        show_table(results)
    if any(result.verdict.problems for result in results):
        sys.exit(f"logs are in {directory}")
    if given.keep:
        sys.exit(f"logs are in {directory}")
    shutil.rmtree(directory)


def _arguments() -> argparse.Namespace:
    names = [fault.__name__ for fault in FAULTS]
    parser = argparse.ArgumentParser(description="Play rounds of real faults under load.")
    parser.add_argument("--rounds", type=int, default=len(FAULTS))
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next one has the next")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--fault", choices=names, nargs="*", default=names, help="only these")
    parser.add_argument("--longest-step", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--keep", action="store_true", help="the logs, though nothing is wrong")
    return parser.parse_args()


def _play(rounds: Rounds, given: argparse.Namespace, results: list[Result]) -> None:
    for seed in range(given.seed, given.seed + given.rounds):
        began = time.monotonic()
        result = rounds.play(_chosen(seed, given.fault), seed)
        results.append(result)
        show_result(result, time.monotonic() - began)


def _chosen(seed: int, names: list[str]) -> Fault:
    """Choose by seed, each fault as often as every other."""
    faults = [fault for fault in FAULTS if fault.__name__ in names]
    lap, place = divmod(seed, len(faults))
    return random.Random(lap).sample(faults, len(faults))[place]


if __name__ == "__main__":
    main()
