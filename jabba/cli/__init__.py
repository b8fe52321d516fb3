"""The command line: ``python -m jabba COMMAND``."""

import sys


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from jabba.cli.commands import jabba  # noqa: PLC0415 — a library's user may have installed nothing it needs
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"The command line needs {error.name}: pip install 'jabba[server]'")
    jabba.main(prog_name="jabba")
