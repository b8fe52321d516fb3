import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jabba.errors import NotReady
from jabba.local.supervisor import BackOff, Child, Program, Supervisor
from tests.support.processes import ChildProcess, eventually

SOON = 20.0


class Said(list[tuple[str, str]]):
    """What was shown, and a way to wait for it."""

    def __call__(self, name: str, line: str) -> None:
        self.append((name, line))

    async def wait_for(self, part: str, times: int = 1) -> None:
        await until(lambda: sum(part in line for _, line in self) >= times)


async def until(condition: Callable[[], bool]) -> None:
    async def ask() -> bool:
        return condition()

    await eventually(ask, SOON)


def program(code: str, name: str = "one") -> Program:
    return Program(name, [sys.executable, "-u", "-c", code], dict(os.environ))


def child(code: str, said: Said, **options: float) -> Child:
    return Child(program(code), said, back_off=BackOff(**{"first": 0.01, **options}))


WAITS = "import signal; print('here'); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here'); signal.pause()"


def test_back_off_doubles_up_to_its_longest() -> None:
    back_off = BackOff(first=1, longest=5, healthy=60)

    assert [back_off.after(0.1) for _ in range(5)] == [1, 2, 4, 5, 5]


def test_back_off_begins_again_after_a_healthy_life() -> None:
    back_off = BackOff(first=1, longest=5, healthy=60)
    for _ in range(3):
        back_off.after(0)

    assert [back_off.after(61), back_off.after(0)] == [1, 2]


async def test_a_child_that_dies_is_started_again_and_that_is_said() -> None:
    said = Said()
    one = child("print('here'); raise SystemExit(7)", said)

    one.start()
    await said.wait_for("here", times=3)
    await one.stop(SOON)

    assert ("up", "one ended with exit code 7; it starts again in 0.01 s") in said
    assert ("up", "one ended with exit code 7; it starts again in 0.02 s") in said


async def test_a_killed_child_is_started_again_under_another_pid() -> None:
    said = Said()
    one = child(WAITS, said)
    one.start()
    await said.wait_for("here")
    first = one.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await said.wait_for("here", times=2)

    assert one.pid not in (first, None)
    assert ("up", "one was ended by SIGKILL; it starts again in 0.01 s") in said
    await one.stop(SOON)


async def test_a_program_that_cannot_be_run_is_tried_again() -> None:
    said = Said()
    one = Child(Program("one", ["/nowhere/at/all"], dict(os.environ)), said, back_off=BackOff(first=0.01))

    one.start()
    await said.wait_for("cannot run /nowhere/at/all", times=2)
    await one.stop(SOON)


async def test_a_program_is_stopped_as_it_asks_and_may_write_to_a_file(tmp_path: Path) -> None:
    said, prepared = Said(), list[str]()
    code = "import signal, sys; signal.signal(2, lambda *_: (print('bye'), sys.exit())); print('here'); signal.pause()"
    one = Child(
        Program(
            "one",
            [sys.executable, "-u", "-c", code],
            dict(os.environ),
            before_start=lambda: prepared.append("done"),
            log=tmp_path / "log",
            stop_with=signal.SIGINT,
        ),
        said,
    )
    one.start()
    await until(lambda: (tmp_path / "log").exists() and "here" in (tmp_path / "log").read_text())

    await one.stop(SOON)

    assert (tmp_path / "log").read_text() == "here\nbye\n"
    assert (said, prepared, one.lives) == ([], ["done"], 1)


async def test_what_cannot_be_prepared_is_tried_again() -> None:
    def fails() -> None:
        raise NotReady("somebody is in the way")

    said = Said()
    one = Child(Program("one", ["true"], {}, before_start=fails), said, back_off=BackOff(first=0.01))
    one.start()

    await said.wait_for("one cannot be started: somebody is in the way; it starts again", times=2)
    await one.stop(SOON)


async def test_stopping_is_graceful_and_final() -> None:
    said = Said()
    one = child("import signal, sys; signal.signal(15, lambda *_: (print('bye'), sys.exit())); print('here'); "
                "signal.pause()", said)  # fmt: skip
    one.start()
    await said.wait_for("here")

    await one.stop(SOON)

    assert said == [("one", "here"), ("one", "bye")]
    assert one.pid is None


async def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    said = Said()
    one = child(STUBBORN, said)
    one.start()
    await said.wait_for("here")

    await one.stop(0.05)

    assert one.pid is None
    assert said[-1] == ("up", "one does not stop within 0.05 s and is killed")


async def test_stopping_does_not_wait_for_a_back_off() -> None:
    said = Said()
    one = child("raise SystemExit(1)", said, first=1000)
    one.start()
    await said.wait_for("starts again")

    async with asyncio.timeout(SOON):
        await one.stop(SOON)


async def test_stopping_at_once_after_starting_leaves_nothing_behind() -> None:
    one = child(WAITS, Said())
    one.start()

    await one.stop(SOON)

    assert one.pid is None


async def test_a_line_without_end_and_bytes_that_are_no_text_are_shown() -> None:
    said = Said()
    one = child(r"import sys; sys.stdout.buffer.write(b'a\xff\nno end')", said, first=1000)
    one.start()

    await said.wait_for("starts again")
    await one.stop(SOON)

    assert [line for _, line in said][:2] == ["a\N{REPLACEMENT CHARACTER}", "no end"]


async def test_a_very_long_line_is_shown_in_pieces() -> None:
    said = Said()
    one = child("print('y' * 200_000)", said, first=1000)
    one.start()

    await said.wait_for("starts again")
    await one.stop(SOON)

    assert sum(line.count("y") for _, line in said) == 200_000


async def test_what_a_child_leaves_behind_does_not_hide_its_death() -> None:
    said = Said()
    one = child("import subprocess; print(subprocess.Popen(['sleep', '1000']).pid)", said, first=1000)
    one.start()

    await said.wait_for("ended with exit code 0")
    await one.stop(SOON)

    os.kill(int(said[0][1]), signal.SIGKILL)


async def test_groups_are_stopped_the_last_one_first() -> None:
    says_bye = "import signal, sys; signal.signal(15, lambda *_: (print('bye'), sys.exit())); print('here'); "
    said = Said()
    names = ("web", "worker-1", "worker-2", "projector")
    web, first, second, projector = (program(says_bye + "signal.pause()", name) for name in names)
    supervisor = Supervisor(said)
    supervisor.start(projector)
    supervisor.start(first, second)
    supervisor.start(web)
    await said.wait_for("here", times=4)

    await supervisor.stop()

    ends = [name for name, line in said if line == "bye"]
    assert ends[0] == "web"
    assert set(ends[1:3]) == {"worker-1", "worker-2"}
    assert ends[3] == "projector"


async def test_kill_ends_all_at_once_even_while_they_are_being_stopped() -> None:
    said = Said()
    supervisor = Supervisor(said, stop_seconds=1000)
    supervisor.start(program(STUBBORN, "worker"))
    supervisor.start(program(STUBBORN, "web"))
    await said.wait_for("here", times=2)
    stopping = asyncio.create_task(supervisor.stop())
    await asyncio.sleep(0.05)

    supervisor.kill()

    async with asyncio.timeout(SOON):
        await stopping


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan lives on")
async def test_children_die_with_their_supervisor(tmp_path: Path) -> None:
    code = (
        "import asyncio, os, sys; from jabba.local.supervisor import Child, Program\n"
        "async def main():\n"
        "    code = 'import os, time; print(os.getpid(), flush=True); time.sleep(1000)'\n"
        "    program = Program('one', [sys.executable, '-c', code], dict(os.environ))\n"
        "    Child(program, lambda name, line: print('child', line, flush=True)).start()\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())"
    )
    log = tmp_path / "log"
    supervisor = ChildProcess("supervisor", [sys.executable, "-c", code], environment=dict(os.environ), log=log)
    with supervisor:
        supervisor.start()
        pid = int(supervisor.wait_for_line(r"child (\d+)")[1])

        supervisor.kill()

    await until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])
