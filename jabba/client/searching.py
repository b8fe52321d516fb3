"""Searches over HTTP: one page, or all of them one after the other."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_json

from jabba.client.answers import Form
from jabba.client.connection import Connection
from jabba.client.forms import Cursor, Filter, Order, listed
from jabba.jobs import json_codec
from jabba.jobs.models import Job, Task
from jabba.jobs.pages import Count, Page

Item = TypeVar("Item")


class Listing(Generic[Item]):
    """What can be searched: where that is asked, and what the answers hold."""

    def __init__(self, path: str, items: TypeAdapter[list[Item]]) -> None:
        self._path = path
        self._items = items
        self.form = Form('{"data": […], "next": …}', self._read)

    async def page(
        self,
        connection: Connection,
        conditions: Filter,
        order_by: Order,
        cursor: Cursor,
        *,
        count: bool = False,
    ) -> Page[Item]:
        """Return one page of a search."""
        document = {**_conditions(conditions), "cursor": cursor}
        document |= {"order_by": list(order_by)} if order_by else {}
        document |= {"count": True} if count else {}
        return await connection.post(self._path, json_codec.encode(document), self.form)

    async def pages(
        self, connection: Connection, conditions: Filter, order_by: Order, limit: int
    ) -> AsyncGenerator[Page[Item]]:
        """Return the pages of a search, each of ``limit`` items."""
        page = await self.page(connection, conditions, order_by, (0, limit))
        yield page
        while page.next:
            page = await self.page(connection, conditions, order_by, page.next)
            yield page

    async def items(
        self, connection: Connection, conditions: Filter, order_by: Order, limit: int
    ) -> AsyncGenerator[Item]:
        """Return what a search finds, one by one; each page that is asked for has ``limit`` items."""
        async with aclosing(self.pages(connection, conditions, order_by, limit)) as pages:
            async for page in pages:
                for item in page:
                    yield item

    def _read(self, answer: Mapping[str, Any]) -> Page[Item]:
        count = answer.get("count")
        total = None if count is None else Count.model_validate(count)
        return Page(self._items.validate_python(answer["data"]), next=answer.get("next"), total=total)


JOBS = Listing("/v1/jobs/search", TypeAdapter(list[Job]))
TASKS = Listing("/v1/tasks/search", TypeAdapter(list[Task]))


def parameters(conditions: Filter, cursor: Cursor, *, count: bool) -> dict[str, str]:
    """Write a search as the parameters of a list."""
    asked = {"cursor": cursor if isinstance(cursor, str) else ",".join(map(str, cursor))}
    if isinstance(conditions, str):
        asked |= {"q": conditions} if conditions else {}
    elif conditions:
        asked["filter"] = to_json(_conditions(conditions)["filter"]).decode()
    return asked | ({"count": "true"} if count else {})


def _conditions(given: Filter) -> dict[str, Any]:
    """Return the part of a search that says which items."""
    if isinstance(given, str):
        return {"query": given}
    return {"filter": listed(given)}
