"""Conditions as text, which is read back as the same conditions."""

import re
from collections.abc import Iterable
from typing import Any

from jabba.jobs import json_codec
from jabba.search.language import COLLECTIONS, ONE_OF, Collection, Condition, Kind, Rule
from jabba.search.scanner import SPECIAL
from jabba.search.serialize import Written, write_conditions
from jabba.search.text_parser import GROUPS, KEYWORDS, OPERATORS, Context

_PLAIN_NAME = re.compile(rf"[^{SPECIAL}:=!<>~@.\-][^{SPECIAL}:=!<>~@.]*")
_PLAIN_VALUE = re.compile(rf"(?!null$)[^{SPECIAL}=<>~*\[{{][^{SPECIAL}]*(?<!\*)")
_NAMES = {join: name for name, join in GROUPS.items()}


def write_text(conditions: Iterable[Condition], collection: Collection) -> str:
    """Write conditions on the items of a collection; ``equal_one_of`` becomes ``in``, which says the same."""
    return _row(write_conditions(conditions, collection), collection)


def _row(conditions: list[Written], context: Context) -> str:
    return " ".join(_condition(one, context) for one in conditions)


def _condition(condition: Written, context: Context) -> str:
    name, rule, value = condition
    if rule is not None:
        return f"{_name(name)}{_compared(Rule(rule), value, is_json=_is_json(name, context))}"
    if name in _NAMES:
        return _group(name, value, context)
    inner = _below(name, context)
    if len(value) == 1 and (value[0][1] is not None or value[0][0] not in _NAMES):
        return f"{_name(name)}.{_condition(value[0], inner)}"
    return f"{_name(name)}({_row(value, inner)})"


def _group(join: str, conditions: list[Written], context: Context) -> str:
    if join == "not" and len(conditions) == 1:
        return f"-{_condition(conditions[0], context)}"
    if join == "not" or len(conditions) < 2:  # noqa: PLR2004 — a word between two
        return f"{_NAMES[join]}({_row(conditions, context)})"
    between = " or " if join == "or" else " "
    return f"({between.join(_condition(one, context) for one in conditions)})"


def _below(name: str, context: Context) -> Context:
    return COLLECTIONS[context.related[name]] if context and name in context.related else None


def _is_json(name: str, context: Context) -> bool:
    return context is None or context.fields[name].kind is Kind.JSON


def _name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return _json(name)


def _compared(rule: Rule, value: Any, *, is_json: bool) -> str:
    operator = OPERATORS[Rule.IN if rule is Rule.EQUAL_ONE_OF else rule]
    if rule not in ONE_OF and not (rule is Rule.CONTAINS and isinstance(value, list)):
        return f"{operator}{_value(value, is_json=is_json)}"
    values = ",".join(_value(one, is_json=is_json) for one in value)
    return f"{operator}{values}" + ("," if len(value) < 2 else "")  # noqa: PLR2004 — one with a comma is a list, too


def _value(value: Any, *, is_json: bool) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        plain = _PLAIN_VALUE.fullmatch(value) and not (is_json and _reads_as_json(value))
        return value if plain else _json(value)
    if isinstance(value, bool | int | float | dict | list | tuple):
        return _json(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _reads_as_json(value: str) -> bool:
    try:
        json_codec.decode(value)
    except ValueError:
        return False
    return True


def _json(value: Any) -> str:
    return json_codec.encode(value).decode()
