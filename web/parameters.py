"""The parameters that several routes share, as the documentation tells them."""

from typing import Annotated

from pydantic import Field

from jabba.search import DEFAULT_LIMIT, MAX_LIMIT, Collection, Kind
from web.operations import Parameter
from web.requests import MAX_WAIT_SECONDS
from web.schemas import CursorText, Limit, Offset, PositionText, Text

AFTER = Parameter(
    "after", PositionText, "The position that a submission was answered with: PostgreSQL then has all of it.", "0:0"
)
WAIT = Parameter(
    "wait",
    Annotated[int, Field(ge=0, le=MAX_WAIT_SECONDS)],
    "Answer as soon as the job has ended, or after so many seconds.",
    "30",
)
CURSOR = Parameter(
    "cursor",
    CursorText,
    "Offset and limit, instead of the two parameters; or what the answer before had as `next`.",
    "0,50",
)
OFFSET = Parameter("offset", Offset, "How many to pass over.", "0")
COUNT = Parameter("count", bool, "Tell how many there are on all pages.", "true")
QUERY = Parameter(
    "q",
    Text,
    "Conditions as a text, as in the `query` of a search.",
    "status:FAILED type:audit_*",
    repeated=True,
)
FILTER = Parameter(
    "filter", Text, "Conditions as JSON: the `filter` of a search.", '[["status", "in", ["FAILED", "RESCUED"]]]'
)
LIMIT = Parameter("limit", Limit, f"How many to answer: {DEFAULT_LIMIT}, at most {MAX_LIMIT}.", "50")


def of_fields(collection: Collection) -> list[Parameter]:
    """Return a parameter for each field that can be compared with a text."""
    return [
        Parameter(field.name, field, "This very value.", repeated=True)
        for field in collection.fields.values()
        if field.kind is not Kind.JSON
    ]
