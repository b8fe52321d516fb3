"""Run a program as a child that ends when its parent does, and that is not root.

This file is also a program, started with nothing but the standard library: it prepares its own process and then
becomes the program it was asked to run, so that the process id is the program's.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_ANYWHERE = "-"


def command_of_child(
    program: Sequence[str | Path], *, when_orphaned: signal.Signals, never_root_in: Path | None = None
) -> list[str]:
    """Return the command line that runs ``program`` as a child of this process.

    On Linux the child gets the signal ``when_orphaned`` as soon as *the thread that started it* ends, even by
    ``kill -9``: start it from the main thread. Elsewhere an orphan lives on.

    With ``never_root_in`` a child of root runs as an ordinary user that owns that directory (PostgreSQL refuses to be
    root). Where user namespaces are allowed, root merely looks like that user to the program: files stay root's, and
    a checkout in a directory that only root may enter works. Where they are not, the child becomes ``nobody``, the
    directory is given to it, and it must be able to reach the program.
    """
    directory = str(never_root_in) if never_root_in else _ANYWHERE
    launcher = [sys.executable, "-I", "-S", __file__, str(os.getpid()), when_orphaned.name, directory]
    return [*launcher, *map(str, program)]


def _become_ordinary(directory: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    _give(directory, os.geteuid(), os.getegid())
    if not _look_ordinary(nobody.pw_uid, nobody.pw_gid):
        _give(directory, nobody.pw_uid, nobody.pw_gid)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def _look_ordinary(uid: int, gid: int) -> bool:
    """Enter a user namespace in which root has the given ids; return whether this machine allows that."""
    if sys.platform != "linux" or ctypes.CDLL(None).unshare(_CLONE_NEWUSER) != 0:
        return False
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} 0 1")
    Path("/proc/self/gid_map").write_text(f"{gid} 0 1")
    return True


def _give(directory: Path, uid: int, gid: int) -> None:
    if directory.stat().st_uid == uid:
        return
    for path in (directory, *directory.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)


def _end_with(parent: int, when_orphaned: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, when_orphaned)
        if os.getppid() != parent:
            os.kill(os.getpid(), when_orphaned)


def _main(parent: str, when_orphaned: str, directory: str, *program: str) -> None:
    if directory != _ANYWHERE and os.geteuid() == 0:
        _become_ordinary(Path(directory))
    _end_with(int(parent), signal.Signals[when_orphaned])
    try:
        os.execvp(program[0], program)  # noqa: S606 - replacing itself with a program and no shell is this file's purpose
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error}")


if __name__ == "__main__":
    _main(*sys.argv[1:])
