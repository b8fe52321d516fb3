"""Limits have bounds: above them, what they allow would not fit into a message."""

import pytest

from jabba import Limits
from jabba.jobs.models import MOST_META_BYTES, MOST_REQUEST_BYTES, MOST_RESULT_BYTES, MOST_TASK_ARGS_BYTES
from jabba.kafka.writer import MAX_MESSAGE_BYTES
from jabba.settings import Settings, SettingsError

MOST = {
    "task_args_bytes": MOST_TASK_ARGS_BYTES,
    "meta_bytes": MOST_META_BYTES,
    "request_bytes": MOST_REQUEST_BYTES,
    "result_bytes": MOST_RESULT_BYTES,
}


@pytest.mark.parametrize("name", MOST)
@pytest.mark.parametrize("wrong", [0, 1])
def test_a_limit_beyond_its_bounds_is_refused_by_name(name: str, wrong: int) -> None:
    value = MOST[name] + 1 if wrong else 0
    with pytest.raises(ValueError, match=rf"{name} must be from 1 to {MOST[name]:,}"):
        Limits(**{name: value})
    with pytest.raises(SettingsError, match=f"JABBA_{name.upper()}: "):
        Settings.from_environ({f"JABBA_{name.upper()}": str(value)})


def test_the_highest_limits_leave_room_for_names_and_what_stands_around_them() -> None:
    assert Settings(**MOST).limits == Limits(**MOST)
    assert MOST_TASK_ARGS_BYTES + 2 * MOST_META_BYTES + 64 * 1024 < MAX_MESSAGE_BYTES
    assert MOST_RESULT_BYTES + 64 * 1024 < MAX_MESSAGE_BYTES


def test_no_job_without_tasks_is_allowed() -> None:
    with pytest.raises(ValueError, match="tasks_per_job"):
        Limits(tasks_per_job=0)
