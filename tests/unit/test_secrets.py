"""Keys and passwords show nowhere: not in what is printed, logged, or told of an error."""

import logging
import traceback
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_core import to_json

from jabba import Client, SyncClient, Unavailable
from jabba.database import migrations, queries
from jabba.database.connection import Database, checked
from jabba.local import data_directory
from jabba.settings import Settings, SettingsError
from tests.support.keys import KEY
from tests.support.projecting import new_job
from web import service
from web.app import WebServer
from web.service import build

PASSWORD = "hunter2"  # noqa: S105 — nobody's
SECRET = KEY.rpartition("_")[2]

WRONG_URLS = [
    f"postgres//jabba:{PASSWORD}@127.0.0.1/jabba",
    f"postgresql://jabba:a@{PASSWORD}@127.0.0.1/jabba",
    f"postgresql://jabba:a/{PASSWORD}@127.0.0.1/jabba",
    f"host=127.0.0.1 password {PASSWORD}",
    f"postgresql://jabba@127.0.0.1/jabba?{PASSWORD}",
    PASSWORD,
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_database_url_that_is_wrong_is_not_shown(url: str) -> None:
    for attempt in (checked, Database, migrations.current):
        with pytest.raises((SettingsError, Unavailable)) as caught:
            attempt(url)
        assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_a_database_that_is_away_is_told_without_its_password() -> None:
    url = f"postgresql://jabba:{PASSWORD}@127.0.0.1:1/jabba"
    async with Database(url) as database:
        with pytest.raises(Unavailable) as caught:
            await queries.get_job(database, new_job())
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in repr(database)


def test_settings_show_no_secret() -> None:
    settings = Settings(database=SecretStr(f"postgresql://jabba:{PASSWORD}@127.0.0.1/jabba"), key=SecretStr(KEY))

    shown = [repr(settings), str(settings), to_json(settings).decode(), str(settings.model_dump())]
    assert [text for text in shown if PASSWORD in text or SECRET in text] == []
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"JABBA_KEYY": KEY, "JABBA_SLOTS": PASSWORD})
    assert not {PASSWORD, SECRET} & set("".join(traceback.format_exception(caught.value)).split())
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_client_shows_no_key(unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Client(f"http://127.0.0.1:{unused_tcp_port}", key=KEY, retries=0) as client:
        with pytest.raises(Unavailable) as caught:
            await client.search_jobs()
        shown = [repr(client), repr(client._connection), "".join(traceback.format_exception(caught.value))]
    with SyncClient(key=KEY) as twin:
        shown += [repr(twin), caplog.text]
    assert [text for text in shown if SECRET in text] == []


def test_what_cannot_be_a_key_is_refused_without_showing_it() -> None:
    for wrong in (f"{KEY}\n", f"ключ{KEY}"):
        with pytest.raises(ValueError, match="is not an API key") as caught:
            Client(key=wrong)
        assert SECRET not in str(caught.value)


def test_a_web_process_keeps_no_log_of_requests() -> None:
    web = build(Settings()).web
    assert isinstance(web, WebServer)
    assert web._runner._kwargs["access_log"] is None


def test_the_key_of_a_local_jabba_is_its_owners_and_goes_to_no_other_url(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data_directory.write(data, "first")
    data_directory.write(data, KEY)
    served = Settings(kafka="127.0.0.1:1", database=SecretStr("postgresql://jabba:secret@127.0.0.1:2/jabba"))
    data_directory.write_places(data, "http://127.0.0.1:8600", served)
    settings = Settings(data=data)

    assert {path.stat().st_mode & 0o777 for path in data.iterdir()} == {0o600}
    assert sorted(path.name for path in data.iterdir()) == ["database", "kafka", "key", "url"]
    found = data_directory.with_places(settings)
    assert (found.kafka, found.database) == (served.kafka, served.database)
    for own in (Settings(data=data, kafka="other:9092"), Settings(data=tmp_path / "none")):
        assert data_directory.with_places(own) is own or data_directory.with_places(own) == own
    assert data_directory.key_for(settings, "http://127.0.0.1:8600/") == KEY
    for other in ("http://127.0.0.1:8601", "http://jabba.example:8600", "https://127.0.0.1:8600"):
        assert data_directory.key_for(settings, other) is None
    given = Settings(data=data, key=SecretStr("given"))
    assert data_directory.key_for(given, "http://jabba.example:8600") == "given"
    assert data_directory.key_for(Settings(data=tmp_path / "none"), "http://127.0.0.1:8600") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "jabba.example"])  # noqa: S104 — is refused
def test_an_open_web_beyond_this_machine_must_be_meant(host: str) -> None:
    environ = {"JABBA_ACCESS": "open", "JABBA_WEB_HOST": host}
    with pytest.raises(SettingsError, match="JABBA_OPEN_BEYOND_LOOPBACK=true"):
        Settings.from_environ(environ)
    assert Settings.from_environ(environ | {"JABBA_OPEN_BEYOND_LOOPBACK": "true"}).access == "open"
    assert Settings.from_environ({"JABBA_WEB_HOST": host}).access == "keys"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_an_open_web_of_this_machine_need_not_be_meant_twice(host: str) -> None:
    assert Settings.from_environ({"JABBA_ACCESS": "open", "JABBA_WEB_HOST": host}).access == "open"


def test_an_open_web_says_so_loudly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    service._warn_if_open(Settings())
    assert caplog.records == []
    service._warn_if_open(Settings(access="open"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
