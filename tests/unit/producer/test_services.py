import pytest

from jabba.errors import InvalidRequest
from jabba.jobs.models import Limits
from jabba.producer.submission import prepare

NOW = 1_795_000_000.0
JOB = {"type": "t", "tasks": [["local", "m", "f"], ["billing", "m", "f"], ["mars", "m", "f"]]}


def test_calls_of_services_that_are_not_there_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as raised:
        prepare(JOB, Limits(), NOW, services=["local", "billing"])
    assert [(one.field, one.message) for one in raised.value.fields] == [
        (
            "tasks[2].callback.service",
            "unknown service 'mars': the services file (JABBA_SERVICES) has billing, local",
        )
    ]


def test_who_does_not_know_the_services_refuses_none() -> None:
    assert prepare(JOB, Limits(), NOW).job.type == "t"
