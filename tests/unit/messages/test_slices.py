from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jabba.engine.records import LaneRecord
from jabba.errors import InvalidRequest, LimitExceeded
from jabba.jobs import ids, json_codec
from jabba.jobs.lifecycle import Strategy
from jabba.jobs.models import JobSpec, Limits
from jabba.messages import slices
from jabba.messages.slices import MAX_BYTES, MAX_TASKS, EncodedSlice, Slice

LIMITS = Limits()
JOB = ids.new_job_id(1_795_000_000)


def cut(sizes: list[int], *, limits: Limits = LIMITS, **given: Any) -> list[EncodedSlice]:
    tasks = [["local", "m", "f", ["x" * size]] for size in sizes]
    return slices.cut(JobSpec.parse({"type": "t", "tasks": tasks, **given}, limits), JOB, limits)


def read(cut_: list[EncodedSlice]) -> list[Slice]:
    return slices.decode_message(slices.encode_message([one.text for one in cut_]))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 10, 1000, MAX_BYTES // 3, MAX_BYTES // 2, MAX_BYTES + 10]), min_size=1, max_size=250)
)
def test_slices_hold_every_task_once_in_order_and_within_bounds(sizes: list[int]) -> None:
    parts = read(cut(sizes))
    lengths = [len(str(task.callback.args[0])) for part in parts for task in part.tasks]
    assert lengths == sizes
    assert [part.k for part in parts] == list(range(len(parts)))
    assert {(part.n_slices, part.total) for part in parts} == {(len(parts), len(sizes))}
    first = 0
    for part in parts:
        assert part.first == first
        assert len(part.tasks) <= MAX_TASKS
        assert len(part.tasks) == 1 or sum(len(str(task.callback.args[0])) for task in part.tasks) <= MAX_BYTES
        first += len(part.tasks)


def test_a_task_larger_than_a_slice_travels_alone() -> None:
    assert [len(part.tasks) for part in read(cut([10, MAX_BYTES, 10, 10]))] == [1, 1, 2]


def test_a_slice_with_calls_of_other_services_brings_the_meta() -> None:
    tasks = [["local", "m", "f"]] * 100 + [["billing", "m", "f"]] + [["local", "m", "f"]] * 199
    spec = JobSpec.parse({"type": "t", "meta": {"a": 1}, "tasks": tasks}, LIMITS)
    parts = read(slices.cut(spec, JOB, LIMITS))
    assert [(part.name, part.meta) for part in parts] == [(None, {"a": 1}), (None, {"a": 1}), (None, {})]


def test_the_first_slice_brings_name_and_meta() -> None:
    parts = read(cut([1] * 150, name="n", meta={"a": [None, "☃"]}))
    assert [(part.name, part.meta) for part in parts] == [("n", {"a": [None, "☃"]}), (None, {})]
    assert {(part.type, part.strategy) for part in parts} == {("t", Strategy.SEQUENTIAL)}


def test_a_sequential_job_has_one_key_and_a_concurrent_one_a_key_per_slice() -> None:
    assert {one.key for one in cut([1] * 300)} == {str(JOB)}
    assert [one.key for one in cut([1] * 300, strategy="concurrent")] == [f"{JOB}/0/{k}" for k in range(3)]


def test_the_same_submission_has_the_same_digest_and_another_one_another() -> None:
    digests = [
        cut(**given)[0].digest
        for given in (
            {"sizes": [1, 2]},
            {"sizes": [1, 2]},
            {"sizes": [2, 1]},
            {"sizes": [1, 2], "name": "n"},
            {"sizes": [1, 2], "meta": {"a": 1}},
            {"sizes": [1, 2], "type": "u"},
            {"sizes": [1, 2], "strategy": "concurrent"},
        )
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == len(digests) - 1


@pytest.mark.parametrize(
    "given, field",
    [
        ({"sizes": [1, 2000]}, "tasks[1].callback.args"),
        ({"sizes": [1], "meta": {"a": "x" * 500}}, "meta"),
    ],
)
def test_what_is_too_large_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(LimitExceeded) as refused:
        cut(**given, limits=Limits(task_args_bytes=1000, meta_bytes=400))
    assert refused.value.fields[0].field == field


def nested(levels: int) -> Any:
    value: Any = []
    for number in range(levels - 1):
        value = {"a": value, "b": 1} if number % 2 else [value, 1]
    return value


@pytest.mark.parametrize(
    "given, field",
    [
        (lambda deep: {"tasks": [["local", "m", "f"], ["local", "m", "f", [deep]]]}, "tasks[1].callback.args"),
        (lambda deep: {"tasks": [{"callback": ["local", "m", "f"], "meta": {"a": deep}}]}, "tasks[0].meta"),
        (lambda deep: {"tasks": [["local", "m", "f"]], "meta": {"a": deep}}, "meta"),
    ],
)
def test_what_is_so_deep_that_no_reader_could_read_it_is_named(
    given: Callable[[Any], dict[str, Any]], field: str
) -> None:
    """JSON text of 200 levels is no JSON to those that read the log."""

    def cut_nested(levels: int) -> list[EncodedSlice]:
        return slices.cut(JobSpec.parse({"type": "t"} | given(nested(levels)), LIMITS), JOB, LIMITS)

    assert len(read(cut_nested(json_codec.DEEPEST - 1))) == 1
    for levels in (json_codec.DEEPEST, 194):
        with pytest.raises(InvalidRequest) as refused:
            cut_nested(levels)
        assert [one.field for one in refused.value.fields] == [field]


def test_many_values_that_are_not_deep_are_taken() -> None:
    spec = JobSpec.parse({"type": "t", "tasks": ["local", "m", "f", [[[n], {"a": n}] for n in range(500)]]}, LIMITS)
    assert len(slices.cut(spec, JOB, LIMITS)) == 1


def test_the_limit_itself_is_allowed() -> None:
    args = 1000 - len('[""]')
    assert len(cut([args], limits=Limits(task_args_bytes=1000))) == 1
    with pytest.raises(LimitExceeded):
        cut([args + 1], limits=Limits(task_args_bytes=1000))


@pytest.mark.parametrize("text", [b"", b"{}", b"[{}]", b"not json", b'[{"v": 2}]'])
def test_what_is_no_message_of_slices_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        slices.decode_message(text)


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"k": 1}, "k is 1, but there are 1 slices"),
        ({"total": 1}, "its tasks reach to 2, but the job has 1"),
        ({"first": 5}, "its tasks reach to 7, but the job has 2"),
        ({"first": 5, "total": 7, "done": [0]}, "not of this slice, 5 to 6"),
        ({"done": [1, 10**12]}, "not of this slice, 0 to 1"),
    ],
)
def test_a_slice_that_contradicts_itself_is_refused(wrong: dict[str, Any], told: str) -> None:
    slice_ = json_codec.decode(cut([1, 1])[0].text) | wrong
    with pytest.raises(ValueError, match=told):
        slices.decode_message(json_codec.encode([slice_]))


def test_a_task_that_ended_twice_has_ended_once() -> None:
    (slice_,) = slices.decode_message(json_codec.encode([json_codec.decode(cut([1, 1])[0].text) | {"done": [0, 0]}]))
    assert LaneRecord.start(slice_, 0).done == 0b1


def test_the_empty_first_message_holds_no_slices() -> None:
    assert slices.decode_message(b"[]") == []
