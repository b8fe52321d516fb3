"""``import jabba`` is cheap, and offers what it always did."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "import jabba; jabba.Client; jabba.errors.NotFound; jabba.where.jobs",
        "from jabba import Client, SyncClient, callback, where",
        "from jabba import *; Client",
        "import jabba, copy; copy.copy(jabba.JobStatus); assert 'Client' in dir(jabba)",
        "import jabba; assert not hasattr(jabba, 'Clint'); assert not hasattr(jabba, '__wrapped__')",
        "import jabba, sys; assert 'aiohttp' not in sys.modules",
        "import jabba, sys; jabba.Client; assert not {'faust', 'sqlalchemy'} & sys.modules.keys()",
    ],
)
def test_names_are_there_when_they_are_used(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
