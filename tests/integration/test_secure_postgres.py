"""PostgreSQL's TLS stands in its URL: all that connect to it obey."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from jabba.database import migrations
from jabba.database.connection import Database
from jabba.errors import Unavailable
from tests.support.certificates import Authority
from tests.support.encrypted import encrypted


@pytest.fixture
async def url(database: str, authority: Authority) -> AsyncIterator[str]:
    async with encrypted(database, authority.issue("postgres")) as made:
        yield made


def trusting(url: str, authority: Authority) -> str:
    return f"{url}?sslmode=verify-full&sslrootcert={authority.ca}"


async def test_what_the_url_trusts_is_connected_to(url: str, authority: Authority) -> None:
    revision = await asyncio.to_thread(migrations.upgrade, trusting(url, authority))

    async with Database(trusting(url, authority)) as opened:
        assert await opened.fetch(text("SELECT version_num FROM alembic_version")) == [{"version_num": revision}]


async def test_what_it_does_not_trust_is_refused(url: str, tmp_path: Path) -> None:
    distrusting = trusting(url, Authority(tmp_path))

    with pytest.raises(Unavailable, match="certificate verify failed") as by_migrations:
        await asyncio.to_thread(migrations.check, distrusting)
    async with Database(distrusting) as opened:
        with pytest.raises(Unavailable, match="certificate verify failed") as by_database:
            await opened.fetch(text("SELECT 1"))
    assert str(urlsplit(url).password) not in f"{by_migrations.value} {by_database.value}"
