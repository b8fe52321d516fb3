"""A worker whose Kafka client has given up its membership in the group."""

from collections.abc import Iterator

import pytest

from jabba import SyncClient
from tests.fault.house import READY_SECONDS, House
from tests.fault.single import call, step, wait_for_all
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(kafka: KafkaServer, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("membership"), kafka, postgres, workers=0) as house:
        yield house


@pytest.mark.parametrize("module, error", [("strayed", "no bootstrap"), ("outlawed", "no right")])
def test_a_worker_whose_client_fails_as_it_joins_exits(house: House, module: str, error: str) -> None:
    with house.new_worker(callbacks=[f"tests.fault.{module}"]) as worker:
        worker.start()
        assert worker.wait_for_exit(READY_SECONDS) == 1, worker.account("goes on")
        assert error in worker.output()


def test_a_worker_that_is_refused_as_it_joins_again_exits_and_others_do_its_work(house: House) -> None:
    refused, joins = house.new_worker(), house.new_worker()
    with refused, joins, SyncClient(house.url, key=KEY) as client:
        refused.start()
        house.await_workers([refused])
        outlawing = client.create_job([call("outlaw", 0)], "outlawing").job
        assert wait_for_all(client, [outlawing]) == {"PROCESSED"}

        joins.start()
        assert refused.wait_for_exit(READY_SECONDS) == 1, refused.account("goes on")
        assert "no right" in refused.output()
        after = [client.create_job([step(0)], "after").job for _ in range(12)]
        assert wait_for_all(client, after) == {"PROCESSED"}
