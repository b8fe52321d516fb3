"""The one table of routes: what is served, and what is documented."""

from faust.web import View

from web import bulk, documentation, events, health, jobs, stats

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
    health.Live,
    health.Ready,
    documentation.OpenApi,
    documentation.Docs,
)
"""The first one whose path matches answers."""
