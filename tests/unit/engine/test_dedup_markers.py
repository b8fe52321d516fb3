import pytest

from jabba.engine.changelog import Store
from jabba.engine.dedup_markers import Markers, Window
from jabba.engine.records import LaneRecord
from tests.support.lanes import Log, at_any_time


@pytest.fixture
async def store() -> Store:
    made = await Log().taken(at_any_time)
    for offset in range(3):
        await made.put(f"lane/{offset}", LaneRecord("d", offset).marker(1.0 + offset).encode())
    return made


def remembering(window: Window, total: int = 3) -> Markers:
    markers = Markers(window, lambda: total)
    for offset in range(3):
        markers.add(f"lane/{offset}")
    return markers


async def test_a_marker_goes_once_its_window_has_passed(store: Store) -> None:
    assert remembering(Window(10.0)).take_expired(store, now=12.5, readable=range(3, 9)) == ["lane/0", "lane/1"]


async def test_a_marker_stays_while_its_slice_may_be_read_again(store: Store) -> None:
    assert remembering(Window(10.0)).take_expired(store, now=99.0, readable=range(1, 9)) == ["lane/0"]


async def test_the_oldest_markers_go_early_when_a_worker_has_too_many(store: Store) -> None:
    assert remembering(Window(10.0, most=5), total=5).take_expired(store, now=3.0, readable=range(3, 9)) == []
    assert len(remembering(Window(10.0, most=5), total=6).take_expired(store, now=3.0, readable=range(3, 9))) == 3


async def test_a_marker_of_another_log_stays_for_its_window_alone(store: Store) -> None:
    assert remembering(Window(10.0)).take_expired(store, now=99.0, readable=range(1, 2)) == ["lane/0"]
    assert remembering(Window(10.0)).take_expired(store, now=12.5, readable=range(0)) == ["lane/0", "lane/1"]
