import pytest

from web.ndjson import Line, Lines


def cut(text: bytes, size: int, limit: int = 100) -> list[Line]:
    lines = Lines(limit)
    found = [line for at in range(0, len(text), size) for line in lines.feed(text[at : at + size])]
    return [*found, *lines.end()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_the_same_however_they_come(size: int) -> None:
    assert cut(b'{"a": 1}\n{"b": 2}\r\n\n  \n{"c": 3}', size) == [
        Line(1, b'{"a": 1}'),
        Line(2, b'{"b": 2}\r'),
        Line(5, b'{"c": 3}'),
    ]
    assert cut(b"one\n", size) == [Line(1, b"one")]
    assert cut(b"", size) == []


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_line_that_is_too_long_is_not_kept_and_the_next_one_is_whole(size: int) -> None:
    assert cut(b"ok\n" + b"x" * 11 + b"\n" + b"y" * 10 + b"\n" + b"z" * 500, size, limit=10) == [
        Line(1, b"ok"),
        Line(2, None),
        Line(3, b"y" * 10),
        Line(4, None),
    ]


def test_memory_is_bounded_by_the_limit() -> None:
    lines = Lines(1000)
    for _ in range(1000):
        assert list(lines.feed(b"x" * 999)) == []
        assert len(lines._begun) <= 1000
