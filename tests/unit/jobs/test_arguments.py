"""What is no JSON in a submission: one rule, whoever takes the submission."""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from jabba import outbox
from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.jobs.models import JobSpec, Limits, encode_document
from jabba.producer.submission import document_of, prepare


class Colour(enum.Enum):
    RED = "red"


def by_client(document: dict[str, Any]) -> dict[str, Any]:
    return JobSpec.parse(json_codec.decode_unique(encode_document(document)), Limits()).model_dump()


def by_producer(document: dict[str, Any]) -> dict[str, Any]:
    prepare(document, Limits(), 1e9)
    return JobSpec.parse(document, Limits()).model_dump()


def by_outbox(document: dict[str, Any]) -> dict[str, Any]:
    added = outbox.prepared(document["tasks"], document["type"], meta=document.get("meta"))
    return JobSpec.parse(json_codec.decode(added.text), Limits()).model_dump()


WAYS = pytest.mark.parametrize("way", [by_client, by_producer, by_outbox])
Way = Callable[[dict[str, Any]], dict[str, Any]]


@WAYS
@pytest.mark.parametrize(
    "given, taken",
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (UUID(int=1), str(UUID(int=1))),
        ((1, (2, "a")), [1, [2, "a"]]),
        ({1}, [1]),
        (b"x", "x"),
        (Colour.RED, "red"),
        ({1: 2}, {"1": 2}),
    ],
)
def test_what_has_a_form_in_json_is_taken(way: Way, given: Any, taken: Any) -> None:
    found = way(document_of(("local", "m", "f", (1, {"a": given})), "t", meta={"m": given}))
    assert found["tasks"][0]["callback"]["args"] == [1, {"a": taken}]
    assert found["meta"] == {"m": taken}


@WAYS
@pytest.mark.parametrize("given", [object(), b"\xff", float("nan"), "a\0", {"\ud800"}])
def test_what_has_none_is_refused_and_the_field_named(way: Way, given: Any) -> None:
    for document, field in (
        (document_of(("local", "m", "f", (1, {"a": given})), "t"), "tasks[0].callback.args[1].a"),
        (document_of(("local", "m", "f"), "t", meta={"m": given}), "meta.m"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            way(document)
        assert field in str(refused.value)
        assert refused.value.fields[0].field.startswith(field)


@WAYS
def test_two_keys_of_one_text_are_refused(way: Way) -> None:
    with pytest.raises(InvalidRequest, match="both become '1'"):
        way(document_of(("local", "m", "f", [{1: "a", "1": "b"}]), "t"))


def test_a_single_wrong_field_is_named_in_the_message() -> None:
    with pytest.raises(InvalidRequest, match=r"^type: "):
        JobSpec.parse(document_of(("local", "m", "f"), ""), Limits())
