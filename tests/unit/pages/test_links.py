"""All pages: links lead somewhere, settings are those there are, exit codes those that processes end with."""

import re
from pathlib import Path

import pytest

from jabba.cli import errors
from jabba.monitoring.watchdog import EXIT_CODE
from jabba.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings, as they are written in addresses."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for place, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), place
        assert not anchor or anchor in anchors(target), f"{place}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_are_there(page: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", page.read_text()))
    of_kubernetes = {name for name in named if name.endswith("_SERVICE_HOST")}
    assert named - of_kubernetes <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_every_exit_code_is_told() -> None:
    table = DEPLOY.partition("<!-- codes -->\n")[2].partition("\n\n")[0]
    told = [int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)]

    assert told == [0, errors.FAILED, errors.WRONG_USAGE, errors.NOT_READY, EXIT_CODE]
    assert f"RestartPreventExitStatus={errors.WRONG_USAGE}\n" in DEPLOY
