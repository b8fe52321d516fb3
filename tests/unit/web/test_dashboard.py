"""The dashboard's files: nothing in them asks for anything from elsewhere, and what is vendored is what was pinned."""

import hashlib
import re

import pytest

from web.dashboard.views import POLICY, STATIC, files

OWN = sorted(name for name in files() if not name.startswith("vendor/"))


def test_the_vendored_file_is_the_one_that_is_documented() -> None:
    (documented,) = re.findall(r"SHA-256: `([0-9a-f]{64})`", (STATIC / "vendor" / "VENDOR.md").read_text())

    assert hashlib.sha256((STATIC / "vendor" / "preact.js").read_bytes()).hexdigest() == documented


@pytest.mark.parametrize("name", sorted(files()))
def test_nothing_is_evaluated_or_loaded_from_elsewhere(name: str) -> None:
    text = files()[name].plain.decode()

    assert re.findall(r"\beval\(|new Function|\bimport\([^)]*https?:", text) == []
    assert [url for url in re.findall(r"https?://[\w.]+", text) if url != "http://www.w3.org"] == []


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith(".html")])
def test_pages_have_no_inline_script_or_style(name: str) -> None:
    text = files()[name].plain.decode()

    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=", text) == []


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith(".js")])
def test_imports_lead_to_files_that_are_there(name: str) -> None:
    folder = (STATIC / name).parent

    for path in re.findall(r'from "(\.[^"]+)"', files()[name].plain.decode()):
        assert (folder / path).resolve().is_file(), path


def test_the_policy_allows_nothing_but_its_own_origin() -> None:
    directives = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))

    assert directives["default-src"] == "'none'"
    assert {source for value in directives.values() for source in value.split()} <= {"'none'", "'self'", "data:"}


def test_the_first_page_is_small() -> None:
    assert sum(len(one.packed) for one in files().values()) < 150 * 1024
