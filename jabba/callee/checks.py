"""The functions that ``jabba callee check`` calls, when a callee offers them.

Each counts how often it ran for one ``webhook-id``, in this process.
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, JsonValue

from jabba.callee.context import Context, FinalError
from jabba.errors import TaskError

if TYPE_CHECKING:
    from jabba.callee.callee import Callee

MODULE = "jabba.check"

Seconds = Annotated[float, Field(ge=0, le=30)]
Lines = Annotated[int, Field(ge=0, le=100)]


def offer(callee: "Callee") -> None:
    """Register them."""
    checks = _Checks()
    for function in (checks.echo, checks.fail, checks.busy, checks.stream):
        callee.callback(f"{MODULE}.{function.__name__}")(function)


class _Checks:
    def __init__(self) -> None:
        self._runs: Counter[str] = Counter()

    async def echo(self, value: JsonValue, context: Context) -> dict[str, JsonValue]:
        return {"value": value, "runs": self._count(context)}

    async def fail(self, retry: bool, context: Context) -> None:  # noqa: FBT001 — a call's argument
        runs = self._count(context)
        raise (TaskError if retry else FinalError)({"runs": runs})

    async def busy(self, seconds: Seconds, context: Context) -> dict[str, JsonValue]:
        try:
            async with asyncio.timeout(seconds):
                await context.cancelled.wait()
        except TimeoutError:
            return {"cancelled": False, "runs": self._count(context)}
        return {"cancelled": True, "runs": self._count(context)}

    async def stream(self, lines: Lines, context: Context) -> dict[str, JsonValue]:
        for line in range(lines):
            await context.progress({"line": line})
        return {"lines": lines, "runs": self._count(context)}

    def _count(self, context: Context) -> int:
        self._runs[context.id] += 1
        return self._runs[context.id]
