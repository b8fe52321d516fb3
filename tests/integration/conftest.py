"""Fixtures of the tests that need the projection's tables."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from jabba.persistence import migrations
from jabba.persistence.database import Database
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database with the schema and no rows."""
    name = f"migrated_{uuid4().hex}"
    migrations.upgrade(postgres.create_database(name))
    return name


@pytest.fixture
def migrated(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The URL of a database of the test's own, with the schema and no rows."""
    name = f"test_{uuid4().hex}"
    yield postgres.create_database(name, migrated_template)
    postgres.drop_database(name)


@pytest.fixture
async def projection(migrated: str) -> AsyncIterator[Database]:
    """An open ``migrated`` database."""
    async with Database(migrated) as database:
        yield database
