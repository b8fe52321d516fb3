"""What of a message cannot be decoded is put aside, and the rest of it runs."""

import base64
from typing import NamedTuple

from agents.decoding import decoded
from jabba.jobs import json_codec
from jabba.messages.slices import decode_message, decode_slice, encode_message
from tests.support.projecting import job_spec, new_job, slices_of


class Message(NamedTuple):
    value: bytes | None
    topic: str = "jabba-tasks"
    partition: int = 3
    offset: int = 17


async def test_the_neighbours_of_a_faulty_slice_run() -> None:
    [one], [two] = slices_of(new_job(), job_spec(1)), slices_of(new_job(), job_spec(1))
    good = [each.model_dump_json().encode() for each in (one, two)]
    letters = []

    async def put_aside(partition: int, letter: bytes) -> int:
        letters.append((partition, json_codec.decode(letter)))
        return 0

    value = encode_message([good[0], b'{"v":NaN}', good[1]])
    assert await decoded(Message(value), decode_message, decode_slice, put_aside) == [one, two]  # type: ignore[arg-type]
    [(partition, letter)] = letters
    assert (partition, letter["offset"], base64.b64decode(letter["value"])) == (3, 17, b'[{"v":NaN}]')
    assert letter["reason"].startswith("item 1 of 3 cannot be decoded: ")
