"""What several unit tests begin with: the parts of the embedded broker, and a clock that stands still."""

from pathlib import Path

import pytest

from jabba.local.broker.groups import Group
from tests.support.clocks import HandClock
from tests.support.partitions import Partition


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def group(clock: HandClock) -> Group:
    return Group(clock)


@pytest.fixture
def partition(tmp_path: Path, clock: HandClock) -> Partition:
    return Partition(tmp_path / "topic-0", clock)
