from pathlib import Path

import pytest
from click.testing import CliRunner

from jabba.cli.commands import jabba


@pytest.mark.parametrize("role", ["worker", "web", "up"])
def test_a_wrong_services_file_is_refused_before_anything_starts(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "services.toml"
    file.write_text("[services.b]\ntransport = http")
    monkeypatch.setenv("JABBA_SERVICES", str(file))
    monkeypatch.setenv("JABBA_DATA", str(tmp_path / "data"))
    done = CliRunner().invoke(jabba, [role])
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: JABBA_SERVICES: {file}: ")
    assert "(at line 2, column " in done.stderr
