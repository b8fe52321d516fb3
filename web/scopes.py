"""What a key that is limited to some types of jobs finds: of all others, it is as if they were not there."""

from dataclasses import replace

from jabba.auth.roles import TypeScope
from jabba.search import JOBS, Comparison, Condition, Group, Join, Related, Rule, Search, bounds_of_prefix

_TYPE = JOBS.fields["type"]


def within(search: Search, types: TypeScope) -> Search:
    """Return a search that finds nothing beyond these types, jobs or tasks of such jobs."""
    if not types.limited:
        return search
    allowed: Condition = Group(Join.OR, tuple(map(_allowed, types.patterns)))
    if search.collection is not JOBS:
        allowed = Related(JOBS.name, (allowed,))
    return replace(search, within=(allowed,))


def _allowed(pattern: str) -> Condition:
    if not pattern.endswith("*"):
        return Comparison(_TYPE, Rule.EQUAL, pattern)
    bounds = bounds_of_prefix(pattern.removesuffix("*"))
    return Group(Join.AND, tuple(Comparison(_TYPE, rule, bound) for rule, bound in bounds))
