"""The command line: ``python -m jabba COMMAND``."""

import sys


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from jabba.cli.commands import jabba  # noqa: PLC0415 — a library's user may have installed nothing it needs
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.exit(f"The command line needs {package}: in Jabba's checkout, pip install '.[server]'")
    jabba.main(prog_name="jabba")
