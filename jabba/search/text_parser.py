"""Searches in text, such as ``status:FAILED type:audit_* -tasks(status:PROCESSED name~"a b")``, as conditions.

The text is read as what ``parse_search`` takes, with the place of every part, so that one set of rules checks both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jabba.errors import InvalidRequest
from jabba.jobs import json_codec
from jabba.search.language import (
    COLLECTIONS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_TEXT,
    Collection,
    Field,
    Kind,
    Rule,
    taken_for_group,
)
from jabba.search.scanner import Scanner, Value
from jabba.search.serialize import Written
from jabba.search.values import bounds_of_prefix, written

GROUPS = {"any": "or", "all": "and", "not": "not"}
"""``any(…)``, ``all(…)`` and ``not(…)``, and how the groups are called in conditions."""

KEYWORDS = frozenset({*GROUPS, "and", "or"})

Context = Collection | None
"""What the names in conditions belong to; None for the keys of JSON."""

_CONTAINS = "@>"
_ONE = {"=": Rule.EQUAL, ":": Rule.EQUAL, "!=": Rule.NOT_EQUAL}
_SEVERAL = {"=": Rule.IN, ":": Rule.IN, "!=": Rule.NOT_IN}
_SINGLE = {
    "<": Rule.LESS_THAN,
    "<=": Rule.LESS_THAN_OR_EQUAL,
    ">": Rule.GREATER_THAN,
    ">=": Rule.GREATER_THAN_OR_EQUAL,
    "~": Rule.LIKE,
}
OPERATORS = {rule: operator for some in (_ONE, _SEVERAL, _SINGLE) for operator, rule in some.items()}
OPERATORS[Rule.CONTAINS] = _CONTAINS
"""How each rule is written; EQUAL_ONE_OF is another name for IN."""


@dataclass(slots=True)
class _Node:
    """A condition and the places of its parts: of itself and its name, of its rule, of its value and what is in it."""

    name: str
    rule: str | None
    value: Any
    at: int
    rule_at: int
    value_at: int
    inner: list["_Node"] = field(default_factory=list)
    items_at: list[int] = field(default_factory=list)


class Places(dict[str, int]):
    """Where in a text the parts of its conditions stand, by their paths."""

    def of(self, path: str) -> str:
        """Return the place of what a path leads to, or of that which holds it."""
        while path not in self:
            cut = max(path.rfind("["), path.rfind("."))
            if cut < 0:
                return "query"
            path = path[:cut]
        return f"query[{self[path]}]"


def read_text(text: str, collection: Collection) -> tuple[list[Written], Places]:
    """Read a search in text as a filter, which is still to be checked, and the places of its parts.

    Raises:
        InvalidRequest: names the place of the mistake, such as ``query[17]``: it counts characters from 0.
    """
    if len(text) > MAX_TEXT:
        raise InvalidRequest.at("query", f"{len(text):,} characters, and the limit is {MAX_TEXT:,}")
    places = Places()
    return _listed(_Reader(text).all(collection), "filter", places), places


def _listed(nodes: list[_Node], path: str, places: Places) -> list[Written]:
    return [_written(node, f"{path}[{number}]", places) for number, node in enumerate(nodes)]


def _written(node: _Node, path: str, places: Places) -> Written:
    places |= {path: node.at, f"{path}[0]": node.at, f"{path}[1]": node.rule_at, f"{path}[2]": node.value_at}
    places |= {f"{path}[2][{number}]": at for number, at in enumerate(node.items_at)}
    return [node.name, node.rule, _listed(node.inner, f"{path}[2]", places) if node.rule is None else node.value]


class _Reader:
    """Reads conditions by recursive descent; no deeper than conditions may stand in one another."""

    def __init__(self, text: str) -> None:
        self._scanner = Scanner(text)
        self._number = 0

    def all(self, context: Context) -> list[_Node]:
        """Read the whole text."""
        found = self._conditions(context, 0)
        if not self._scanner.ended():
            raise self._scanner.refusal("nothing is open that this would close")
        return found

    def _conditions(self, context: Context, depth: int) -> list[_Node]:
        """Read conditions to the end of what holds them; with ``or`` between them they are one group."""
        at = self._scanner.at
        alternatives = [self._joined(context, depth)]
        while self._scanner.next_keyword() == "or":
            if not alternatives[-1]:
                raise self._scanner.refusal("a condition stands before or")
            self._scanner.keyword("or")
            alternatives.append(self._joined(context, depth))
        if len(alternatives) == 1:
            return alternatives[0]
        if not alternatives[-1]:
            raise self._scanner.refusal("a condition follows or")
        return [_group("or", at, [_one(some, at) for some in alternatives])]

    def _joined(self, context: Context, depth: int) -> list[_Node]:
        """Read conditions of which all hold, with or without ``and`` between them."""
        found: list[_Node] = []
        while not self._ends():
            found.append(self._condition(context, depth))
            self._scanner.skip_space()
            if self._scanner.keyword("and") and self._ends():
                raise self._scanner.refusal("a condition follows and")
        return found

    def _ends(self) -> bool:
        """Whether no condition follows that would be joined to those before."""
        self._scanner.skip_space()
        return self._scanner.ended() or self._scanner.next_is(")") or self._scanner.next_keyword() == "or"

    def _condition(self, context: Context, depth: int) -> _Node:
        scanner, at = self._scanner, self._scanner.at
        if depth > MAX_DEPTH:
            raise scanner.refusal(f"stands deeper than {MAX_DEPTH} conditions in one another")
        if scanner.skip("-"):
            return _group("not", at, [self._condition(context, depth + 1)])
        if scanner.next_is("("):
            return _one(self._enclosed(context, depth + 1, needed=True), at)
        if word := scanner.keyword(*GROUPS):
            return self._grouped(word, at, context, depth)
        if scanner.keyword("and"):
            raise scanner.refusal("a condition stands before and", at)
        return self._on_name(context, depth)

    def _grouped(self, word: str, at: int, context: Context, depth: int) -> _Node:
        if self._scanner.next_is("("):
            return _group(GROUPS[word], at, self._enclosed(context, depth + 1))
        self._scanner.skip_space()
        if word != "not" or self._ends():
            raise self._scanner.refusal(f"{word} is written {word}(…)", at)
        return _group("not", at, [self._condition(context, depth + 1)])

    def _enclosed(self, context: Context, depth: int, *, needed: bool = False) -> list[_Node]:
        """Read what stands in parentheses."""
        begin = self._scanner.at
        self._scanner.skip("(")
        found = self._conditions(context, depth)
        if not self._scanner.skip(")"):
            raise self._scanner.refusal("this is never closed", begin)
        if needed and not found:
            raise self._scanner.refusal("a condition stands in parentheses", begin)
        return found

    def _on_name(self, context: Context, depth: int) -> _Node:
        """Read a name, and what it is compared with or what stands below it."""
        scanner, at = self._scanner, self._scanner.at
        self._number += 1
        if self._number > MAX_CONDITIONS:
            raise scanner.refusal(f"the conditions from here on are beyond the limit of {MAX_CONDITIONS}")
        name = scanner.name()
        within = scanner.at
        if scanner.next_is("("):
            inner = self._enclosed(self._below(name, context, at), depth + 1)
        elif scanner.skip("."):
            if depth == MAX_DEPTH:
                raise scanner.refusal(f"stands deeper than {MAX_DEPTH} conditions in one another")
            inner = [self._on_name(self._below(name, context, at), depth + 1)]
        else:
            return self._comparison(name, at, context)
        return _Node(name, None, None, at, at, within, inner)

    def _below(self, name: str, context: Context, at: int) -> Context:
        """Return what stands below a name."""
        if mistaken := taken_for_group(name):
            raise self._scanner.refusal(mistaken, at)
        if context is None or name not in context.fields:
            return COLLECTIONS[context.related[name]] if context and name in context.related else None
        if context.fields[name].kind is not Kind.JSON:
            raise self._scanner.refusal(
                f"nothing stands below {name}, which holds {context.fields[name].kind.value}", at
            )
        return None

    def _comparison(self, name: str, at: int, context: Context) -> _Node:
        scanner, rule_at = self._scanner, self._scanner.at
        if (operator := scanner.operator()) is None:
            raise scanner.refusal("a condition is FIELD:VALUE", at)
        value_at = scanner.at
        one = context.fields.get(name) if context else None
        is_json = context is None or (one is not None and one.kind is Kind.JSON)
        values, listed = scanner.values(json=is_json and operator != "~")
        node = _Node(name, None, None, at, rule_at, value_at, items_at=[value.at for value in values])
        if any(value.is_open for value in values) and operator != "~":
            return self._open(node, operator, values, one if context else None)
        read = _text_of if operator == "~" else _json_of if is_json else _reader_of(one)
        return self._ruled(node, operator, [read(value) for value in values], listed=listed)

    def _ruled(self, node: _Node, operator: str, values: list[Any], *, listed: bool) -> _Node:
        if operator == _CONTAINS:
            node.rule, node.value = Rule.CONTAINS.value, values if listed else values[0]
        elif listed and operator in _SEVERAL:
            node.rule, node.value = _SEVERAL[operator].value, values
        elif listed:
            raise self._scanner.refusal(f"{operator} takes one value", node.value_at)
        else:
            node.rule, node.value = (_ONE | _SINGLE)[operator].value, values[0]
        return node

    def _open(self, node: _Node, operator: str, values: list[Value], of: Field | None) -> _Node:
        """Read ``prefix*`` as the texts from the prefix on and before what comes after it, and ``*`` as any value."""
        if len(values) > 1 or operator not in (":", "="):
            raise self._scanner.refusal("a * ends a value that stands alone, behind a colon", node.value_at)
        if values[0].content == "" and values[0].is_bare:
            node.rule = Rule.NOT_EQUAL.value
            return node
        if of is not None and (of.choices or of.kind not in (Kind.TEXT, Kind.JSON)):
            raise self._scanner.refusal(f"a * is for texts, and {of.name} holds others", node.value_at)
        bounds = bounds_of_prefix(values[0].content)
        nodes = [_Node(node.name, rule.value, bound, node.at, node.rule_at, node.value_at) for rule, bound in bounds]
        return _one(nodes, node.at)


def _one(nodes: list[_Node], at: int) -> _Node:
    return nodes[0] if len(nodes) == 1 else _group("and", at, nodes)


def _group(join: str, at: int, nodes: list[_Node]) -> _Node:
    return _Node(join, None, None, at, at, at, nodes)


def _text_of(value: Value) -> Any:
    return value.content + ("*" if value.is_open else "")


def _json_of(value: Value) -> Any:
    """Read a bare value as JSON if it is a JSON value, and as a text otherwise."""
    if not value.is_bare:
        return value.content
    try:
        return json_codec.decode(value.content)
    except ValueError:
        return value.content


def _reader_of(one: Field | None) -> Callable[[Value], Any]:
    """Return how the values of a field are read."""

    def read(value: Value) -> Any:
        if not value.is_bare:
            return value.content
        if value.content == "null":
            return None
        choices = {choice.upper(): str(choice) for choice in one.choices} if one is not None else {}
        return written(choices.get(value.content.upper(), value.content), one)

    return read
