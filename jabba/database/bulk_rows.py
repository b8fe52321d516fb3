"""Rows on their way to PostgreSQL.

They travel as one JSON list of lists, which PostgreSQL takes apart faster than anything else that asynchronous psycopg2
can send (``unnest`` of arrays takes a third longer, ``jsonb_to_recordset`` a half).
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Column, ColumnElement, DateTime, Double, Text, bindparam, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import CTE

_LARGE_FLOAT = re.compile(r"(?<=[\[:,])-?[0-9.]+e\+[0-9]+(?=[,\]}])")
_STRING_OR_LARGE_FLOAT = re.compile(r'"(?:[^"\\]|\\.)*+"|-?[0-9.]+e\+[0-9]+')


def encoded(rows: list[list[Any]]) -> str:
    """Write rows as they travel.

    PostgreSQL's jsonb forgets that ``1e+23`` was written with an exponent, and gives back an integer, read
    as another number by Python. What is written with a fraction, it gives back with a fraction.
    """
    text = to_json(rows, inf_nan_mode="constants").decode()
    # Texts are rarely the only place for it, and need not be looked through otherwise.
    return _STRING_OR_LARGE_FLOAT.sub(_with_fraction, text) if _LARGE_FLOAT.search(text) else text


def _with_fraction(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else f"{Decimal(found[0]):f}.0"


def incoming_rows(parameter: str, columns: Iterable[Column[Any]]) -> CTE:
    """Take a JSON list of lists apart into columns of these names and types."""
    row = func.jsonb_array_elements(cast(bindparam(parameter, type_=Text), JSONB)).column_valued("row")
    return select(*(_field(row, number, column) for number, column in enumerate(columns))).cte(f"incoming_{parameter}")


def _field(row: ColumnElement[Any], number: int, column: Column[Any]) -> ColumnElement[Any]:
    place: ColumnElement[Any] = literal_column(str(number))
    if isinstance(column.type, JSONB):
        value: ColumnElement[Any] = func.nullif(row.op("->")(place), literal_column("'null'::jsonb"))
    elif isinstance(column.type, DateTime):
        value = func.to_timestamp(cast(row.op("->>")(place), Double) / literal_column("1000", Double))
    else:
        value = cast(row.op("->>")(place), column.type)
    return value.label(column.name)
