"""One round of each of the gravest faults; ``make faults ROUNDS=200`` plays many of all."""

from collections.abc import Iterator

import pytest

from tests.fault.faults import (
    Fault,
    freeze_worker,
    kill_broker_and_worker,
    kill_database,
    kill_projector,
    kill_web,
    kill_worker,
    restart_workers,
)
from tests.fault.house import House
from tests.fault.load import Pace
from tests.fault.rounds import Rounds
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

CHOSEN: tuple[Fault, ...] = (
    kill_worker,
    restart_workers,
    kill_broker_and_worker,
    freeze_worker,
    kill_database,
    kill_projector,
    kill_web,
)


@pytest.fixture(scope="module")
def rounds(kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    with House(tmp_path_factory.mktemp("house"), kafka, postgres) as house:
        yield Rounds(house, Pace(longest_step=1.0))


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.__name__)
def test_nothing_is_lost_and_no_recorded_step_runs_again(rounds: Rounds, fault: Fault) -> None:
    result = rounds.play(fault, seed=1)
    assert result.verdict.problems == []
