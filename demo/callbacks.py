"""What the worker runs in the demo; none of it is async, so that it runs in the worker's threads."""

import time
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jabba
from demo import report
from demo.audit import audit
from jabba.local import data_directory
from jabba.settings import Settings

AUDIT = "audit_distributions"
REPORT = "audit_report"
MODULE = __name__

_PAGE = 1000
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02


@jabba.callback
def audit_distribution(name: str) -> dict[str, object]:
    """Check every file of an installed distribution."""
    return audit(distribution(name))


@jabba.callback
def collect(url: str, run_id: str) -> dict[str, Any]:
    """Find the audit's answers by its type and run, and keep them as this step's own."""
    with client_of(url) as client:
        (job,) = client.search_jobs([["type", "equal", AUDIT], ["meta", None, [["run_id", "equal", run_id]]]])
        return {"findings": findings(client, job)}


@jabba.callback
def rank(url: str, count: int) -> dict[str, Any]:
    """Sum up what was collected, and pick the largest distributions."""
    with client_of(url) as client:
        found = _result_of(client, "collect")["findings"]
    return {"totals": report.totals(found), "largest": report.largest(found, count)}


@jabba.callback
def write_report(url: str, run_id: str, path: str) -> dict[str, Any]:
    """Write the ranking to a file."""
    with client_of(url) as client:
        ranking = _result_of(client, "rank")
    return {"path": path, "sha256": report.write(Path(path), run_id, ranking["totals"], ranking["largest"])}


@jabba.callback
def verify_report(url: str) -> dict[str, Any] | tuple[str, dict[str, Any]]:
    """Read the file again, and compare it with what the database has."""
    with client_of(url) as client:
        written, ranking = _result_of(client, "write"), _result_of(client, "rank")
    faults = report.faults(Path(written["path"]), written["sha256"], ranking["totals"], ranking["largest"])
    return ("error", {"faults": faults}) if faults else {"verified": written["path"]}


def client_of(url: str) -> jabba.SyncClient:
    """Return a client with the key of the ``jabba up`` that runs this worker."""
    return jabba.SyncClient(url, key=data_directory.key_for(Settings.from_environ(), url))


def findings(client: jabba.SyncClient, job: jabba.Job) -> list[report.Finding]:
    """Return the results of an audit's tasks that have succeeded."""
    tasks = all_tasks(client, job)
    return [
        task.result for task in tasks if task.status == jabba.TaskStatus.PROCESSED and isinstance(task.result, dict)
    ]


def all_tasks(client: jabba.SyncClient, job: jabba.Job) -> list[jabba.Task]:
    """Return all tasks of a job, page by page."""
    return list(client.iter_tasks([["job_id", "equal", str(job.id)]], [["asc", "id"]], page_size=_PAGE))


def _result_of(client: jabba.SyncClient, step: str) -> dict[str, Any]:
    """Return the result of an earlier step of the job that is running.

    A step starts as soon as the one before is recorded in Kafka; PostgreSQL shows it a few milliseconds later.
    """
    job = str(jabba.current_task().job_id)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = client.search_tasks(
            [["job_id", "equal", job], ["name", "equal", step], ["status", "equal", "PROCESSED"]]
        )
        if found and isinstance(found[0].result, dict):
            return found[0].result
        time.sleep(_POLL_SECONDS)
    raise jabba.TaskError({"error": f"the result of {step!r} does not show within {_PATIENCE_SECONDS:g} s"})
