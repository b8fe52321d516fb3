"""``docs/deploy.md`` grants each process in PostgreSQL what it needs, and not more than it says."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from pydantic import SecretStr

from jabba.cli.commands import jabba
from jabba.jobs import ids
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import get, post, serving
from tests.support.processes import CHECKOUT
from web.openapi import path_of
from web.operations import operations_of
from web.routes import VIEWS

PAGE = (CHECKOUT / "docs" / "deploy.md").read_text()
ROLES = re.findall(r"^CREATE ROLE (jabba_\w+)", PAGE, flags=re.MULTILINE)
GRANTS = re.findall(r"^GRANT .*;$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def urls(migrated: str) -> Iterator[Mapping[str, str]]:
    """The URL of the database for each role of the page; its roles are the test's own."""
    own = {role: f"{role}_{uuid4().hex[:8]}" for role in ROLES}
    with psycopg.connect(migrated, autocommit=True) as connection:
        for name in own.values():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(sql.Identifier(name)))
        for grant in GRANTS:
            connection.execute(re.sub(r"jabba_\w+", lambda found: own[found[0]], grant).encode())
        yield {role: as_role(migrated, name) for role, name in own.items()}
        for name in own.values():
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def as_role(url: str, role: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{role}:p@{parts.hostname}:{parts.port}"))


@pytest.mark.usefixtures("projector")
async def test_a_web_answers_every_question(settings: Settings, projector: Projector, urls: Mapping[str, str]) -> None:
    await projector.ready.wait()
    own = settings.model_copy(update={"database": SecretStr(urls["jabba_web"])})
    async with serving(own) as http:
        _, job = await post(http, "/v1/jobs", {"type": "order", "name": "abc", "tasks": ["local", "shop", "ship"]})
        task = str(ids.task_id(UUID(job["id"]), 0))
        assert (await get(http, f"/v1/jobs/{job['id']}", params={"after": job["position"]}))[0] == 200
        for view in VIEWS:
            if "GET" in operations_of(view) and view.view_name != "events":
                known = task if view.view_name == "task" else job["id"]
                async with http.get(path_of(view).format(id=known)) as response:
                    assert response.status == 200, await response.text()
        asked = {"query": "name~abc (type:ord* or tasks.status:FAILED)", "count": True}
        for path in ("/v1/jobs/search", "/v1/tasks/search"):
            body = asked if "jobs" in path else {"query": "job.name~abc", "count": True}
            status, found = await post(http, path, body)
            assert (status, len(found)) == (200, 1)
        # With an id of its own, it is compared with what is there.
        assert (await post(http, "/v1/jobs", {"id": job["id"], "type": "a", "tasks": ["local", "a", "b"]}))[0] == 409


def test_the_commands_for_keys_do_their_work(urls: Mapping[str, str]) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(jabba, [*arguments, "--database", urls["jabba_keys"]])
        assert done.exit_code == 0, done.output
        return done.stdout

    key = run("keys", "create", "--role", "reader").split("_")[1]
    run("keys", "revoke", key)
    assert key[:6] in run("keys", "list")
    assert "revoke_key" in run("audit")


def test_a_command_that_lacks_a_right_says_so_in_one_line(migrated: str, urls: Mapping[str, str]) -> None:
    nobody = f"nobody_{uuid4().hex[:8]}"
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(sql.Identifier(nobody)))
        try:
            for url, *command in (
                (urls["jabba_web"], "keys", "create", "--role", "reader"),
                (as_role(migrated, nobody), "keys", "list"),
                (as_role(migrated, nobody), "verify"),
            ):
                done = CliRunner().invoke(jabba, [*command, "--database", url])
                assert (done.exit_code, done.output.count("\n")) == (3, 1), done.output
                assert "PostgreSQL does not allow it: permission denied for" in done.output
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(nobody)))


def test_nobody_writes_what_the_projection_says(urls: Mapping[str, str]) -> None:
    for url in urls.values():
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE jobs SET type = 'mine'")
