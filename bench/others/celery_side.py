"""Celery's side of ``bench.compare``: its worker's application, and what submits to it.

    celery --app celery_side worker
    python celery_side.py JOBS STEPS

``BROKER`` and ``BACKEND`` are where its messages and results are.
"""

import os
import sys
import time

from celery import Celery, chain

app = Celery("bench", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    # Without these two a task is lost with its worker, which is another promise than the one that is compared.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
)


@app.task(name="echo")  # type: ignore[untyped-decorator]  # mypy does not find it
def echo(number: int) -> dict[str, int]:
    """Return what it is given."""
    return {"number": number}


def main(jobs: int, steps: int) -> None:
    """Submit jobs of so many steps each, one after the other."""
    print(time.time())
    for _ in range(jobs):
        if steps == 1:
            echo.delay(0)
        else:
            chain(*(echo.si(number) for number in range(steps))).delay()
    print(time.time())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
