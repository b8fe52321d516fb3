"""The real parts, as fixtures: one Kafka and one PostgreSQL for the whole run, a fresh database for each test."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.certificates import Authority
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands set logging up for their process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {one: one.level for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)}
    yield
    logging.basicConfig(handlers=handlers, level=level, force=True)
    for one, before in levels.items():
        if one.level != before:
            one.setLevel(before)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whoever vouches for Kafka's and PostgreSQL's certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def kafka(authority: Authority) -> Iterator[KafkaServer]:
    """Apache Kafka; create the topics you use under names of your own."""
    with (
        tempfile.TemporaryDirectory(prefix="jabba-kafka-") as directory,
        KafkaServer(Path(directory), authority=authority) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="jabba-postgres-") as directory, PostgresServer(Path(directory)) as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"test_{uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)
