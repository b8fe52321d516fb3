import subprocess
import sys

import pytest

from jabba.monitoring.watchdog import EXIT_CODE, Watchdog

WORK = "work waits and none is done"


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ends() -> list[int]:
    return []


@pytest.fixture
def watchdog(time: Time, ends: list[int]) -> Watchdog:
    return Watchdog(60.0, time, ends.append)


def test_a_process_that_does_its_work_lives_on(watchdog: Watchdog, time: Time, ends: list[int]) -> None:
    for second in range(300):
        time.now = second
        watchdog.beat({WORK: second // 30})
        watchdog.look()
    assert ends == []


def test_an_idle_process_lives_on(watchdog: Watchdog, time: Time, ends: list[int]) -> None:
    for second in range(300):
        time.now = second
        watchdog.beat({})
        watchdog.look()
    assert ends == []


def test_work_that_waits_while_none_is_done_ends_the_process(watchdog: Watchdog, time: Time, ends: list[int]) -> None:
    for second in range(62):
        time.now = second
        watchdog.beat({WORK: "same"})
        watchdog.look()
    assert ends == [EXIT_CODE]


def test_each_thing_that_stands_still_has_its_own_time(
    watchdog: Watchdog, time: Time, ends: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(62):
        time.now = second
        watchdog.beat({WORK: second // 30, "commands wait": "same"} if second % 40 else {"commands wait": "same"})
        watchdog.look()
    assert ends == [EXIT_CODE]
    assert caplog.messages == ["this process ends, because commands wait since 61 s"]


def test_what_stood_still_and_went_on_may_stand_still_again(watchdog: Watchdog, time: Time, ends: list[int]) -> None:
    for second in range(300):
        time.now = second
        watchdog.beat({WORK: "same"} if second % 50 else {})
        watchdog.look()
    assert ends == []


def test_a_held_up_loop_is_told_where_and_then_ended(
    watchdog: Watchdog, time: Time, ends: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    watchdog.beat({})
    time.now = 10
    watchdog.look()
    watchdog.look()
    assert capfd.readouterr().err.count("test_a_held_up_loop") == 1
    assert ends == []
    time.now = 61
    watchdog.look()
    assert ends == [EXIT_CODE]


def test_the_wait_for_work_begins_when_it_comes(watchdog: Watchdog, time: Time, ends: list[int]) -> None:
    watchdog.beat({})
    time.now = 100
    watchdog.beat({WORK: "same"})
    watchdog.look()
    assert ends == []


def test_health_is_red_from_half_of_the_time_on(watchdog: Watchdog, time: Time) -> None:
    time.now = 500
    assert (watchdog.fault(), watchdog.stalled_seconds) == ("", 0)
    for second in range(500, 535):
        time.now = second
        watchdog.beat({WORK: "same"})
        assert (watchdog.fault() != "") is (second > 530)
    assert watchdog.fault() == "work waits and none is done since 34 s"
    watchdog.beat({WORK: "more"})
    assert watchdog.fault() == ""
    time.now += 31
    assert watchdog.fault() == "its event loop is held up since 31 s"


HOLDS_THE_LOCK = """
import asyncio, re, threading, time
from jabba.monitoring import watchdog
watchdog._LATER_SECONDS = 0.5

async def main():
    watching = watchdog.Watchdog(0.5, time.monotonic)
    watching.start()
    watching.beat({})
    threading.Thread(target=lambda: re.match("(a+)+$", "a" * 45 + "b"), daemon=True).start()
    while True:
        await asyncio.sleep(0.1)
        watching.beat({})

asyncio.run(main())
"""


def test_a_callback_that_holds_the_interpreters_lock_ends_the_process_and_is_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLDS_THE_LOCK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "re.match" in done.stderr or '__init__.py", line' in done.stderr, done.stderr
