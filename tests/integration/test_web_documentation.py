"""What the documentation says of the interface, against the interface itself."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
import schemathesis
from aiohttp import ClientSession
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as given_settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from jabba.jobs import ids
from jabba.jobs.models import Job
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.http import post, serving
from tests.support.keys import AUTHORIZATION, KEY
from web import openapi, sessions
from web.backends import Backends
from web.operations import EVENT_STREAM, JSON, NDJSON, operations_of
from web.routes import VIEWS

EXAMPLES = 15
"""Requests of each kind to each route."""

STREAM = "/v1/events"
BULK = "/v1/jobs/bulk"


@schemathesis.serializer(NDJSON)
def as_line(_: object, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 1.0}


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[ClientSession]:
    projector = Projector(settings)
    await projector.start()
    async with serving(settings) as session:
        yield session
    await projector.stop()


@pytest.fixture
async def document(http: ClientSession) -> dict[str, Any]:
    async with http.get("/openapi.json") as response:
        assert (response.status, response.content_type) == (200, JSON)
        found: dict[str, Any] = await response.json()
        return found


async def test_the_document_and_the_page_are_served(http: ClientSession, document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    async with http.get("/docs") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "/v1/jobs/{id}/tasks" in await response.text()


async def test_every_example_works_and_is_answered_as_the_schema_says(
    http: ClientSession, document: dict[str, Any]
) -> None:
    _, job = await post(http, "/v1/jobs", {"type": "shipping", "tasks": ["local", "shop", "ship"]})
    for view in VIEWS:
        route = openapi.path_of(view)
        path = route.replace("{id}", str(ids.task_id(UUID(job["id"]), 0)) if "/tasks/" in route else job["id"])
        for method, operation in operations_of(view).items():
            described = document["paths"][openapi.path_of(view)][method.lower()]
            # The example has no key that is worth something.
            body: Any = {"key": KEY} if view is sessions.Session and method == "POST" else operation.example.body
            body = json.dumps(body) if operation.body_content == JSON and body is not None else body
            async with http.request(method, path, params=operation.example.query, data=body) as response:
                assert (response.status, response.content_type) == (operation.status, operation.content), path
                if operation.content == JSON:
                    content = described["responses"][str(operation.status)]["content"][JSON]
                    schema = content["schema"] | {"components": document["components"]}
                    jsonschema_rs.validate(schema, json.loads(await response.read()))
                elif operation.content == NDJSON:
                    schema = described["responses"]["200"]["x-item"] | {"components": document["components"]}
                    results = [json.loads(line) async for line in response.content]
                    assert len(results) == len(body.splitlines())
                    for one in results:
                        assert "data" in one
                        jsonschema_rs.validate(schema, one)
                elif operation.content == EVENT_STREAM:
                    assert (await response.content.readany()).startswith(b"retry: ")


# The service runs in this process too, and its libraries roll dice of their own.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
async def test_no_request_gets_what_the_document_does_not_say(
    settings: Settings, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that the document allows, and requests that it does not: no 5xx, and every answer as described."""

    async def at_once(*_: object) -> Job | None:
        return None

    monkeypatch.setattr(Backends, "ended", at_once)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    del document["paths"][STREAM]
    in_lines = document["paths"][BULK]["post"]["requestBody"]
    in_lines["content"][NDJSON]["schema"] = in_lines["x-item"]
    await asyncio.to_thread(send_all, document, f"http://127.0.0.1:{settings.web_port}")


def send_all(document: dict[str, Any], url: str) -> None:
    described = schemathesis.openapi.from_dict(document)
    for found in described.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.POSITIVE or operation.query or operation.body:
                send_some(operation.as_strategy(generation_mode=mode), url)


def send_some(cases: Any, url: str) -> None:
    @given_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=cases)
    def send(case: Any) -> None:
        response = case.call(base_url=url, headers=AUTHORIZATION)
        # A time, and a place in the log, are more than a schema can say.
        case.validate_response(response, excluded_checks=[positive_data_acceptance, negative_data_rejection])

    send()
