"""Kafka and PostgreSQL of the fault suite's own: its tests end them, and start them again."""

from collections.abc import Iterator

import pytest

from jabba.kafka import aiokafka_patches
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session", autouse=True)
def aiokafka_of_own_process() -> None:
    """The tests run the insides of Jabba's processes in their own."""
    aiokafka_patches.apply()


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Apache Kafka."""
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(scope="package")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL."""
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server
