"""The one table of routes: what is served, and what is documented."""

from faust.web import View

from jabba.settings import Settings
from web import audit, bulk, documentation, events, health, jobs, metrics, stats
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
    events.Events,
    stats.StatsNow,
    metrics.Metrics,
    audit.Audit,
    health.Live,
    health.ReadyToSubmit,
    health.Ready,
    documentation.OpenApi,
    documentation.Docs,
)
"""The first one whose path matches answers."""


def open_paths(settings: Settings) -> frozenset[str]:
    """Return the paths that need no key, as the router has them."""
    views: list[type[View]] = [view for view in VIEWS if all(one.needs is None for one in operations_of(view).values())]
    documents: list[type[View]] = [documentation.OpenApi, documentation.Docs] if settings.open_docs else []
    return frozenset(view.view_path for view in [*views, *documents])
