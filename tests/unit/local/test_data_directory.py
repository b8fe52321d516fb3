"""Commands find a ``jabba up`` through its data directory."""

import os
from pathlib import Path

import pytest

from jabba.errors import NotReady
from jabba.local import data_directory
from jabba.settings import Settings

URL = "http://127.0.0.1:20001"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    served = Settings(kafka="127.0.0.1:20002", database="postgresql:///mine")
    data_directory.write_places(tmp_path, URL, served)
    data_directory.write(tmp_path, "the key")
    return tmp_path


def test_all_of_it_is_found(data: Path) -> None:
    found = data_directory.with_places(Settings(data=data))
    assert (found.url, found.kafka, found.database.get_secret_value()) == (URL, "127.0.0.1:20002", "postgresql:///mine")
    assert data_directory.key_for(found, found.url) == "the key"


def test_what_is_named_is_kept(data: Path) -> None:
    assert data_directory.with_places(Settings(data=data, url="http://other")).url == "http://other"
    beside = data_directory.with_places(Settings(data=data, kafka="other:9092"))
    assert (beside.url, beside.kafka) == (URL, "other:9092")
    assert beside.database == Settings().database


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not a URL", b"\n"])
def test_a_broken_file_is_as_good_as_none(data: Path, content: bytes) -> None:
    (data / "url").write_bytes(content)
    assert data_directory.with_places(Settings(data=data)).url == Settings().url


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"two\nlines", b"\x00\x00", "k\u00e9y".encode()])
def test_a_broken_key_is_as_good_as_none(data: Path, content: bytes) -> None:
    (data / "key").write_bytes(content)
    assert data_directory.read(data) is None
    assert data_directory.key_for(Settings(data=data), URL) is None


def test_libpq_is_not_led_elsewhere_than_to_the_database_that_is_found(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    data_directory.with_places(Settings(data=data, database="postgresql:///of-the-user"))
    assert os.environ["PGSERVICE"] == "elsewhere"

    data_directory.with_places(Settings(data=data))
    assert "PGSERVICE" not in os.environ


def test_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match=r"nothing can be written in .*/file/data \(Not a directory\); choose another"):
        data_directory.prepare(tmp_path / "file" / "data")


def test_a_directory_is_made(tmp_path: Path) -> None:
    data_directory.prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
