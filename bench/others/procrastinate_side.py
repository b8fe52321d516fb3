"""Procrastinate's side of ``bench.compare``: its worker's application, and what submits to it.

    procrastinate --app procrastinate_side.app schema --apply
    procrastinate --app procrastinate_side.app worker
    python procrastinate_side.py JOBS 1

``BROKER`` is the URL of its database.
"""

import asyncio
import os
import sys
import time

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["BROKER"]))

_AT_ONCE = 500


@app.task(name="echo")  # type: ignore[untyped-decorator]  # mypy does not find it
async def echo(number: int) -> dict[str, int]:
    """Return what it is given; Procrastinate keeps no results."""
    return {"number": number}


async def submit(jobs: int) -> None:
    """Submit jobs, in batches as its documentation advises for many."""
    async with app.open_async():
        print(time.time())
        for first in range(0, jobs, _AT_ONCE):
            await echo.batch_defer_async(*({"number": number} for number in range(min(_AT_ONCE, jobs - first))))
        print(time.time())


if __name__ == "__main__":
    asyncio.run(submit(int(sys.argv[1])))
