"""A dead letter can always be written, whatever is wrong with the message or with the reason."""

import base64
import json
from functools import partial

import pytest

from jabba.errors import MessageTooLarge
from jabba.kafka.dead_letters import KEPT_BYTES, dead_letter, put_aside
from jabba.kafka.writer import MAX_MESSAGE_BYTES


def test_it_tells_reason_and_origin_and_has_the_bytes() -> None:
    letter = json.loads(dead_letter("jabba-events", 3, 17, b"\x00\xff[", "not JSON"))

    assert base64.b64decode(letter.pop("value")) == b"\x00\xff["
    assert letter == {"v": 1, "reason": "not JSON", "topic": "jabba-events", "partition": 3, "offset": 17, "size": 3}


def test_a_message_without_a_value_has_none() -> None:
    letter = json.loads(dead_letter("jabba-events", 0, 0, None, "empty"))

    assert (letter["value"], letter["size"]) == (None, None)


@pytest.mark.parametrize("reason", ["a\0b", "\ud800", "x" * 100_000, ""])
def test_any_reason_can_be_told(reason: str) -> None:
    letter = json.loads(dead_letter("jabba-events", 0, 0, b"", reason))

    assert len(letter["reason"]) <= 2000
    assert "\0" not in letter["reason"]


def test_the_letter_of_the_largest_message_fits_in_a_message() -> None:
    value = bytes(MAX_MESSAGE_BYTES)
    text = dead_letter("jabba-events", 0, 0, value, "\N{SNOWMAN}" * 100_000)

    assert len(text) < MAX_MESSAGE_BYTES - 1024
    letter = json.loads(text)
    assert (letter["size"], len(base64.b64decode(letter["value"]))) == (len(value), KEPT_BYTES)


async def test_less_of_a_message_is_kept_where_kafka_takes_no_more() -> None:
    taken = []

    async def append(letter: bytes) -> int:
        if len(letter) > 20_000:
            raise MessageTooLarge("too large")
        taken.append(json.loads(letter))
        return 0

    await put_aside(append, partial(dead_letter, "jabba-events", 3, 17, bytes(1_000_000), "not JSON"))
    [letter] = taken
    assert (letter["size"], letter["offset"]) == (1_000_000, 17)
    assert 0 < len(base64.b64decode(letter["value"])) < 20_000
