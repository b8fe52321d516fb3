"""What a stranger wrote is shown without its control over the terminal."""

import json
from typing import Any
from uuid import UUID

import pytest

from jabba.printable import printable, quoted


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain ä 漢字 🙂", "plain ä 漢字 🙂"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\x9b2J", r"\u009b2J"),
        ("two\nlines\r\tand a tab", r"two\nlines\r\tand a tab"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\u2028\u2029\x7f\x00\x85", r"\u2028\u2029\u007f\u0000\u0085"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\udb40\udc41"),
    ],
)
def test_what_has_no_glyph_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_is_kept_is_kept() -> None:
    assert printable("a\n\tb\x1b", keep="\n") == "a\n\\tb\\u001b"


def test_escaped_json_means_the_same() -> None:
    value = {"a": "\x1b\x7f\x9b\u202e\U000e0041\n"}
    text = printable(json.dumps(value, ensure_ascii=False, indent=2), keep="\n")
    assert json.loads(text) == value
    assert "\x7f" not in text


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        ([None, False, 1.5], "[null, false, 1.5]"),
        ({"a": "ä"}, '{"a": "ä"}'),
        ("text", "'text'"),
        ("\x1b\n", r"'\u001b\n'"),
        ("x" * 81, f"'{'x' * 80}…'"),
        (list(range(1000)), None),
        (UUID(int=1), f'"{UUID(int=1)}"'),
        ({(1, 2): 3}, "a value of type dict"),
        (float("nan"), "NaN"),
    ],
)
def test_values_are_quoted_in_the_words_of_json(value: Any, text: str | None) -> None:
    assert text is None or quoted(value) == text
    assert len(quoted(value)) <= 100


def test_an_integer_too_long_to_print_can_be_quoted() -> None:
    assert quoted(10**5000) == "a value of type int"


def test_a_value_that_holds_itself_can_be_quoted() -> None:
    value: list[Any] = []
    value.append(value)
    assert quoted(value) == "a value of type list"
