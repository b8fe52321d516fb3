"""The language of searches as JSON Schema, made from the tables of ``jabba.search``."""

from collections.abc import Iterable, Iterator
from typing import Any

from jabba import search
from jabba.search import Collection, Field, Join, Kind, Rule

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "pattern": r"^[^\x00]*$"}
"""PostgreSQL stores no NUL."""

_TOKEN: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{24,}$"}

JSON_VALUE: Schema = {
    "description": "Any JSON value; its texts hold no NUL character.",
    "anyOf": [
        {"type": ["null", "boolean", "number"]},
        TEXT,
        {"type": "array", "items": {"$ref": "#/components/schemas/JsonValue"}},
        {
            "type": "object",
            "additionalProperties": {"$ref": "#/components/schemas/JsonValue"},
            "propertyNames": TEXT,
        },
    ],
}

_KINDS: dict[Kind, Schema] = {
    Kind.ID: {"type": "string", "format": "uuid"},
    Kind.TEXT: TEXT,
    Kind.INTEGER: {"type": "integer"},
    Kind.MOMENT: {"type": "string", "format": "date-time"},
}
_EQUAL = (Rule.EQUAL, Rule.NOT_EQUAL)
_ABOUT = """\
A search: the {} that meet every condition.

A condition is `[field, rule, value]`. With null as its rule it holds others: below a JSON field, on what belongs to a
job or task, or joined by `and`, `or` and `not`. The cursor is offset and limit, or what the answer before had as
`next`, alone or with another limit. With `count`, the answer tells how many there are on all pages."""

_QUERY = """\
Conditions as a text, which hold beside those of `filter`: `status:FAILED -type:audit_* meta.order>17 name~part
tasks(status:RESCUED name:x) (name:a or name:"b c")`. A mistake is named by its place, such as `query[17]`."""


def search_of(collection: Collection) -> str:
    """Return the name under which the form of a search stands among the components."""
    return f"Search{collection.name.capitalize()}"


def components() -> dict[str, Schema]:
    """Return the forms of all searches, with what they refer to."""
    forms = {"JsonValue": JSON_VALUE, "ConditionInJson": {"anyOf": [*_in_json(TEXT), _nested(TEXT, "ConditionInJson")]}}
    for collection in (search.JOBS, search.TASKS):
        forms[_condition_on(collection.name)] = {"anyOf": list(_conditions_on(collection))}
        forms[search_of(collection)] = _search(collection)
    return forms


def value_of(field: Field) -> Schema:
    """Return what a field holds."""
    return {"enum": list(field.choices)} if field.choices else _KINDS[field.kind]


def _conditions_on(collection: Collection) -> Iterator[Schema]:
    for field in collection.fields.values():
        yield from _conditions_of(field)
    yield _nested({"enum": list(Join)}, _condition_on(collection.name))
    for name, other in collection.related.items():
        yield _nested({"const": name}, _condition_on(other))


def _conditions_of(field: Field) -> Iterator[Schema]:
    name = {"const": field.name}
    if field.kind is Kind.JSON:
        yield from _in_json(name)
        yield _nested(name, "ConditionInJson")
        return
    held = value_of(field)
    or_null = {"anyOf": [held, {"type": "null"}]}
    yield _condition(name, _EQUAL, or_null)
    yield _condition(name, search.ONE_OF, _few(or_null))
    yield _condition(name, search.ORDERED, held)
    if field.kind is Kind.TEXT:
        yield _condition(name, [Rule.LIKE], TEXT)


def _in_json(name: Schema) -> Iterator[Schema]:
    anything = {"$ref": "#/components/schemas/JsonValue"}
    yield _condition(name, (*_EQUAL, Rule.CONTAINS), anything)
    yield _condition(name, search.ONE_OF, _few(anything))
    yield _condition(name, search.ORDERED, {"anyOf": [{"type": "number"}, TEXT]})
    yield _condition(name, [Rule.LIKE], TEXT)


def _search(collection: Collection) -> Schema:
    fields = [*collection.fields, "started_at"]
    order = _exactly({"enum": ["asc", "desc"]}, {"enum": fields})
    limit: Schema = {"type": "integer", "minimum": 1, "maximum": search.MAX_LIMIT}
    offset: Schema = {"type": "integer", "minimum": 0, "maximum": search.MAX_OFFSET}
    cursor: Schema = {"anyOf": [_exactly({"anyOf": [offset, _TOKEN]}, limit), _TOKEN]}
    return {
        "type": "object",
        "description": _ABOUT.format(collection.name),
        "properties": {
            "filter": _or_null(_list_of(_reference(_condition_on(collection.name)), search.MAX_CONDITIONS)),
            "query": _or_null(TEXT | {"maxLength": search.MAX_TEXT, "description": _QUERY}),
            "order_by": _or_null(_list_of(order, len(collection.fields))),
            "cursor": _or_null(cursor),
            "count": {"type": ["boolean", "null"]},
        },
        "additionalProperties": False,
    }


def _condition(name: Schema, rules: Iterable[Rule], value: Schema) -> Schema:
    return _exactly(name, {"enum": sorted(rules)}, value)


def _nested(name: Schema, condition: str) -> Schema:
    return _exactly(name, {"type": "null"}, _list_of(_reference(condition), search.MAX_CONDITIONS))


def _exactly(*items: Schema) -> Schema:
    return {"type": "array", "prefixItems": list(items), "minItems": len(items), "maxItems": len(items)}


def _few(item: Schema) -> Schema:
    return _list_of(item, search.MAX_VALUES)


def _list_of(item: Schema, most: int) -> Schema:
    return {"type": "array", "items": item, "maxItems": most}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _condition_on(name: str) -> str:
    return f"ConditionOn{name.capitalize()}"
