"""Random searches, as they are sent."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from jabba.search import JOBS, TASKS, Collection, Kind

KEYS = ["a", "b", "c\"'d", "%", "or", "any", "-e", "f.g", ""]
SCALARS: list[Any] = [None, True, False, 0, 1, 1.5, -(2**70), "", "a", "A%", "1", "b_\\", "null", "a*", "é (x),y"]
DOCUMENTS = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=6,
)
GROUPS = ["and", "or", "not"]
LISTING = ["in", "not_in", "equal_one_of"]
ORDERED = ["less_than", "less_than_or_equal", "greater_than", "greater_than_or_equal"]

Held = Callable[[Collection, str], Sequence[Any]]
"""The values that a field of a collection may be compared with."""


@st.composite
def json_conditions(draw: st.DrawFn, depth: int = 2) -> list[Any]:
    """Conditions on a map in JSON."""
    sort = draw(st.sampled_from(["rule", "rule", "rule", "below", "group"] if depth else ["rule"]))
    inner = st.lists(json_conditions(depth - 1), max_size=2) if depth else st.nothing()
    if sort == "below":
        return [draw(st.sampled_from([key for key in KEYS if key not in GROUPS])), None, draw(inner)]
    if sort == "group":
        return [draw(st.sampled_from(GROUPS)), None, draw(inner)]
    rule = draw(st.sampled_from(["equal", "equal", "not_equal", *LISTING, "contains", "like", *ORDERED]))
    values: Any = DOCUMENTS
    if rule in LISTING:
        values = st.lists(DOCUMENTS, max_size=3)
    elif rule == "like":
        values = st.sampled_from(["", "a", "%", "_", "\\"])
    elif rule in ORDERED:
        values = st.sampled_from([0, 1, 1.2, -(2**70), "", "a", "B", "=", "12"])
    return [draw(st.sampled_from(KEYS)), rule, draw(values)]


@st.composite
def row_conditions(draw: st.DrawFn, collection: Collection, held: Held, depth: int = 2) -> list[Any]:
    """Conditions on the items of a collection."""
    sort = draw(st.sampled_from(["field", "field", "field", "json", "group", "related"] if depth else ["field"]))
    if sort == "json":
        field = draw(st.sampled_from(["meta", "meta", "callback" if collection is JOBS else "result"]))
        return [field, None, draw(st.lists(json_conditions(), max_size=2))]
    if sort == "group":
        inner = st.lists(row_conditions(collection, held, depth - 1), max_size=3)
        return [draw(st.sampled_from(GROUPS)), None, draw(inner)]
    if sort == "related":
        name, other = ("tasks", TASKS) if collection is JOBS else ("job", JOBS)
        return [name, None, draw(st.lists(row_conditions(other, held, depth - 1), max_size=2))]
    return draw(field_conditions(collection, held))


@st.composite
def parts_of_texts(draw: st.DrawFn, texts: Sequence[str]) -> str:
    """Parts of texts, of every length, in their letters or in small ones, and some that are special."""
    if not texts or draw(st.booleans()):
        return draw(st.sampled_from(["", "a", "b", "B", "%", "_", "\\", "PEND", "b_", "c_b", "B%C", "abc"]))
    text = str(draw(st.sampled_from(texts)))
    first = draw(st.integers(0, max(0, len(text) - 1)))
    part = text[first : first + draw(st.integers(1, 6) | st.just(len(text)))]
    return part.lower() if draw(st.booleans()) else part


@st.composite
def field_conditions(draw: st.DrawFn, collection: Collection, held: Held) -> list[Any]:
    """Comparisons of a field with what it may hold."""
    field = draw(st.sampled_from([one for one in collection.fields.values() if one.kind is not Kind.JSON]))
    there = [value for value in dict.fromkeys(held(collection, field.name)) if value is not None]
    rules = ["equal", "not_equal", *LISTING]
    rules += ORDERED if there else []
    rules += ["like"] if field.kind is Kind.TEXT else []
    rule = draw(st.sampled_from(rules))
    if rule == "like":
        return [field.name, rule, draw(parts_of_texts(there))]
    values = st.sampled_from(there if rule in ORDERED else [None, *there])
    value = draw(st.lists(values, max_size=4)) if rule in LISTING else draw(values)
    return [field.name, rule, value]


@st.composite
def searches(draw: st.DrawFn, collection: Collection, held: Held) -> dict[str, Any]:
    """Searches with a filter, an order of any fields, and a page."""
    keys = st.tuples(st.sampled_from(["asc", "desc"]), st.sampled_from(list(collection.fields)))
    return {
        "filter": draw(st.lists(row_conditions(collection, held), max_size=3)),
        "order_by": draw(st.lists(keys, max_size=3)),
        "cursor": (draw(st.integers(0, 3)), draw(st.integers(1, 1000))),
    }
