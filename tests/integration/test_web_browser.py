"""What a browser makes of it: Chromium, as somebody would use it who has nothing but a key."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jabba.client import Client
from jabba.projection.projector import Projector
from jabba.settings import Settings
from tests.support.browser import PROGRAM, Page, browsing
from tests.support.http import serving
from tests.support.keys import KEY
from tests.support.live import emit, transitions
from tests.support.processes import eventually

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium: apt-get install chromium")

TASK = ["local", "shop", "ship", [1]]


@pytest.fixture
def options() -> dict[str, Any]:
    return {"partitions": 2, "visible_seconds": 0}


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "profile", KEY) as made:
        yield made


async def test_the_documentation_needs_nothing_from_elsewhere(settings: Settings, page: Page) -> None:
    site = f"http://127.0.0.1:{settings.web_port}"
    async with serving(settings):
        await page.open(f"{site}/docs")
        assert page.prompts == 1
        assert (await page.evaluate("document.title")).startswith("Jabba")
        titles = await page.evaluate("[...document.querySelectorAll('section h2')].map(one => one.textContent)")
        assert {"GET /v1/events", "POST /v1/jobs"} <= set(titles)
        # It is laid out, not only there: the style was not refused by its own policy.
        assert await page.evaluate("getComputedStyle(document.querySelector('.method')).display") == "inline-block"
        await page.evaluate("document.querySelector('nav a').click()")
        assert (await page.evaluate("location.hash")).startswith("#")
    assert {urlsplit(url).netloc for url in page.requested} == {f"127.0.0.1:{settings.web_port}"}
    assert [fault for fault in page.faults if "favicon" not in fault and "401" not in fault] == []


LISTEN = """
    window.told = [];
    const source = new EventSource("/v1/events?q=" + encodeURIComponent("job.meta.tenant:x"));
    for (const kind of ["task_started", "task_succeeded"])
        source.addEventListener(kind, event => told.push([JSON.parse(event.data).job, JSON.parse(event.data).seq]));
    new Promise(resolve => source.addEventListener("open", () => resolve("open")))
"""


async def test_a_page_that_was_opened_with_the_key_hears_live_streams_and_goes_on_by_itself(
    settings: Settings, page: Page, projector: Projector
) -> None:
    site = f"http://127.0.0.1:{settings.web_port}"
    async with Client(site, key=KEY) as client:
        async with serving(settings):
            mine, other = [await client.create_job(TASK, "shipping", meta={"tenant": tenant}) for tenant in "xy"]
            await page.open(f"{site}/openapi.json")
            assert await page.evaluate(LISTEN) == "open"
            await emit(settings, [*transitions(other.id, 1), *transitions(mine.id, 1)])
            await eventually(partial(has_heard, page, [[str(mine.id), 0], [str(mine.id), 1]]), what="events")
        await emit(settings, transitions(mine.id, 2)[2:])
        async with serving(settings):
            expected = [[str(mine.id), number] for number in range(4)]
            await eventually(partial(has_heard, page, expected), what="events since it was away")
            await asyncio.sleep(0.1)
            assert await has_heard(page, expected)
    assert page.prompts == 1, "for all that the page loads"


async def has_heard(page: Page, events: list[list[Any]]) -> bool:
    found: str = await page.evaluate("JSON.stringify(told)")
    return bool(json.loads(found) == events)
