"""arq's side of ``bench.compare``: its worker's settings, and what submits to it.

    arq arq_side.WorkerSettings
    python arq_side.py JOBS 1

``BROKER`` is the URL of Redis, which has its results, too.
"""

import asyncio
import os
import sys
import time

from arq import create_pool
from arq.connections import RedisSettings

_AT_ONCE = 100


async def echo(_context: object, number: int) -> dict[str, int]:
    """Return what it is given."""
    return {"number": number}


class WorkerSettings:
    """Its defaults, but for the pause between two looks at Redis, which it would spend idle."""

    functions = (echo,)
    redis_settings = RedisSettings.from_dsn(os.environ["BROKER"])
    poll_delay = 0.05
    max_jobs = 100


async def submit(jobs: int) -> None:
    """Submit jobs, some at a time."""
    pool = await create_pool(WorkerSettings.redis_settings)
    print(time.time())
    for first in range(0, jobs, _AT_ONCE):
        await asyncio.gather(*(pool.enqueue_job("echo", n) for n in range(min(_AT_ONCE, jobs - first))))
    print(time.time())
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(submit(int(sys.argv[1])))
