"""``python -m demo``."""

import signal
import sys
import time
from contextlib import ExitStack
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.markup import escape
from rich.progress import Progress

import jabba
from demo import billing, callbacks, show
from demo.house import HouseFailed, running_jabba

REPORT = Path(".jabba", "supply-chain.md")
_LARGEST = 10
_POLL_SECONDS = 0.1
_CHARGES = "charges"
_ORDERS = 6

console = show.console


def main() -> int:
    """Run the demo; return its exit code."""
    # Whoever is told to end stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console.print("[bold]Jabba[/] verifies the software supply chain of the environment that it runs in.")
    try:
        with ExitStack() as running:
            with console.status("Starting a broker, PostgreSQL, a projector, a worker and the web …"):
                url, key = running.enter_context(running_jabba())
            console.print(f"All of it is up at {url}\n")
            return run(url, running.enter_context(jabba.SyncClient(url, key=key)))
    except (HouseFailed, jabba.JabbaError) as error:
        console.print(f"[bold red]The demo failed:[/] {escape(str(error))}")
    except KeyboardInterrupt:
        console.print("Interrupted.")
    return 1


def run(url: str, client: jabba.SyncClient) -> int:
    """Submit the jobs, one after the other, and print the answers; return the exit code."""
    run_id = uuid4().hex
    began = time.monotonic()
    with show.progress() as bars:
        audit = _through(client, bars, {**_audit(), "meta": {"run_id": run_id}})
        report = _through(client, bars, {**_report(url, run_id), "meta": {"run_id": run_id}})
        charges = _through(client, bars, {**_charges(), "meta": {"run_id": run_id}})
    seconds = time.monotonic() - began
    show.answers(callbacks.all_tasks(client, audit))
    show.steps(client.get_tasks(report.id))
    show.attempts([client.get_task(task.id) for task in client.get_tasks(charges.id)])
    good = all(job.status == jabba.JobStatus.PROCESSED for job in (audit, report, charges))
    show.ending(seconds, REPORT if good else None)
    return 0 if good else 1


def _audit() -> dict[str, Any]:
    """Return the concurrent job: a task for every installed distribution."""
    names = sorted({one.metadata["Name"] for one in distributions() if one.metadata["Name"]}, key=str.lower)
    tasks = [{"name": name, "callback": _local("audit_distribution", name)} for name in names]
    return {"tasks": tasks, "type": callbacks.AUDIT, "strategy": "concurrent"}


def _report(url: str, run_id: str) -> dict[str, Any]:
    """Return the sequential job, whose steps find each other's results through the HTTP interface."""
    tasks = [
        {"name": "collect", "callback": _local("collect", url, run_id)},
        {"name": "rank", "callback": _local("rank", url, _LARGEST)},
        {"name": "write", "callback": _local("write_report", url, run_id, str(REPORT.absolute()))},
        {"name": "verify", "callback": _local("verify_report", url)},
    ]
    return {"tasks": tasks, "type": callbacks.REPORT, "strategy": "sequential"}


def _charges() -> dict[str, Any]:
    """Return a job of calls to the service, some of which it wants to be called again for."""
    tasks = [
        {"name": f"order {order}", "callback": [billing.SERVICE, "invoices", "charge", [order, 9.5]]}
        for order in range(1, 1 + _ORDERS)
    ]
    return {"tasks": tasks, "type": _CHARGES, "strategy": "concurrent"}


def _local(function: str, *args: Any) -> list[Any]:
    return ["local", callbacks.MODULE, function, list(args)]


def _through(client: jabba.SyncClient, bars: Progress, document: dict[str, Any]) -> jabba.Job:
    """Submit a job and show how far it has come until it has ended."""
    job = client.create_job(**document).job
    bar = bars.add_task(job.type, total=len(document["tasks"]))
    while job.ended_at is None:
        time.sleep(_POLL_SECONDS)
        bars.update(bar, completed=client.get_progress(job.id).ended)
        job = client.get_job(job.id)
    bars.update(bar, completed=client.get_progress(job.id).ended)
    return job


if __name__ == "__main__":
    sys.exit(main())
