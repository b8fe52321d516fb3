"""Ctrl-C while the command line still imports what it needs."""

import os
import signal
import subprocess
import sys

import pytest

INTERRUPTING = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {name!r}: os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
import runpy
sys.argv = ["jabba", "--version"]
runpy.run_module("jabba", run_name="__main__", alter_sys=True)
"""


def ending(name: str, *, ignored: bool = False) -> tuple[int, str]:
    """Run ``python -m jabba --version``, with SIGINT as it imports a module; return its exit code and errors."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    try:
        command = [sys.executable, "-c", INTERRUPTING.format(name=name)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    finally:
        signal.signal(signal.SIGINT, before)
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["jabba.client", "aiohttp", "click", "jabba.cli.commands"])
def test_it_ends_without_a_traceback(name: str) -> None:
    assert ending(name) == (-signal.SIGINT, "")


def test_an_ignored_signal_stays_ignored() -> None:
    assert ending("jabba.cli.commands", ignored=True) == (0, "")
