"""The words of a search in text: names, operators and values, each with its place; no meaning yet."""

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any, NamedTuple

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.printable import quoted
from jabba.search.language import MAX_VALUES

SPECIAL = r"\s,()\""
"""What ends a bare value, as the inside of a character class."""

_SPACE = re.compile(r"\s*")
_WORD = re.compile(rf"[^{SPECIAL}:=!<>~@.\-][^{SPECIAL}:=!<>~@.]*")
_OPERATOR = re.compile(r"!=|>=|<=|@>|[:=<>~]")
_BARE = re.compile(rf"[^{SPECIAL}]+")
_ENDS_WORD = re.compile(r"[\s(]|\Z")
_REST = re.compile(r"\S{1,40}")
_JSON = JSONDecoder()


class Value(NamedTuple):
    """A value as it was written: a bare or quoted text, or JSON; ``open`` when a ``*`` ends it."""

    at: int
    content: Any
    is_bare: bool = False
    is_json: bool = False
    is_open: bool = False


class Scanner:
    """Goes through a text from left to right; ``at`` counts its characters from 0."""

    def __init__(self, text: str) -> None:
        self.at = 0
        self._text = text

    def refusal(self, message: str, at: int | None = None) -> InvalidRequest:
        """Make the error of a place, which shows what stands there."""
        place = self.at if at is None else at
        found = _REST.match(self._text, place)
        there = quoted(found[0]) if found else "the end"
        return InvalidRequest.at(f"query[{place}]", f"at {there}: {message}")

    def skip_space(self) -> None:
        """Go on to the next word."""
        self._take(_SPACE)

    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.at == len(self._text)

    def next_is(self, character: str) -> bool:
        """Whether a character stands here."""
        return self._text.startswith(character, self.at)

    def skip(self, character: str) -> bool:
        """Take a character, if it stands here."""
        found = self.next_is(character)
        self.at += len(character) if found else 0
        return found

    def next_keyword(self) -> str | None:
        """Return the word that stands here by itself or before a parenthesis, in small letters."""
        found = _WORD.match(self._text, self.at)
        if found is None or not _ENDS_WORD.match(self._text, found.end()):
            return None
        return found[0].lower()

    def keyword(self, *words: str) -> str | None:
        """Take one of these words, if it stands here."""
        word = self.next_keyword()
        if word not in words:
            return None
        self._take(_WORD)
        return word

    def name(self) -> str:
        """Take a name, as it is or quoted."""
        if self.next_is('"'):
            return str(self._decoded())
        if (word := self._take(_WORD)) is None:
            raise self.refusal("a condition is FIELD:VALUE")
        return word

    def operator(self) -> str | None:
        """Take an operator, if one stands here."""
        return self._take(_OPERATOR)

    def values(self, *, json: bool) -> tuple[list[Value], bool]:
        """Take one value or several with commas between them, and tell whether there was a comma."""
        if self.skip(","):
            self._end_value()
            return [], True
        found = [self._value(json=json)]
        listed = False
        while self.skip(","):
            listed = True
            if self._at_end_of_value():
                break
            if len(found) == MAX_VALUES:
                raise self.refusal(f"the values from here on are beyond the limit of {MAX_VALUES}")
            found.append(self._value(json=json))
        self._end_value()
        return found, listed

    def _end_value(self) -> None:
        if not self._at_end_of_value():
            raise self.refusal("a value that holds this is quoted")

    def _value(self, *, json: bool) -> Value:
        at = self.at
        if self.next_is('"'):
            return Value(at, self._decoded(), is_open=self.skip("*"))
        if json and (self.next_is("[") or self.next_is("{")):
            return Value(at, self._decoded(), is_json=True)
        if (bare := self._take(_BARE)) is None:
            raise self.refusal('a value stands here; the empty one is written ""')
        return Value(at, bare.removesuffix("*"), is_bare=True, is_open=bare.endswith("*"))

    def _at_end_of_value(self) -> bool:
        behind = self._text[self.at : self.at + 1]
        return behind in ("", ")") or behind.isspace()

    def _decoded(self) -> Any:
        """Take JSON; its errors are placed where they are in the text."""
        try:
            _, end = _JSON.raw_decode(self._text, self.at)
            decoded = json_codec.decode(self._text[self.at : end])
        except JSONDecodeError as error:
            raise self.refusal(f"is no JSON: {error.msg}", min(error.pos, len(self._text))) from error
        except (ValueError, RecursionError) as error:
            raise self.refusal(f"is no JSON: {error}") from error
        self.at = end
        return decoded

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self._text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]
