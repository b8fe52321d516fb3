"""``docs/settings.md`` tells of every setting, with its true default."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from jabba.settings import PREFIX, Settings

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
MODULE = "tests.unit.pages.test_settings"
HEAD = """# Settings

Every setting of every process is an environment variable. The options of the command line go before them; a variable
that begins with `JABBA_` and is no setting is refused, so that a misspelt one is noticed. Lists are separated by
commas, sizes are bytes.

Kubernetes puts variables such as `JABBA_WEB_SERVICE_HOST` into every pod beside a Service called `jabba` or `jabba-…`.
They are passed over, but for those that are named like a setting: beside a Service `jabba-web` or `jabba-metrics` set
`enableServiceLinks: false` in the pod's spec, or `JABBA_WEB_PORT` or `JABBA_METRICS_PORT` to a port.

| variable | default | meaning |
| --- | --- | --- |
"""


def page() -> str:
    rows = (row(name, field) for name, field in Settings.model_fields.items())
    return HEAD + "".join(rows)


def row(name: str, field: FieldInfo) -> str:
    default = shown(field.get_default(call_default_factory=True, validated_data={}))
    return f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |\n"


def shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, list) else str(value)


def test_the_page_tells_of_every_setting() -> None:
    assert PAGE.read_text() == page(), f"write it with: python -m {MODULE}"


if __name__ == "__main__":
    PAGE.write_text(page())
