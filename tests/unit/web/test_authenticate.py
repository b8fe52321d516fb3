"""What a web process knows of keys, for how long, and when PostgreSQL is away."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jabba.auth.api_keys import Key, new_key
from jabba.auth.roles import EVERY_TYPE, Role
from jabba.errors import Unauthorized, Unavailable
from tests.support.clocks import HandClock
from tests.support.logged import logged
from web import authenticate
from web.authenticate import Authenticator, Seen
from web.key_cache import KeyCache

SECONDS = 10.0
OUTAGE_SECONDS = 100.0


class Keys:
    """The keys of a database that may be away, or silent, and counts what it is asked."""

    def __init__(self) -> None:
        self.rows: dict[str, Key] = {}
        self.asked: list[list[str]] = []
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    def make(self, expires_at: datetime | None = None) -> tuple[Key, str]:
        key, text = new_key(Role.READER, datetime(2026, 1, 1, tzinfo=UTC), types=EVERY_TYPE, expires_at=expires_at)
        self.rows[key.id] = key
        return key, text

    async def find(self, ids: Iterable[str]) -> Mapping[str, Key]:
        asked = list(ids)
        self.asked.append(asked)
        await self.answers.wait()
        if self.away:
            raise Unavailable("away")
        return {one: self.rows[one] for one in asked if one in self.rows}


@pytest.fixture
def rows() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> HandClock:
    return HandClock(datetime(2026, 6, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def ring(rows: Keys, clock: HandClock) -> Authenticator:
    return Authenticator(rows.find, clock, seconds=SECONDS, outage_seconds=OUTAGE_SECONDS)


async def test_a_known_key_is_asked_for_once_in_a_while(rows: Keys, clock: HandClock, ring: Authenticator) -> None:
    key, text = rows.make()

    callers = await asyncio.gather(*(ring.caller(text) for _ in range(50)))
    assert {caller.key for caller in callers} == {key.id}
    assert rows.asked == [[key.id]]
    clock.seconds += SECONDS - 1
    await ring.caller(text)
    assert len(rows.asked) == 1
    clock.seconds += 1
    await asyncio.gather(*(ring.caller(text) for _ in range(50)))
    assert len(rows.asked) == 2


async def test_a_revoked_key_is_refused_once_it_is_asked_for_again(
    rows: Keys, clock: HandClock, ring: Authenticator
) -> None:
    key, text = rows.make()
    await ring.caller(text)

    rows.rows[key.id] = replace(key, revoked_at=datetime(2026, 6, 1, tzinfo=UTC))
    await ring.caller(text)
    clock.seconds += SECONDS
    with pytest.raises(Unauthorized, match="revoked"):
        await ring.caller(text)


async def test_an_end_is_seen_at_its_time(rows: Keys, clock: HandClock, ring: Authenticator) -> None:
    _, text = rows.make(expires_at=datetime.fromtimestamp(clock.now(), UTC) + timedelta(seconds=5))
    await ring.caller(text)

    clock.seconds += 5
    with pytest.raises(Unauthorized, match="expired"):
        await ring.caller(text)
    assert len(rows.asked) == 1


async def test_what_is_no_key_is_asked_for_once_too_and_may_become_one(
    rows: Keys, clock: HandClock, ring: Authenticator
) -> None:
    key, text = rows.make()
    del rows.rows[key.id]
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await ring.caller(text)
    with pytest.raises(Unauthorized):
        await ring.caller("no key at all")
    assert len(rows.asked) == 1

    rows.rows[key.id] = key
    clock.seconds += SECONDS
    assert (await ring.caller(text)).key == key.id


async def test_another_secret_with_a_known_id_is_refused(rows: Keys, ring: Authenticator) -> None:
    _, text = rows.make()
    await ring.caller(text)

    with pytest.raises(Unauthorized, match="not known"):
        await ring.caller(text[:-1] + ("0" if text[-1] != "0" else "1"))


async def test_ids_that_are_no_keys_are_forgotten_and_take_no_room_from_those_that_are(
    rows: Keys, ring: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "_REMEMBERED", 10)
    _, text = rows.make()
    await ring.caller(text)
    strangers = [new_key(Role.ADMIN, datetime(2026, 1, 1, tzinfo=UTC), types=EVERY_TYPE)[1] for _ in range(50)]

    refused = await asyncio.gather(*(ring.caller(one) for one in strangers), return_exceptions=True)
    assert {type(one) for one in refused} == {Unauthorized}
    assert len(ring._unknown) == 10
    # One question for the first of them, one for all others.
    assert [len(asked) for asked in rows.asked] == [1, 50]
    await ring.caller(text)
    assert len(rows.asked) == 2


async def test_while_postgresql_is_away_a_known_key_goes_on_and_an_unknown_one_cannot_be_told(
    rows: Keys, clock: HandClock, ring: Authenticator
) -> None:
    (_, known), (_, unknown) = rows.make(), rows.make()
    await ring.caller(known)
    rows.away = True

    for _ in range(9):
        clock.seconds += SECONDS
        await asyncio.gather(*(ring.caller(known) for _ in range(5)))
    # It is asked for again and again, but not by every request.
    assert len(rows.asked) == 10
    with pytest.raises(Unavailable):
        await ring.caller(unknown)
    clock.seconds += 2 * SECONDS
    with pytest.raises(Unavailable, match="too long"):
        await ring.caller(known)

    rows.away = False
    await ring.caller(known)
    await ring.caller(unknown)


async def test_what_another_process_has_seen_counts_while_postgresql_is_away_and_no_longer_than_there(
    rows: Keys, clock: HandClock, ring: Authenticator, tmp_path: Path
) -> None:
    (valid, text), (revoked, over) = rows.make(), rows.make()
    await asyncio.gather(ring.caller(text), ring.caller(over))
    rows.rows[revoked.id] = replace(revoked, revoked_at=datetime(2026, 6, 1, tzinfo=UTC))
    clock.seconds += SECONDS
    for one in (text, over):
        with suppress(Unauthorized):
            await ring.caller(one)
    KeyCache(tmp_path / "keys").write(ring.seen())

    def started() -> Authenticator:
        new = Authenticator(rows.find, clock, seconds=SECONDS, outage_seconds=OUTAGE_SECONDS)
        new.recall(KeyCache(tmp_path / "keys").read())
        return new

    rows.away = True
    clock.seconds += OUTAGE_SECONDS / 2
    new = started()
    assert (await new.caller(text)).key == valid.id
    with pytest.raises(Unauthorized):
        await new.caller(text[:-1] + ("0" if text[-1] != "0" else "1"))
    with pytest.raises(Unavailable):
        await new.caller(over)
    clock.seconds += OUTAGE_SECONDS / 2 + 1
    for process in (new, started()):
        with pytest.raises(Unavailable):
            await process.caller(text)
    clock.seconds -= 2 * OUTAGE_SECONDS
    with pytest.raises(Unavailable):
        await started().caller(text)


async def test_with_postgresql_there_what_another_process_has_seen_is_asked_for(
    rows: Keys, ring: Authenticator, clock: HandClock
) -> None:
    key, text = rows.make()
    await ring.caller(text)
    new = Authenticator(rows.find, clock, seconds=SECONDS, outage_seconds=OUTAGE_SECONDS)
    new.recall(ring.seen())
    rows.rows[key.id] = replace(key, revoked_at=datetime(2026, 6, 1, tzinfo=UTC))

    with pytest.raises(Unauthorized, match="revoked"):
        await new.caller(text)


def test_a_file_that_is_not_ours_alone_or_holds_something_else_is_not_used(
    rows: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, text = rows.make()
    cache, path = KeyCache(tmp_path / "keys"), tmp_path / "keys"
    assert cache.read() == []
    cache.write([Seen(key, 17)])
    assert [path] == list(tmp_path.iterdir())
    assert path.stat().st_mode & 0o777 == 0o600
    assert text not in path.read_text()
    assert cache.read() == [Seen(key, 17)]
    assert caplog.records == []

    path.chmod(0o620)
    assert cache.read() == []
    path.chmod(0o600)
    path.write_text('[{"secret": 1}]')
    assert cache.read() == []
    assert "others may" in logged(caplog)
    assert "secret" not in logged(caplog)
    KeyCache(tmp_path / "nowhere" / "keys").write([])
    assert "key cache cannot be written" in caplog.text


async def test_a_silent_postgresql_holds_a_known_key_up_for_a_moment_only_and_is_believed_when_it_answers(
    rows: Keys, clock: HandClock, ring: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticate, "_PATIENCE_SECONDS", 0.01)
    key, text = rows.make()
    await ring.caller(text)
    rows.answers.clear()
    rows.rows[key.id] = replace(key, revoked_at=datetime(2026, 6, 1, tzinfo=UTC))
    clock.seconds += SECONDS

    assert (await ring.caller(text)).key == key.id
    rows.answers.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Unauthorized, match="revoked"):
        await ring.caller(text)
