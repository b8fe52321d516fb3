"""Fixtures of the tests that need the projection's tables, or a log beside them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from jabba.client import Client
from jabba.database import migrations
from jabba.database.connection import Database
from jabba.kafka import admin, aiokafka_patches
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import serving
from tests.support.kafka import KafkaServer
from tests.support.keys import KEY, add_key
from tests.support.postgres import PostgresServer
from tests.support.sending import Sender, sending


@pytest.fixture(scope="session", autouse=True)
def aiokafka_of_own_process() -> None:
    """The tests run the insides of Jabba's processes in their own."""
    aiokafka_patches.apply()


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database with the schema and no rows, but for the tests' key."""
    name = f"migrated_{uuid4().hex}"
    dsn = postgres.create_database(name)
    migrations.upgrade(dsn)
    add_key(dsn)
    return name


@pytest.fixture
def migrated(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a copy of it, the test's own."""
    name = f"test_{uuid4().hex}"
    yield postgres.create_database(name, migrated_template)
    postgres.drop_database(name)


@pytest.fixture
async def projection(migrated: str) -> AsyncIterator[Database]:
    """An open ``migrated`` database; some tests fill it with one statement, which a busy machine needs its time for."""
    async with Database(migrated, statement_seconds=120) as database:
        yield database


@pytest.fixture
async def installed(kafka: KafkaServer, migrated: str) -> Settings:
    """An installation of the test's own: topics of two partitions, and the schema."""
    settings = Settings(
        kafka=kafka.bootstrap, database=SecretStr(migrated), prefix=f"p{uuid4().hex[:12]}", partitions=2
    )
    await admin.create_topics(settings.cluster)
    return settings


@pytest.fixture
def options() -> dict[str, Any]:
    """What a module sets otherwise for its ``settings``."""
    return {}


@pytest.fixture
async def settings(kafka: KafkaServer, migrated: str, unused_tcp_port: int, options: dict[str, Any]) -> Settings:
    """An installation of the test's own with a port for its web process: topics, and the schema."""
    given = {"partitions": 4, **options}
    made = Settings(
        kafka=kafka.bootstrap,
        database=SecretStr(migrated),
        prefix=f"w{uuid4().hex[:12]}",
        web_port=unused_tcp_port,
        **given,
    )
    await admin.create_topics(made.cluster)
    return made


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[ClientSession]:
    """A session that talks to a web process of ``settings``."""
    async with serving(settings) as session:
        yield session


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client of it."""
    async with Client(f"http://127.0.0.1:{settings.web_port}", key=KEY) as made:
        yield made


@pytest.fixture
async def projector(settings: Settings) -> AsyncIterator[Projector]:
    """A projector of ``settings``."""
    service = Projector(settings)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def sender(installed: Settings) -> AsyncIterator[Sender]:
    """What writes to the log of the installation."""
    async with sending(installed) as opened:
        yield opened
