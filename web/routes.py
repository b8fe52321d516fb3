"""The one table of routes: what is served, and what is documented."""

from faust.web import View

from jabba.settings import Settings
from web import audit, bulk, documentation, events, health, jobs, metrics, services, sessions, stats
from web.dashboard.views import PAGES
from web.openapi import path_of
from web.operations import operations_of

VIEWS: tuple[type[View], ...] = (
    jobs.Jobs,
    bulk.BulkOfJobs,
    jobs.JobSearch,
    jobs.TasksOfJob,
    jobs.ProgressOfJob,
    jobs.JobById,
    jobs.Tasks,
    jobs.TaskSearch,
    jobs.TaskById,
    events.Events,
    stats.StatsNow,
    services.ListOfServices,
    metrics.Metrics,
    audit.Audit,
    sessions.Session,
    health.Live,
    health.ReadyToSubmit,
    health.Ready,
    documentation.OpenApi,
    documentation.Docs,
)
"""The first one whose path matches answers."""


def open_routes(settings: Settings) -> frozenset[tuple[str, str]]:
    """Return the methods and paths, as the router has them, that need no key."""
    routes = [(method, path_of(view)) for view in VIEWS for method, one in operations_of(view).items() if not one.needs]
    documents: list[type[View]] = [documentation.OpenApi, documentation.Docs] if settings.open_docs else []
    return frozenset([*routes, *(("GET", path_of(view)) for view in (*documents, *PAGES))])
