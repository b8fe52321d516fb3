"""What goes into an outbox is checked as a submission is, and written by the caller's own driver."""

import json
import time
from typing import Any

import pytest

from jabba import outbox
from jabba.errors import InvalidRequest, LimitExceeded
from jabba.jobs import ids
from jabba.jobs.models import Limits
from jabba.producer.submission import prepare
from jabba.settings import Settings

CALL = ["local", "shop", "ship", [1, 1.5, "☃", {"a": None}]]


class Silent:
    def execute(self, *_: Any) -> None:
        raise AssertionError("nothing wrong is sent to the database")


@pytest.mark.parametrize(
    "arguments, options, field",
    [
        (([], "order"), {}, "tasks"),
        (([CALL], 7), {}, "type"),
        (([CALL], "order"), {"strategy": "sideways"}, "strategy"),
        (([CALL], "order"), {"meta": {"a": "\0"}}, "meta.a"),
        (([CALL], "order"), {"id": ids.new_job_id(time.time() - 1000)}, "id"),
    ],
)
def test_what_a_producer_refuses_is_not_added(arguments: Any, options: Any, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        outbox.add(Silent(), *arguments, **options)

    assert [one.field for one in caught.value.fields] == [field]


def test_limits_are_those_that_are_given() -> None:
    with pytest.raises(LimitExceeded):
        outbox.add(Silent(), [CALL], "order", meta={"a": "long"}, limits=Limits(meta_bytes=5))


def test_what_is_kept_is_the_same_submission() -> None:
    given = {"meta": {"n": 1.0}, "name": "Bestellung", "strategy": "concurrent"}
    added = outbox.prepared([CALL, CALL], "order", **given)  # type: ignore[arg-type]  # a dict of several types

    document = {"tasks": [CALL, CALL], "type": "order", "id": added.id, **given}
    (kept,) = prepare(json.loads(added.text), Limits(), time.time()).slices
    (submitted,) = prepare(document, Limits(), time.time()).slices
    assert kept == submitted
    assert (added.job.id, added.job.meta, added.job.status) == (added.id, {"n": 1.0}, "PENDING")


@pytest.mark.parametrize(
    "style, values, by_name",
    [
        ("format", "CAST(%s AS text)::uuid, %s", False),
        ("pyformat", "CAST(%(id)s AS text)::uuid, %(job)s", True),
        ("named", "CAST(:id AS text)::uuid, :job", True),
        ("numeric_dollar", "CAST($1 AS text)::uuid, $2", False),
        ("qmark", "CAST(? AS text)::uuid, ?", False),
    ],
)
def test_the_statement_is_there_for_every_driver(style: str, values: str, by_name: bool) -> None:  # noqa: FBT001
    added = outbox.prepared(CALL, "order")

    sql, parameters = added.statement(style, "shop.outbox")
    assert sql.startswith("INSERT INTO shop.outbox (id, job) VALUES (")
    assert sql.endswith(f"({values})")
    assert (parameters["id"] if by_name else parameters[0]) == str(added.id)


@pytest.mark.parametrize("name", ["", "a b", "a;b", "A", "a.b.c", "a.", '"a"', "1a"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a table"):
        outbox.ddl(name)
    with pytest.raises(ValueError, match="no name of a table"):
        outbox.prepared(CALL, "order").statement("format", name)


def test_the_usual_name_is_the_usual_name() -> None:
    assert Settings().outbox_table == outbox.TABLE
