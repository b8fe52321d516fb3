"""Which transport a callback takes: its service's, as the services file has it."""

from collections.abc import Callable

from jabba.callbacks import results
from jabba.callbacks.http import HttpRunner
from jabba.callbacks.local import LocalRunner
from jabba.callbacks.registry import TaskContext
from jabba.callbacks.services import Services, unknown_service
from jabba.callbacks.transport import Reply
from jabba.jobs.models import Callback
from jabba.jobs.retry import NO_DEFAULTS, Defaults


class Router:
    """Runs each callback where its service is; a service that nobody has defined fails the task."""

    def __init__(self, services: Callable[[], Services], local: LocalRunner, http: HttpRunner) -> None:
        self._services = services
        self._local = local
        self._http = http

    async def run(self, callback: Callback, context: TaskContext) -> Reply:
        """Invoke a callback and return its reply; only a cancellation is raised."""
        services = self._services()
        keyed = services.get(callback.service)
        if keyed is None:
            return results.failed(unknown_service(callback.service, services))
        match keyed.service.transport:
            case "local":
                return await self._local.run(callback, context)
            case "http":
                return await self._http.run(callback, keyed, context)
            case "kafka":
                return results.failed(f"service {callback.service!r} has the transport kafka: not available yet")

    def defaults(self, callback: Callback) -> Defaults:
        """Return what holds for a callback unless its job or task says otherwise."""
        keyed = self._services().get(callback.service)
        if keyed is None:
            return NO_DEFAULTS
        service = keyed.service
        if service.transport != "local":
            return Defaults(service.retry, service.timeout)
        own = self._local.defaults(callback)
        of_service = service.timeout if "timeout" in service.model_fields_set else None
        return Defaults(own.retry or service.retry, own.timeout or of_service)
