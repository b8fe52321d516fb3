"""Who changed what: submissions from the log, keys from the command line."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from jabba.auth.api_keys import hash_of, id_of, new_key
from jabba.auth.roles import EVERY_TYPE, Role
from jabba.cli.commands import jabba
from jabba.database import api_keys, audit, migrations
from jabba.database.connection import Database
from jabba.database.schema import metadata
from jabba.jobs.models import AuditEntry, Limits
from jabba.messages import slices
from jabba.messages.slices import Rerun, Slice, decode_message, encode_message
from jabba.projection.retention import Upkeep
from jabba.settings import Settings, SettingsError
from tests.support.clocks import HandClock
from tests.support.projecting import NOW, facts, job_spec, new_job, project

SUBMITTED_AT = datetime.fromtimestamp(NOW / 1000, UTC)


def submission(job: UUID, by: str | None, rerun: Rerun | None = None, **given: Any) -> list[Slice]:
    """Return the slices of a job of 250 tasks."""
    cut = slices.cut(job_spec(250, **given), job, Limits(), rerun, by=by)
    return decode_message(encode_message([one.text for one in cut]))


async def shop(projection: Database) -> str:
    key, _ = new_key(Role.SUBMITTER, SUBMITTED_AT, types=EVERY_TYPE, name="shop")
    await api_keys.create(projection, key)
    return key.id


async def audit_of(projection: Database, job: UUID) -> Sequence[AuditEntry]:
    return await audit.entries(projection, job=job)


async def test_a_submission_is_noted_with_its_key_and_time_once(projection: Database) -> None:
    key, job = await shop(projection), new_job()
    first = submission(job, key)

    for batch in (first[1:], first[:1], first, submission(job, "another")):
        await project(projection, facts(batch))

    [entry] = await audit_of(projection, job)
    assert entry == AuditEntry(
        at=SUBMITTED_AT, action="submit", key_id=key, key_name="shop", user_name=None, job_id=job, about_key=None
    )


async def test_the_one_who_came_first_is_noted_also_within_a_batch(projection: Database) -> None:
    job = new_job()
    await project(projection, facts([*submission(job, "one"), *submission(job, "two")]))

    [entry] = await audit_of(projection, job)
    assert (entry.key_id, entry.key_name) == ("one", None)


async def test_what_no_user_did_is_not_noted(projection: Database) -> None:
    without, again = new_job(), new_job()
    digest = submission(again, None)[0].digest
    await project(projection, facts(submission(without, None)))
    await project(projection, facts(submission(again, "key", Rerun(1, digest))))

    assert [await audit_of(projection, job) for job in (without, again)] == [[], []]


async def test_what_a_rebuild_has_noted_beyond_the_live_projection_is_taken_over(
    migrated: str, projection: Database
) -> None:
    key, known, beyond = await shop(projection), new_job(), new_job()
    await project(projection, facts(submission(known, key)))
    await asyncio.to_thread(migrations.make_beside, migrated, "beside")
    async with Database(migrated, schema="beside") as rebuilt:
        await project(rebuilt, facts([*submission(known, "other"), *submission(beyond, key)]))

    await audit.take_over(projection, "beside")

    noted = [(entry.key_id, entry.key_name) for job in (known, beyond) for entry in await audit_of(projection, job)]
    assert noted == [(key, "shop"), (key, "shop")]


@pytest.mark.parametrize("days, left", [(20, 2), (0, 25)])
async def test_old_entries_go_and_those_within_the_time_stay(
    migrated: str, projection: Database, monkeypatch: pytest.MonkeyPatch, days: int, left: int
) -> None:
    monkeypatch.setattr(audit, "_FORGOTTEN", 10)
    day = timedelta(days=1)
    for moment in [SUBMITTED_AT - 20.1 * day] * 23 + [SUBMITTED_AT - 19.9 * day, SUBMITTED_AT]:
        key, _ = new_key(Role.READER, moment, types=EVERY_TYPE)
        await api_keys.create(projection, key)

    await Upkeep(Settings(database=SecretStr(migrated), audit_days=days), HandClock(NOW / 1000)).look()

    entries = await audit.entries(projection, limit=100)
    assert len([one for one in entries if one.at <= SUBMITTED_AT]) == left
    assert len(await api_keys.every(projection)) == 26, "the keys themselves stay"


def test_the_audit_is_kept_for_as_long_as_a_rebuild_would_bring_it_back() -> None:
    with pytest.raises(SettingsError, match=r"JABBA_AUDIT_DAYS: .* at least 8"):
        Settings.from_environ({"JABBA_AUDIT_DAYS": "7"})


def run(dsn: str, *arguments: str) -> Result:
    return CliRunner().invoke(jabba, [*arguments, "--database", dsn])


def created(dsn: str, *options: str) -> dict[str, Any]:
    done = run(dsn, "keys", "create", *options, "--json")
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def listed(dsn: str) -> dict[str, dict[str, Any]]:
    return {key["id"]: key for key in json.loads(run(dsn, "keys", "list", "--json").stdout)}


def test_the_life_of_a_key(migrated: str) -> None:
    options = ("--role", "submitter", "--type", "order", "--type", "audit_*", "--name", "shop", "--expires", "90d")
    key = created(migrated, *options)
    assert id_of(key["key"]) == key["id"]

    told = listed(migrated)[key["id"]]
    assert (told["role"], told["types"], told["name"]) == ("submitter", ["order", "audit_*"], "shop")
    assert (told["state"], told["revoked_at"]) == ("valid", None)
    life = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["created_at"])
    assert life.days == 90

    assert run(migrated, "keys", "revoke", key["id"]).exit_code == 0
    again = run(migrated, "keys", "revoke", key["id"])
    assert again.exit_code == 0
    assert again.output.startswith(f"Key {key['id']} was revoked at ")
    assert listed(migrated)[key["id"]]["state"] == "revoked"

    entries = json.loads(run(migrated, "audit", "--key", key["id"], "--json").stdout)
    assert [one["action"] for one in entries] == ["revoke_key", "create_key"]
    assert {(one["about_key"], one["key_id"]) for one in entries} == {(key["id"], None)}
    assert all(one["user_name"] for one in entries)


async def test_nothing_but_the_first_answer_has_the_secret(migrated: str, projection: Database) -> None:
    done = await asyncio.to_thread(run, migrated, "keys", "create", "--role", "reader")
    text = done.stdout.strip()
    assert id_of(text) is not None, done.output
    secret = text.rpartition("_")[2]

    said = [done.stderr]
    commands = (["keys", "list"], ["keys", "list", "--json"], ["audit"])
    said += [(await asyncio.to_thread(run, migrated, *words)).output for words in commands]
    stored = [repr(row) for table in ("keys", "audit") for row in await rows_of(projection, table)]
    assert [one for one in [*said, *stored] if secret in one] == []
    assert any(hash_of(text) in row for row in stored)


async def rows_of(projection: Database, table: str) -> Any:
    return await projection.fetch(metadata.tables[table].select())


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["keys", "create", "--role", "king"], 2, "'king' is not one of"),
        (["keys", "create", "--role", "reader", "--type", "a*b"], 2, "types[0]"),
        (["keys", "create", "--role", "reader", "--expires", "soon"], 2, "'soon' is neither a time span"),
        (["keys", "revoke", "0123"], 1, "there is no key 0123"),
        (["audit", "--job", "x"], 2, "'x' is not a valid UUID"),
    ],
)
def test_what_is_wrong_is_told(migrated: str, arguments: list[str], code: int, said: str) -> None:
    done = run(migrated, *arguments)
    assert (done.exit_code, said in done.output) == (code, True), done.output
    assert not any(key["name"] != "tests" for key in listed(migrated).values())


def test_the_audit_of_a_time_span(migrated: str) -> None:
    created(migrated, "--role", "reader")

    assert len(json.loads(run(migrated, "audit", "--since", "1h", "--json").stdout)) == 1
    assert json.loads(run(migrated, "audit", "--since", "2100-01-01", "--json").stdout) == []
    assert "create_key" in run(migrated, "audit").output
