"""The simulator bites: each planted bug breaks a rule within 2,000 schedules, which the engine itself passes.

``python -m tests.simulation --bugs`` shows which seed finds which bug; ``found_by`` of a bug remembers it.
"""

from collections.abc import Iterator

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.bugs.hunt import MOST_SEEDS, Hunt
from tests.simulation.simulation import run


@pytest.fixture(scope="module")
def hunt() -> Iterator[Hunt]:
    with Hunt() as hunt:
        yield hunt


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, hunt: Hunt) -> None:
    found = hunt.find(BUGS[name])
    assert found is not None, f"no seed below {MOST_SEEDS:,} finds {name}: {BUGS[name].sentence}"
    assert found.seed < MOST_SEEDS
    assert run(found.seed).violations == []


@pytest.mark.parametrize(
    "name",
    [
        "acknowledges_out_of_order",
        "carries_no_outcome_in_the_final_record",
        "announces_before_the_record",
        "hands_nothing_over",
        "claims_no_epoch",
        "forgets_markers_above_the_committed_offset",
        "counts_by_event",
    ],
)
def test_the_classic_bugs_are_among_them(name: str) -> None:
    assert name in BUGS


def test_a_planted_bug_is_gone_afterwards() -> None:
    bug = BUGS["announces_before_the_record"]
    with bug.planted():
        assert run(bug.found_by).violations
    assert run(bug.found_by).violations == []
