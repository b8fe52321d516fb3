"""``docs/http.md`` tells of every route, error and status, and of none that there is not."""

import re
from pathlib import Path

import jabba
from jabba.errors import request_errors
from jabba.jobs.lifecycle import FINAL, JobStatus, TaskStatus
from web.openapi import path_of
from web.operations import Operation, operations_of
from web.routes import VIEWS

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text()


def rows(table: str) -> list[list[str]]:
    """Return the cells of the table that follows a comment with this name."""
    text = PAGE.partition(f"<!-- {table} -->\n")[2].partition("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_every_route_has_its_permission_and_statuses() -> None:
    told = {route: (permission, status, errors) for route, _, permission, status, errors in rows("routes")}

    assert told == {
        f"{method} {path_of(view)}": (permissions_of(one), str(one.status), errors_of(method, path_of(view), one))
        for view in VIEWS
        for method, one in operations_of(view).items()
    }


def permissions_of(one: Operation) -> str:
    """Return them as the page has them."""
    more = [f"and `{permission}` without `{name}=`" for name, permission in one.needs_without.items()]
    return ", ".join([f"`{one.needs}`" if one.needs else "", *more]).strip("`")


def errors_of(method: str, path: str, one: Operation) -> str:
    if (method, path) == ("POST", "/v1/jobs/bulk"):
        return "in its lines"
    return " ".join(str(status) for status in sorted({error.status for error in one.errors}))


def test_every_call_of_the_client_is_there() -> None:
    told = {name for row in rows("routes") for name in re.findall(r"\w+", row[1])} - {"the", "same"}
    calls = {name for name, value in vars(jabba.Client).items() if callable(value) and not name.startswith("_")}

    assert told == calls - {"close", "submit_many"}


def test_every_error_has_its_status_and_class() -> None:
    told = {type_: (status, cls) for type_, status, cls, _ in rows("errors")}

    assert told == {type_: (str(cls.status), cls.__name__) for type_, cls in request_errors().items()}
    assert {cls for _, cls in told.values()} <= set(jabba.__all__)


def test_every_status_has_its_meaning() -> None:
    assert [status for status, _ in rows("jobs")] == list(JobStatus)
    assert [status for status, _ in rows("tasks")] == list(TaskStatus)
    assert list(TaskStatus)[-4:] == [status for status in TaskStatus if status in FINAL]
