from collections.abc import Iterator
from uuid import UUID

import pytest

import jabba
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.results import Answer
from jabba.callbacks.routing import Router
from jabba.callbacks.services import KeyedService, Service
from jabba.clock import SystemClock
from jabba.jobs.lifecycle import TaskFailed, TaskSucceeded
from jabba.jobs.models import Callback
from jabba.jobs.retry import Defaults, Retry

CONTEXT = TaskContext(UUID(int=1), UUID(int=2), 1)
RETRY, OTHER = Retry(max_attempts=7), Retry(max_attempts=2)
SERVICES = {
    "local": Service(transport="local"),
    "here": Service(transport="local", retry=OTHER, timeout=3),
    "billing": Service(transport="http", url=["http://b/"], secrets=["whsec_"], retry=RETRY, timeout=5),
    "mail": Service(transport="kafka"),
}


@pytest.fixture
def router() -> Iterator[Router]:
    local = LocalRunner(1)
    yield Router({name: KeyedService(one) for name, one in SERVICES.items()}.copy, local, HttpRunner(SystemClock()))
    local.close()


def of(service: str, function: str = "f") -> Callback:
    return Callback(service=service, module="tests.routing", function=function)


@pytest.mark.parametrize("service", ["local", "here"])
async def test_a_local_service_runs_functions_of_the_worker(service: str, router: Router) -> None:
    jabba.callback(module="tests.routing", name="f")(lambda: {"a": 1})
    assert await router.run(of(service), CONTEXT) == Answer(TaskSucceeded, {"a": 1})


async def test_an_unknown_service_fails_and_says_which_there_are(router: Router) -> None:
    error = "unknown service 'mars': the services file (JABBA_SERVICES) has billing, here, local, mail"
    assert await router.run(of("mars"), CONTEXT) == Answer(TaskFailed, {"error": error})


async def test_kafka_is_not_available_yet(router: Router) -> None:
    answer = await router.run(of("mail"), CONTEXT)
    assert isinstance(answer, Answer)
    assert answer.result == {"error": "service 'mail' has the transport kafka: not available yet"}


def test_defaults_are_those_of_the_service_or_of_the_function(router: Router) -> None:
    jabba.callback(module="tests.routing", name="g", retry=RETRY, timeout=9)(lambda: None)
    assert router.defaults(of("billing")) == Defaults(RETRY, 5)
    assert router.defaults(of("local", "g")) == Defaults(RETRY, 9)
    assert router.defaults(of("here", "g")) == Defaults(RETRY, 9)
    assert router.defaults(of("here", "h")) == Defaults(OTHER, 3)
    assert router.defaults(of("local", "h")) == router.defaults(of("mars")) == Defaults()
