import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jabba.kafka.reader import LogMessage
from web.streams.cursor import Mark, read_mark
from web.streams.hub import Hub, Reader, Selection, Tail, tell
from web.streams.stream_events import happenings

PARTITIONS = 3
JOBS = [f"job-{number}" for number in range(6)]
ALL = Selection()


def message(partition: int, offset: int, *jobs: str) -> LogMessage:
    """Return a message with an event of each of these jobs; each event names its place."""
    events = [
        {"v": 1, "event": "task_succeeded", "job": job, "at": [partition, offset, number]}
        for number, job in enumerate(jobs)
    ]
    return LogMessage(partition, offset, json.dumps(events).encode())


def hub_at(*offsets: int, reader_bytes: int = 10**6, tail_bytes: int = 10**6) -> Hub:
    hub = Hub(tail_bytes=tail_bytes, reader_bytes=reader_bytes)
    hub.begin(dict(enumerate(offsets)))
    return hub


def told(blocks: bytes) -> list[tuple[str, Any]]:
    """Return id and place of each event in what a stream has sent."""
    events = []
    for block in blocks.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        document = json.loads(fields["data"])
        assert document["event"] == fields["event"]
        events.append((fields["id"], document["at"]))
    return events


def tell_all(messages: Iterable[LogMessage], mark: Mark) -> list[tuple[str, Any]]:
    return told(b"".join(block for one in messages for block in tell(one, happenings(one), mark, ALL)))


def taken(reader: Reader) -> bytes:
    return reader.take(10**9) if reader.waiting else b""


def test_a_reader_gets_what_comes_with_the_mark_behind_each_event() -> None:
    hub = hub_at(5, 0)
    reader, behind = hub.join(ALL, hub.mark.among([0, 1]))
    assert behind == []
    hub.publish(message(1, 0, "a", "b", "c"))
    hub.publish(message(0, 5))
    hub.publish(message(0, 6, "a"))
    assert told(taken(reader)) == [
        ("0:5.0,1:0.1", [1, 0, 0]),
        ("0:5.0,1:0.2", [1, 0, 1]),
        ("0:5.0,1:0", [1, 0, 2]),
        ("0:6,1:0", [0, 6, 0]),
    ]
    assert hub.mark_of(reader).text == "0:6,1:0"


def test_a_reader_of_one_job_gets_its_events_and_the_mark_of_its_partition() -> None:
    hub = hub_at(0, 0)
    reader, _ = hub.join(Selection("a"), hub.mark.among([1]))
    hub.publish(message(0, 0, "b"))
    hub.publish(message(1, 0, "b", "a", "a"))
    assert told(taken(reader)) == [("1:0.2", [1, 0, 1]), ("1:0", [1, 0, 2])]


def test_a_selection_decides_about_every_event() -> None:
    hub = hub_at(0)
    mark = hub.mark.among([0])
    of_all, _ = hub.join(Selection(None, lambda one: one.document["at"][2] == 1), mark)
    of_job, _ = hub.join(Selection("a", lambda one: one.document["at"][2] == 1), mark)
    hub.publish(message(0, 0, "b", "b", "a"))
    hub.publish(message(0, 1, "a", "a"))
    assert [place for _, place in told(taken(of_all))] == [[0, 0, 1], [0, 1, 1]]
    assert [place for _, place in told(taken(of_job))] == [[0, 1, 1]]


def test_a_reader_for_which_too_much_waits_has_lagged_and_gets_nothing_more() -> None:
    hub = hub_at(0, reader_bytes=300)
    slow, _ = hub.join(ALL, hub.mark.among([0]))
    for offset in range(10):
        hub.publish(message(0, offset, "a"))
    assert slow.lagged
    before = told(taken(slow))
    assert 1 <= len(before) < 10
    assert not slow.waiting
    # It goes on behind the last event that it got.
    hub.leave(slow)
    mark = read_mark(before[-1][0], "id", 1)
    _, behind = hub.join(ALL, mark)
    rest = tell_all(behind, mark)
    assert [place for _, place in before + rest] == [[0, offset, 0] for offset in range(10)]


def test_an_event_that_is_larger_than_the_room_is_sent_all_the_same() -> None:
    hub = hub_at(0, reader_bytes=1)
    reader, _ = hub.join(ALL, hub.mark.among([0]))
    hub.publish(message(0, 0, "a"))
    assert len(told(taken(reader))) == 1
    assert not reader.lagged


def test_who_has_left_gets_nothing_and_leaves_nothing_behind() -> None:
    hub = hub_at(0)
    readers = [hub.join(selection, hub.mark.among([0]))[0] for selection in (ALL, Selection("a"), Selection("a"))]
    assert hub.readers == 3
    for reader in readers:
        hub.leave(reader)
    hub.publish(message(0, 0, "a"))
    assert [reader.waiting for reader in readers] == [False] * 3
    assert hub.readers == 0
    assert hub._of_job == {}


def test_hints_tell_of_one_job_for_as_long_as_someone_waits() -> None:
    hub = hub_at(0)
    with hub.hints("a") as hint, hub.hints("a") as other:
        hub.publish(message(0, 0, "b"))
        assert not hint.is_set()
        hub.publish(message(0, 1, "b", "a"))
        assert hint.is_set()
        assert other.is_set()
    assert hub._hints == {}


def test_the_tail_forgets_the_oldest_messages_and_knows_where_it_begins() -> None:
    tail = Tail(max_bytes=3 * len(message(0, 0, "a").value))
    tail.begin({0: 0, 1: 7})
    for offset in range(4):
        tail.append(message(0, offset, "a"))
    assert not tail.reaches(Mark.before({0: 0}))
    assert tail.reaches(Mark.before({0: 1, 1: 7}))
    assert not tail.reaches(Mark.before({0: 1, 1: 6}))
    assert [one.offset for one in tail.after(Mark.before({0: 2}))] == [2, 3]


def test_a_log_that_begins_anew_is_told_from_its_beginning() -> None:
    hub = hub_at(7)
    ahead, _ = hub.join(ALL, Mark.before({0: 9}))
    hub.publish(message(0, 7, "a"))
    hub.publish(message(0, 0, "a"))
    hub.publish(message(0, 1, "a"))
    assert told(taken(ahead)) == [("0:0", [0, 0, 0]), ("0:1", [0, 1, 0])]
    assert hub.tail.reaches(Mark.before({0: 0}))


def test_what_is_no_event_is_passed_over() -> None:
    def kinds(value: bytes) -> list[str]:
        return [one.kind for one in happenings(LogMessage(0, 0, value))]

    assert kinds(b'{"no": "list"}') == kinds(b"[") == kinds(b"") == kinds(b"[1, null]") == []
    assert kinds(b'[{"job": "a", "event": "one\\ndata: forged"}, {"job": "a", "event": "of_a_later_version"}]') == [
        "of_a_later_version"
    ]


TOPIC = st.lists(st.tuples(st.integers(0, PARTITIONS - 1), st.lists(st.sampled_from(JOBS), max_size=4)), max_size=25)


def topic(drawn: Iterable[tuple[int, Sequence[str]]]) -> list[LogMessage]:
    ends = [0] * PARTITIONS
    messages = []
    for partition, jobs in drawn:
        messages.append(message(partition, ends[partition], *jobs))
        ends[partition] += 1
    return messages


def as_before(messages: Iterable[LogMessage]) -> list[Any]:
    return sorted(one.document["at"] for each in messages for one in happenings(each))


@settings(max_examples=300)
@given(TOPIC, st.data())
def test_wherever_a_reader_breaks_off_it_goes_on_without_a_gap_and_without_a_repeat(
    drawn: list[tuple[int, list[str]]], data: st.DataObject
) -> None:
    """One that has seen the messages in another order than the hub, up to anywhere, then joins anywhere."""
    messages = topic(drawn)
    published = data.draw(st.integers(0, len(messages)))
    hub = hub_at(*[0] * PARTITIONS)
    for one in messages[:published]:
        hub.publish(one)
    seen_messages = sorted(messages, key=lambda one: (one.partition, one.offset))
    mark = Mark.before(dict.fromkeys(range(PARTITIONS), 0))
    before = tell_all(seen_messages, mark)[: data.draw(st.integers(0, 100))]
    mark = read_mark(before[-1][0] if before else "0:0.0,1:0.0,2:0.0", "id", PARTITIONS)

    reader, behind = hub.join(ALL, mark)
    for one in messages[published:]:
        hub.publish(one)
    rest = tell_all(behind, mark) + told(taken(reader))

    assert sorted(place for _, place in before + rest) == as_before(messages)
    for partition in range(PARTITIONS):
        mine = [place for _, place in before + rest if place[0] == partition]
        assert mine == sorted(mine)
    for text, place in rest:
        [end] = [one for one in text.split(",") if one.startswith(f"{place[0]}:")]
        assert end.startswith(f"{place[0]}:{place[1]}")
