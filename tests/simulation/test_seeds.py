"""A portion of the schedules for every run of the tests; ``make simulate SEEDS=10000`` runs more."""

import os
import subprocess
import sys

import pytest

from tests.simulation.simulation import run
from tests.support.processes import CHECKOUT

PORTIONS = 10
SEEDS_PER_PORTION = 30


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_no_schedule_breaks_a_rule(portion: int) -> None:
    first = portion * SEEDS_PER_PORTION
    reports = [run(seed) for seed in range(first, first + SEEDS_PER_PORTION)]
    assert {report.seed: report.violations for report in reports if report.violations} == {}
    assert sum(report.steps for report in reports) > SEEDS_PER_PORTION
    assert sum(report.crashes for report in reports) > 0


def test_a_seed_replays_itself_in_any_process() -> None:
    asked = "from tests.simulation.simulation import run; print(run(17).fingerprint)"
    printed = {
        subprocess.run(
            [sys.executable, "-c", asked],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert printed == {str(run(17).fingerprint)}
