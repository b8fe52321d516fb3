"""What mypy --strict says to users of the library: nothing to code that works, and what is wrong with other code."""

import re
from pathlib import Path

from mypy import api

USER_CODE = Path(__file__).with_name("user_code.py")
ERROR = re.compile(r"^[^:]+:(\d+): error: (.*)$", re.MULTILINE)
EXPECTED = re.compile(r"  # E: (.*)$")


def test_each_line_passes_or_has_the_error_it_tells_of(tmp_path: Path) -> None:
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n")
    said, trouble, _ = api.run(["--config-file", str(config), "--cache-dir", str(tmp_path), str(USER_CODE)])
    assert trouble == ""
    errors: dict[int, list[str]] = {}
    for line, message in ERROR.findall(said):
        errors.setdefault(int(line), []).append(message)
    lines = enumerate(USER_CODE.read_text().splitlines(), 1)
    expected = {number: found[1] for number, line in lines if (found := EXPECTED.search(line))}
    assert len(expected) > 20
    assert set(errors) == set(expected), said
    for number, text in expected.items():
        assert any(text in message for message in errors[number]), (number, errors[number])
