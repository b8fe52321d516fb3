"""Jabba, an asynchronous job manager: submit a job from anywhere, it survives the death of any process."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jabba.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Load the public names with the first of them: a program that imports Jabba starts, and stops, at once."""
    if not name.startswith("__") or name == "__all__":
        # Not `from jabba import public`, which would look for it here.
        public = import_module("jabba.public")
        if name in globals():
            # A module that came along, such as jabba.errors.
            return globals()[name]
        if hasattr(public, name):
            return globals().setdefault(name, getattr(public, name))
    raise AttributeError(f"module 'jabba' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, too."""
    return sorted({*globals(), *import_module("jabba.public").__all__})
