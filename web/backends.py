"""What a web process stands on: a producer for submissions, PostgreSQL for answers; each may be away for a while."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from uuid import UUID

from mode import Service

from jabba.auth.roles import ANYONE, EVERY_TYPE, Caller, TypeScope
from jabba.auth.sessions import Sessions, secret_of
from jabba.clock import Clock, SystemClock
from jabba.database import api_keys, queries, watching
from jabba.database.connection import Database
from jabba.errors import InvalidRequest, NotFound, Unavailable
from jabba.jobs import ids
from jabba.jobs.models import Job
from jabba.kafka.reader import LogReader
from jabba.messages.positions import Position
from jabba.producer import producer_of
from jabba.producer.submission import Prepared, Submitted, prepare
from jabba.settings import Settings
from web.authenticate import Authenticator, Seen
from web.circuit_breaker import CircuitBreaker, Send
from web.gauges import Gauges
from web.idempotency import Repeats
from web.key_cache import KeyCache
from web.process_metrics import ACCEPTED, REPEATED, Traffic
from web.readiness import Probe, Readiness
from web.requests import decode_json
from web.stats_query import Overview
from web.streams.feed import Feed
from web.streams.job_cache import JobCache
from web.wait_for_end import EndWaiters
from web.waiting import Fresh, Progress, until_answered

LARGE_BODY_BYTES = 128 * 1024
"""A submission from here on is read in a thread, one at a time, so that health checks and small ones go on."""

YOUNG_SECONDS = 10.0
"""The projection may not have heard of a job that is younger."""

PROJECTION_SECONDS = 10.0
"""How long an answer waits for the projection to reach a position."""

_PATIENCE_SECONDS = 0.5
"""After so long it is worth to ask whether the position is in the log at all."""

_SHOWN = {0: 0}
"""The position of what PostgreSQL shows already: that of the empty first message."""

STATS_SECONDS = 1.0
"""How old what an operator is told may be."""

READY_SECONDS = 1.0
"""How old the answer may be whether the backends are there: strangers may ask for it."""

PROBE_SECONDS = 3.0
"""How long a backend may take to show that it is ready."""

_KEYS_SECONDS = 5.0
"""How long PostgreSQL may take to answer whether there is such a key."""


class Backends(Service):
    """Starts before the web server and stops after it, whether or not Kafka and PostgreSQL are there."""

    abstract = False

    def __init__(self, settings: Settings, *, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        self.clock = clock or SystemClock()
        self.services = settings.open_services(self.clock.monotonic).current
        self.producer = producer_of(settings, self.clock)
        self.database = Database(
            settings.database.get_secret_value(), size=settings.pool, statement_seconds=settings.statement_seconds
        )
        # A connection of its own: searches that hold all others must not hold up submissions.
        self._keys = Database(settings.database.get_secret_value(), size=1, statement_seconds=_KEYS_SECONDS)
        self.keyring = _keyring(settings, self._keys, self.clock) if settings.access == "keys" else None
        secret = secret_of(settings.secret.get_secret_value())
        self.sessions = Sessions(secret, self.clock.now, settings.session_hours * 3600)
        jobs = JobCache(
            partial(watching.lasting_facts, self.database), self._projected, self._ends, settings.stream_jobs_bytes
        )
        self._key_cache = None if settings.key_cache is None else KeyCache(settings.key_cache)
        self.feed = Feed(settings, jobs, clock=self.clock)
        self.add_dependency(self.feed)
        hub = self.feed.hub
        self.traffic = Traffic()
        self._endings = EndWaiters(partial(watching.ended_jobs, self.database), hub.hints, hub.closing)
        self._repeats = Repeats(self.database)
        self._progress = Progress(self._projected)
        self._overview = Overview(settings, self.database, self.clock)
        self.stats = Fresh(self._overview.look, STATS_SECONDS)
        self._gauges = Gauges(self.stats.get, self.clock)
        self._exposition = self.traffic.exposition(self.database, lambda: self.feed.readers, self._gauges.readings())
        probes: dict[str, Probe] = {"kafka": self._probe_kafka, "database": self._probe_database}
        self.readiness = Readiness(probes, self.clock, READY_SECONDS)
        self._large = ThreadPoolExecutor(1, "large-submission")
        self._open = AsyncExitStack()

    async def on_start(self) -> None:
        """Open what connects when it is needed."""
        await self._open.enter_async_context(self.database)
        await self._open.enter_async_context(self._keys)
        if self.keyring is not None and self._key_cache is not None:
            self.keyring.recall(await asyncio.to_thread(self._key_cache.read))
            self.add_future(self._write_keys(self.keyring, self._key_cache))
        self._open.push_async_callback(self.producer.close)
        await self._open.enter_async_context(self._overview)
        self._open.push_async_callback(self.stats.close)
        self._open.push_async_callback(self._gauges.close)
        self._open.push_async_callback(self.readiness.close)

    async def on_stop(self) -> None:
        """Close the connections."""
        await self._open.aclose()
        self._large.shutdown(wait=False, cancel_futures=True)

    @property
    def closing(self) -> asyncio.Event:
        """Return what is set once this process stops."""
        return self.feed.hub.closing

    async def let_go(self, _: object) -> None:
        """Let those who only listen and wait go, before the server waits for the requests that are under way."""
        self.feed.close()

    async def metrics(self) -> bytes:
        """Return what Prometheus is told, soon, whether or not Kafka and PostgreSQL answer."""
        await self._gauges.look()
        return self._exposition.text()

    def outage(self) -> CircuitBreaker:
        """Return what sends the jobs of one request, and refuses them while Kafka is away."""
        return CircuitBreaker(self.producer.send, self._probe_kafka)

    async def submit(self, body: bytes, by: Caller = ANYONE, send: Send | None = None) -> Submitted:
        """Accept a caller's submission, and count what became of it; errors as for ``_submit``."""
        try:
            submitted = await self._submit(body, by, send or self.producer.send)
        except Exception as error:
            self.traffic.refused(error)
            raise
        self.traffic.submissions[REPEATED if submitted.position is _SHOWN else ACCEPTED] += 1
        return submitted

    async def _submit(self, body: bytes, by: Caller, send: Send) -> Submitted:
        """Accept a submission; the answer to a repeated one is the job there is.

        Raises:
            RequestError: what is wrong with it.
            Forbidden: the caller may not submit jobs of this type.
            Conflict: another job has its id.
            Unavailable: Kafka did not acknowledge.
        """
        prepared = await self._prepared(body, by)
        existing = await self._repeats.existing(prepared)
        if existing is not None:
            return Submitted(existing.id, _SHOWN, existing)
        return await send(prepared)

    async def job(self, job: UUID, after: Position | None, types: TypeScope = EVERY_TYPE) -> Job:
        """Return a job: behind a position exactly, and a young one as soon as the projection shows it.

        One that is not of these types is not there, and as late to be so.

        Raises:
            NotFound: there is none.
            InvalidRequest: the log has no such position.
            Unavailable: PostgreSQL does not answer, or the projection has not reached the position.
        """
        if after is not None:
            await self._until_projected(after)
        young = abs(self.clock.now() - ids.job_seconds(job)) < YOUNG_SECONDS
        seconds = self.settings.visible_seconds if young and after is None else 0.0
        found = await until_answered(partial(self._job_within, types, job), seconds)
        if found is None:
            raise NotFound(f"there is no job {job}")
        return found

    async def ended(self, job: UUID, within: float | None = None) -> Job | None:
        """Return a job once it has ended; None after ``within`` seconds, or when this process stops."""
        self.feed.follow()
        return await self._endings.ended(job, within)

    async def told(self, job: UUID, *, informed: bool) -> None:
        """Wait until the live streams have told of a job what PostgreSQL knows of it."""
        topic = self.settings.topics.events
        offsets = await queries.projected_offsets(self.database, [topic])
        reached = {partition: offset for (_, partition), offset in offsets.items()}
        await self.feed.reached(str(job), reached, informed=informed)

    async def _job_within(self, types: TypeScope, job: UUID) -> Job | None:
        found = await queries.get_job(self.database, job)
        return found if found is not None and types.allows(found.type) else None

    async def _until_projected(self, position: Position) -> None:
        if await self._progress.reaches(position, _PATIENCE_SECONDS):
            return
        ends = await self._ends()
        if not all(offset < ends.get(partition, 0) for partition, offset in position.items()):
            raise InvalidRequest.at("after", "there is no such position: it is not what a submission was answered with")
        if not await self._progress.reaches(position, PROJECTION_SECONDS):
            raise Unavailable("the projection has not reached this position yet")

    async def _write_keys(self, keyring: Authenticator, cache: KeyCache) -> None:
        written: list[Seen] = keyring.seen()
        while not self.should_stop:
            await self.sleep(self.settings.key_seconds)
            seen = keyring.seen()
            if seen != written:
                await asyncio.to_thread(cache.write, seen)
                written = seen

    async def _probe_kafka(self) -> None:
        await self.producer.check(within=PROBE_SECONDS)

    async def _probe_database(self) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._projected()
        except TimeoutError as error:
            raise Unavailable(f"PostgreSQL does not answer within {PROBE_SECONDS:g} s") from error

    async def _projected(self) -> dict[int, int]:
        offsets = await queries.projected_offsets(self.database, [self.settings.topics.tasks])
        return {partition: offset for (_, partition), offset in offsets.items()}

    async def _ends(self) -> dict[int, int]:
        async with LogReader(self.settings.kafka_access, self.settings.topics.tasks) as log:
            return await log.ends()

    async def _prepared(self, body: bytes, by: Caller) -> Prepared:
        if len(body) < LARGE_BODY_BYTES:
            return self._read_submission(body, by)
        return await asyncio.get_running_loop().run_in_executor(self._large, self._read_submission, body, by)

    def _read_submission(self, body: bytes, by: Caller) -> Prepared:
        services = None if self.settings.services is None else self.services()
        prepared = prepare(decode_json(body), self.settings.limits, self.clock.now(), by=by.key, services=services)
        by.require_type(prepared.job.type)
        return prepared


def _keyring(settings: Settings, database: Database, clock: Clock) -> Authenticator:
    find = partial(api_keys.find, database)
    return Authenticator(find, clock, seconds=settings.key_seconds, outage_seconds=settings.key_outage_seconds)
