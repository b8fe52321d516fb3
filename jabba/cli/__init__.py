"""The command line: ``jabba COMMAND`` or ``python -m jabba COMMAND``."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def main() -> None:
    """Run the command that the arguments name."""
    try:
        with _ctrl_c_ends_at_once():
            from jabba.cli.commands import jabba  # a library's user may have installed nothing it needs
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.exit(f"The command line needs {package}: in Jabba's checkout, pip install '.[server]'")
    jabba.main(prog_name="jabba")


@contextmanager
def _ctrl_c_ends_at_once() -> Iterator[None]:
    """Let SIGINT end the process without a traceback meanwhile: imports take half a second and clean nothing up."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before)
