"""What Faust is told about the worker's table."""

from typing import cast

from faust.tables.manager import TableManager
from faust.types import TP

from jabba.app import worker_app
from jabba.settings import Settings


async def test_nothing_is_replayed_wherever_the_changelog_ends() -> None:
    """A former owner may write on while a rebalance is under way: Faust would wait for messages it cannot read."""
    recovery = cast("TableManager", worker_app(Settings(), partitions=4).tables).recovery
    place = TP("changelog", 0)
    recovery.active_highwaters[place], recovery.active_offsets[place] = 12, 7
    assert not recovery.need_recovery()
