"""From a checked search to SQL. Every value is bound; nothing of a request becomes part of a statement's text.

A condition may come out as NULL where something is missing, which a WHERE takes for false; what is negated is made
false first. So a condition either holds or does not, as in Python.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeGuard
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    Uuid,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import FromClause

from jabba.database.containment import documents
from jabba.database.keyset import behind, direction_of
from jabba.database.schema import jobs, tasks
from jabba.database.trigrams import SHORTEST, trigrams, trigrams_of_part
from jabba.database.weeks import Week
from jabba.jobs import json_codec
from jabba.jobs.lifecycle import UNSUCCESSFUL, JobStatus
from jabba.search import (
    ONE_OF,
    Below,
    Comparison,
    Condition,
    Group,
    Inside,
    Join,
    Kind,
    Member,
    Order,
    Related,
    Rule,
    Search,
)

Boolean = ColumnElement[bool]
Json = ColumnElement[Any]
Part = Callable[[Condition], Boolean]

_MOST_JOINED = 6
"""With more tables than these to be joined, to find the best plan takes PostgreSQL longer than any of them would."""


KEY = "key_{}"
"""Under these names stand the values of the keys that an item is ordered by; JSON as its text."""


def compile_search(search: Search, table: FromClause, answered: list[ColumnElement[Any]]) -> Select[Any]:
    """Make the statement that answers a search with these columns, in an order that never has two ways.

    It asks for one item more than the page holds, to know whether there is another page.
    """
    keys = [_key_as_text(key, table).label(KEY.format(number)) for number, key in enumerate(search.keys)]
    found = select(*answered, *keys).where(*_conditions(search, table))
    if search.after is not None:
        found = found.where(behind(search.keys, search.after, table))
    ordered = found.order_by(*(direction_of(key, table) for key in search.keys))
    return ordered.offset(search.offset or None).limit(search.limit + 1)


def compile_matches(search: Search, table: FromClause) -> Select[Any]:
    """Make the statement that answers a row for every item of a search, on all of its pages."""
    return select(literal(1)).select_from(table).where(*_conditions(search, table))


def _key_as_text(key: Order, table: FromClause) -> ColumnElement[Any]:
    column = table.c[key.field.name]
    return cast(column, Text) if key.field.kind is Kind.JSON else column


def _conditions(search: Search, table: FromClause) -> Iterator[Boolean]:
    return _all_on_row((*search.conditions, *search.within), table, among=True)


def _all_on_row(conditions: Iterable[Condition], table: FromClause, *, among: bool = False) -> Iterator[Boolean]:
    """Compile conditions that hold together; of many on what belongs to a row, the first are joined."""
    joined = 0
    for one in conditions:
        compiled = _among(one, table) if among and _is_list_of_ids(one) else _on_row(one, table)
        joined += _joins(one)
        yield compiled.is_(true()) if _joins(one) and joined > _MOST_JOINED else compiled


def _joins(condition: Condition) -> int:
    """Return how many tables PostgreSQL would join for a condition beside others."""
    if isinstance(condition, Group):
        return sum(map(_joins, condition.conditions)) if condition.join is Join.AND else 0
    return int(isinstance(condition, Related))


def _is_list_of_ids(condition: Condition) -> TypeGuard[Comparison]:
    return isinstance(condition, Comparison) and condition.field.name == "id" and condition.rule in _LISTED


def _among(condition: Comparison, table: FromClause) -> Boolean:
    """Look up the ids of a list one by one, where that is all that is asked.

    Of a list PostgreSQL expects all in each partition, and would rather walk through everything in the order asked for.
    """
    ids = literal([str(one) for one in condition.value if one is not None], ARRAY(Text))
    listed = table.c.id.in_(select(func.unnest(cast(ids, ARRAY(Uuid)))))
    return and_(listed, *_weeks(condition, table))


def _on_row(condition: Condition, table: FromClause) -> Boolean:
    """Compile a condition on a row of a table."""
    match condition:
        case Comparison():
            compared = _comparison(table.c[condition.field.name], condition)
            return and_(compared, *_weeks(condition, table), *_open(condition, table))
        case Inside():
            return _map(table.c[condition.field.name], condition.conditions)
        case Related():
            return _related(table, condition)
        case Group():
            return _joined(condition, lambda one: _on_row(one, table))
    raise TypeError(f"{condition} is on no row")


def _weeks(condition: Comparison, table: FromClause) -> list[Boolean]:
    """Say what ids of tasks tell of their jobs': only the partitions of their weeks are read."""
    wanted = _wanted(condition)
    if condition.field.name != "id" or "job_id" not in table.c or not wanted or None in wanted:
        return []
    first, last = Week.of(min(wanted)).first_id, Week.of(max(wanted)).last_id
    return [table.c.job_id.between(_bound(first), _bound(last))]


def _open(condition: Comparison, table: FromClause) -> list[Boolean]:
    """Say what PENDING tells of a job: it has not ended, and an index has those."""
    pending = condition.field.name == "status" and set(_wanted(condition)) == {JobStatus.PENDING}
    return [table.c.ended_at.is_(None)] if pending and "strategy" in table.c else []


def _wanted(condition: Comparison) -> list[Any]:
    """Return the values of which a field must have one; none where it may have others."""
    if condition.rule is Rule.EQUAL:
        return [condition.value]
    return list(condition.value) if condition.rule in _LISTED else []


def _joined(group: Group, part: Part) -> Boolean:
    compiled = [part(condition) for condition in group.conditions]
    if group.join is Join.OR:
        return or_(false(), *compiled)
    return _all(compiled) if group.join is Join.AND else _negated(_all(compiled))


def _all(conditions: Sequence[Boolean]) -> Boolean:
    return and_(true(), *conditions)


def _negated(condition: Boolean) -> Boolean:
    return not_(func.coalesce(condition, false()))


def _related(table: FromClause, condition: Related) -> Boolean:
    """Ask for a row of the other table; it is never a stub, and under a name of its own since it may come twice."""
    if condition.collection == "tasks":
        other: FromClause = tasks.alias()
        belongs, shown = other.c.job_id == table.c.id, other.c.callback.is_not(None)
    else:
        other = jobs.alias()
        belongs, shown = other.c.id == table.c.job_id, other.c.meta.is_not(None)
    conditions = _all_on_row(condition.conditions, other)
    found = exists(select(literal(1)).select_from(other).where(belongs, shown, *conditions).correlate_except(other))
    if condition.collection == "tasks" and any(map(_is_unsuccessful, condition.conditions)):
        # The job has counted them: whoever has none need not be asked.
        return and_(table.c.unsuccessful > 0, found)
    return found


def _is_unsuccessful(condition: Condition) -> bool:
    """Whether a condition is met only by tasks that ended without success."""
    if not isinstance(condition, Comparison) or condition.field.name != "status":
        return False
    wanted = _wanted(condition)
    return bool(wanted) and set(wanted) <= UNSUCCESSFUL


def _comparison(column: ColumnElement[Any], condition: Comparison) -> Boolean:
    rule, value, kind = condition.rule, condition.value, condition.field.kind
    if rule in _OPPOSITES:
        return _negated(_comparison(column, replace(condition, rule=_OPPOSITES[rule])))
    if rule is Rule.EQUAL:
        return _equal(column, value, kind)
    if rule in ONE_OF:
        return _one_of(column, value, kind)
    if kind is Kind.JSON:
        return _json_rule(column, rule, value)
    if rule is Rule.LIKE:
        return _like(column, value)
    return _compare(rule, column.collate("C") if kind is Kind.TEXT else column, _bound(value))


def _like(column: ColumnElement[Any], part: str) -> Boolean:
    """Look for a part of a text; of jobs' names the index says which may have it.

    The planner takes two conditions for independent, and what is common for rare: it knows nothing of what stands in a
    function, and so counts the one of the index alone.
    """
    # As the database lowers letters, whatever the column is ordered by.
    like = column.collate("default").ilike(literal(_pattern(part), Text))
    if not column.shares_lineage(jobs.c.name) or len(part) < SHORTEST:
        return like
    return and_(func.coalesce(like, false()), trigrams(column).contains(trigrams_of_part(part)))


_OPPOSITES = {Rule.NOT_EQUAL: Rule.EQUAL, Rule.NOT_IN: Rule.IN}
_LISTED = ONE_OF - _OPPOSITES.keys()


def _equal(column: ColumnElement[Any], value: Any, kind: Kind) -> Boolean:
    if value is None:
        return column.is_(None)
    return column == (_json(value) if kind is Kind.JSON else _bound(value))


def _one_of(column: ColumnElement[Any], values: Sequence[Any], kind: Kind) -> Boolean:
    bound = [_json(value) if kind is Kind.JSON else _bound(value) for value in values if value is not None]
    one_of = column.in_(bound) if bound else false()
    return or_(one_of, column.is_(None)) if None in values else one_of


def _compare(rule: Rule, left: ColumnElement[Any], right: ColumnElement[Any]) -> Boolean:
    compared: Boolean = _COMPARISONS[rule](left, right)
    return compared


_COMPARISONS: dict[Rule, Callable[[Any, Any], Any]] = {
    Rule.LESS_THAN: operator.lt,
    Rule.LESS_THAN_OR_EQUAL: operator.le,
    Rule.GREATER_THAN: operator.gt,
    Rule.GREATER_THAN_OR_EQUAL: operator.ge,
}


def _map(document: Json, conditions: tuple[Condition, ...]) -> Boolean:
    """Ask of a JSON value to be a map that meets all conditions; what containment says of them has an index."""
    said = [one for one in conditions if documents([one])]
    contained = documents(said) if said or not conditions else None
    if contained is None:
        return and_(func.jsonb_typeof(document) == "object", *(_on_map(one, document) for one in conditions))
    contains = or_(*(_contains(document, one) for one in contained))
    return and_(contains, *(_on_map(one, document) for one in conditions if not documents([one])))


def _on_map(condition: Condition, document: Json) -> Boolean:
    """Compile a condition on what is a map in JSON."""
    match condition:
        case Member():
            return _member(document, condition)
        case Below():
            return _below(document, condition)
        case Group():
            return _joined(condition, lambda one: _on_map(one, document))
    raise TypeError(f"{condition} is on no map")


def _below(document: Json, condition: Below) -> Boolean:
    """Look at the map under a key, or at each item of the list there."""
    value = _under(document, condition.key)
    as_list = case(
        (func.jsonb_typeof(value) == "array", value),
        else_=func.jsonb_build_array(value),
    )
    item = func.jsonb_array_elements(as_list, type_=JSONB).column_valued()
    items = item.scalar_alias
    return exists(select(literal(1)).select_from(items).where(_map(item, condition.conditions)).correlate_except(items))


def _member(document: Json, condition: Member) -> Boolean:
    key, rule, value = condition.key, condition.rule, condition.value
    if rule is Rule.NOT_EQUAL and value is None:
        return func.jsonb_typeof(_under(document, key)) != "null"
    if rule in _OPPOSITES:
        return _negated(_member(document, replace(condition, rule=_OPPOSITES[rule])))
    if rule is Rule.EQUAL:
        return _member_equals(document, key, value)
    if rule in ONE_OF:
        return or_(false(), *(_member_equals(document, key, one) for one in value))
    if rule is Rule.CONTAINS:
        return _contains(document, {key: _as_list(value)})
    return _json_rule(_under(document, key), rule, value)


def _member_equals(document: Json, key: str, value: Any) -> Boolean:
    """Use the index, which knows what a document contains; of a list or map that means a part, so compare it too."""
    contains = _contains(document, {key: value})
    if not isinstance(value, dict | list | tuple):
        return contains
    return and_(contains, _under(document, key) == _json(value))


def _json_rule(value: Json, rule: Rule, wanted: Any) -> Boolean:
    """Compare what stands in JSON; numbers only with numbers, texts only with texts."""
    if rule is Rule.CONTAINS:
        return _contains(value, _as_list(wanted))
    text = value.op("#>>", return_type=Text())(cast(literal("{}", Text), ARRAY(Text)))
    if rule is Rule.LIKE:
        return and_(func.jsonb_typeof(value) == "string", text.ilike(literal(_pattern(wanted), Text)))
    if isinstance(wanted, str):
        return and_(func.jsonb_typeof(value) == "string", _compare(rule, text.collate("C"), _bound(wanted)))
    return and_(func.jsonb_typeof(value) == "number", _compare(rule, value, _json(wanted)))


def _under(document: Json, key: str) -> Json:
    return document.op("->", return_type=JSONB())(cast(literal(key, Text), Text))


def _contains(document: Json, part: Any) -> Boolean:
    return document.op("@>", is_comparison=True)(_json(part))


def _as_list(value: Any) -> list[Any]:
    """Return what a list must hold: each of several values, or the one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _pattern(text: str) -> str:
    """Write a text as a pattern in which nothing stands for anything else, found anywhere."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _json(value: Any) -> Json:
    return cast(literal(json_codec.encode(value).decode(), Text), JSONB)


def _bound(value: Any) -> ColumnElement[Any]:
    """Bind a value as psycopg2 takes it; PostgreSQL reads ids and statuses from their text."""
    return literal(str(value) if isinstance(value, str | UUID) else value, Text)
