"""Jabba's side of ``bench.compare``: its callback, and what submits.

    python jabba_side.py JOBS STEPS

``BROKER`` is where Kafka is.
"""

import asyncio
import os
import sys
import time

import jabba


@jabba.callback
async def echo(number: int) -> dict[str, int]:
    """Return what it is given."""
    return {"number": number}


async def submit(jobs: int, steps: int) -> None:
    """Submit jobs of so many steps each, as a stream."""
    tasks = [["local", "bench.others.jabba_side", "echo", [number]] for number in range(steps)]
    async with jabba.Producer(os.environ["BROKER"]) as producer:
        await producer.check()
        print(time.time())
        async for delivery in producer.create_jobs({"tasks": tasks, "type": "bench"} for _ in range(jobs)):
            delivery.result()
        print(time.time())


if __name__ == "__main__":
    asyncio.run(submit(int(sys.argv[1]), int(sys.argv[2])))
