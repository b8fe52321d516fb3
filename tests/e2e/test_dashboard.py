"""The dashboard in Chromium, against a running Jabba: by keyboard alone, and with nothing from elsewhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from jabba import Client
from tests.support.browser import PROGRAM, Page, browsing
from tests.support.processes import eventually
from tests.support.up import Up

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium: apt-get install chromium")

ORDER = [
    ["local", "demo.shop", "reserve", [17]],
    {"name": "charge", "callback": ["local", "demo.shop", "charge", [17, 999]]},
    ["local", "demo.shop", "ship", [17]],
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("dashboard"), callbacks="demo.shop") as running:
        yield running


@pytest.fixture
async def page(up: Up, tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path / "profile", up.key) as made:
        await made.open(f"{up.url}/")
        await shows(made, "Sign in with an API key")
        yield made


async def test_a_newcomer_submits_sees_a_failure_and_corrects_it_by_keyboard_alone(up: Up, page: Page) -> None:
    await write(page, up.key)
    await press(page, "Enter")
    await shows(page, "Unfinished jobs")
    await press(page, "g")
    await press(page, "s")
    await shows(page, "Submit a job")
    await page.evaluate("document.querySelector('textarea').focus()")
    await press(page, "Enter", modifiers=2)
    await shows(page, "Task 2 “charge” failed:")
    await shows(page, "the card was declined")

    await tab_to(page, "Submit again, edited")
    await press(page, "Enter")
    await shows(page, "The job was copied")
    text = await page.evaluate("document.querySelector('textarea').value")
    assert json.loads(text)["tasks"][1]["callback"][3] == [17, 999]
    await page.evaluate("document.querySelector('textarea').select()")
    await write(page, text.replace("999", "99"))
    await press(page, "Enter", modifiers=2)
    await shows(page, "PROCESSED")
    await shows(page, "3 of 3 tasks")

    assert {urlsplit(url).netloc for url in page.requested} == {urlsplit(up.url).netloc}
    assert [fault for fault in page.faults if "401" not in fault and "Password forms" not in fault] == []


async def test_jobs_are_searched_and_the_address_is_the_view(up: Up, page: Page) -> None:
    async with Client(up.url, key=up.key) as client:
        job = await client.create_job(ORDER, "search-me", meta={"tenant": "acme", "big": 2**60 + 1})
        await client.wait(job)
    await sign_in(page, up)
    await page.open("about:blank")
    await page.open(f"{up.url}/#/jobs?q=type%3Asearch-me&columns=status,type,meta.tenant")
    await shows(page, "1 job")
    await shows(page, "acme")
    await press(page, "j")
    await press(page, "Enter")
    await shows(page, str(job.id))
    assert str(2**60 + 1) in await text_of(page), "large integers are shown as they were sent"


async def test_a_job_is_followed_while_it_runs(up: Up, page: Page) -> None:
    await sign_in(page, up)
    async with Client(up.url, key=up.key) as client:
        job = await client.create_job(ORDER[:1], "followed")
    await page.open("about:blank")
    await page.open(f"{up.url}/#/jobs/{job.id}")
    await shows(page, "1 of 1 tasks")


async def sign_in(page: Page, up: Up) -> None:
    await write(page, up.key)
    await press(page, "Enter")
    await shows(page, "Unfinished jobs")


async def text_of(page: Page) -> str:
    return str(await page.evaluate("document.body.innerText"))


async def shows(page: Page, text: str) -> None:
    async def is_there() -> bool:
        return text in await text_of(page)

    await eventually(is_there, what=f"{text!r} on the page")


async def write(page: Page, text: str) -> None:
    """Type into what has the focus."""
    await page.send("Input.insertText", text=text)


async def press(page: Page, key: str, modifiers: int = 0) -> None:
    text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
    common = {
        "key": key,
        "modifiers": modifiers,
        "windowsVirtualKeyCode": {"Enter": 13, "Tab": 9}.get(key, ord(key[0].upper())),
    }
    await page.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
    await page.send("Input.dispatchKeyEvent", type="keyUp", **common)


async def tab_to(page: Page, label: str) -> None:
    """Press Tab until a control with this text has the focus."""
    for _ in range(60):
        await press(page, "Tab")
        if await page.evaluate("document.activeElement.textContent.trim()") == label:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"Tab never leads to {label!r}")
