"""Fixtures of the tests that need the projection's tables, or a log beside them."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from pydantic import SecretStr

from jabba import installation
from jabba.persistence import migrations
from jabba.persistence.database import Database
from jabba.settings import Settings
from tests.support.kafka import KafkaServer
from tests.support.keys import add_key
from tests.support.postgres import PostgresServer
from tests.support.sending import Sender, sending


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
    """An open ``migrated`` database."""
    async with Database(migrated) as database:
        yield database


@pytest.fixture
async def installed(kafka: KafkaServer, migrated: str) -> Settings:
    """An installation of the test's own: topics of two partitions, and the schema."""
    settings = Settings(
        kafka=kafka.bootstrap, database=SecretStr(migrated), prefix=f"p{uuid4().hex[:12]}", partitions=2
    )
    await installation.install(settings)
    return settings


@pytest.fixture
async def sender(installed: Settings) -> AsyncIterator[Sender]:
    """What writes to the log of the installation."""
    async with sending(installed) as opened:
        yield opened
