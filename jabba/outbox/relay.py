"""The relay: submits what transactions of other services have committed to their outbox.

A job's id is made when it is added, and stays. Before a job is sent, its row says since when; it is removed once Kafka
has acknowledged the job. So a relay that died left rows of which nobody knows whether they were accepted. For some
minutes they are sent again: workers recognise a repetition for longer than that. Older ones are looked for in the log.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Self
from uuid import UUID

from jabba.clock import SystemClock
from jabba.database.connection import Database, Transaction, TransactionLost
from jabba.errors import MessageTooLarge, NotReady, RequestError, Unavailable
from jabba.jobs import ids, json_codec
from jabba.jobs.models import Limits
from jabba.kafka.acls import check_acls, rights_of
from jabba.outbox.find_in_log import SoughtJob, find_in_log
from jabba.outbox.metrics import Figures, monitored
from jabba.outbox.table import OutboxRows, Row
from jabba.producer import producer_of
from jabba.producer.submission import Prepared, prepare
from jabba.settings import Settings

logger = logging.getLogger(__name__)

REPEATED_SECONDS = 240.0
"""So long a job is simply sent again. Workers remember it for ten minutes after its end."""

DOUBTFUL_SECONDS = 300.0
"""After that the log is asked. In between, what was sent last gets there, or does not."""

COMPLETED_SECONDS = 540.0
"""A job of which the log holds a part is completed until then; at ten minutes the projector closes it."""

LOGGED_SECONDS = 6 * 24 * 3600.0
"""So far back the log is sure to tell; it is kept for seven days."""

_BATCH = 500
_PIECE_BYTES = 16 * 1024 * 1024
_SENDING_SECONDS = 20.0
_STATEMENT_SECONDS = 60.0
_IDLE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


class Sent(NamedTuple):
    """What became of a piece: which jobs were accepted, which can never be, and what was in the way of the others."""

    accepted: list[UUID]
    refused: dict[UUID, str]
    trouble: Exception | None


class Relay:
    """Submits the jobs of one outbox; ``async with Relay(dsn, settings) as relay: await relay.run()``.

    Several may run side by side: each takes what no other has. Alone and undisturbed it keeps the order in which jobs
    were added, within each partition of the log. While Kafka or PostgreSQL is away it waits.
    """

    def __init__(self, dsn: str, settings: Settings) -> None:
        self._settings = settings
        self._rows = OutboxRows(settings.outbox_table)
        self._database = Database(dsn, size=2, statement_seconds=_STATEMENT_SECONDS, another_service=True)
        self._producer = producer_of(settings)
        self._clock = SystemClock()
        self._figures = Figures()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.close()
        await self._database.__aexit__()

    async def check(self) -> None:
        """Refuse to start without topics or table.

        Raises:
            NotReady: the message names the command to run.
            Unavailable: Kafka or PostgreSQL does not answer.
            Refused: Kafka does not let us in, or not do what a relay does.
        """
        await check_acls(self._settings.kafka_access, rights_of("outbox", self._settings.topics))
        await self._producer.check()
        await self._rows.check(self._database)

    async def run(self) -> None:
        """Relay until ``stop``; what is under way then is brought to its end. Tells its metrics meanwhile."""
        async with monitored(self._settings, self._figures, self._rows, self._database, self._unready):
            logger.info("outbox relay ready")
            await self._run()

    async def _run(self) -> None:
        pause = _IDLE_SECONDS
        while not self._stopping.is_set():
            try:
                moved = await self.step()
            except (Unavailable, NotReady, TransactionLost) as error:
                logger.warning("the outbox waits: %s", error)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                pause = _IDLE_SECONDS
                if moved:
                    continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _unready(self) -> str:
        return "it ends" if self._stopping.is_set() else ""

    def stop(self) -> None:
        """End ``run`` after the jobs that are under way."""
        self._stopping.set()

    async def step(self) -> int:
        """Send one batch; return how many jobs left the outbox or were set aside.

        Raises:
            Unavailable: Kafka or PostgreSQL does not answer; nothing is lost.
        """
        # Nothing is marked as being sent while it cannot be.
        await self._producer.check()
        decided = await self._decide()
        await self._rows.begin(self._database, _BATCH)
        return decided + await self._send()

    async def _send(self) -> int:
        clock = asyncio.get_running_loop()
        until, moved, trouble = clock.time() + _SENDING_SECONDS, 0, None
        # Whoever holds the rows' locks sends them; who dies lets go of them.
        async with self._database.transaction() as transaction:
            for piece in _pieces(await self._rows.fresh(transaction, REPEATED_SECONDS, _BATCH)):
                sent = await self._sent(await self._rows.texts(transaction, piece))
                await self._rows.remove(transaction, sent.accepted)
                for job, reason in sent.refused.items():
                    await self._set_aside(transaction, job, reason)
                self._figures.relayed += len(sent.accepted)
                moved += len(sent.accepted) + len(sent.refused)
                trouble = sent.trouble
                if trouble is not None or clock.time() > until:
                    break
        if trouble is not None:
            raise trouble
        return moved

    async def _sent(self, texts: Mapping[UUID, str]) -> Sent:
        sent = Sent([], {}, None)
        prepared = [one for one in (self._prepared(job, text, sent) for job, text in texts.items()) if one is not None]
        answers = await asyncio.gather(*map(self._producer.send, prepared), return_exceptions=True)
        trouble: Exception | None = None
        for one, answer in zip(prepared, answers, strict=True):
            if isinstance(answer, MessageTooLarge):
                sent.refused[one.job.id] = str(answer)
            elif isinstance(answer, Unavailable | NotReady):
                trouble = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                sent.accepted.append(one.job.id)
        return sent._replace(trouble=trouble)

    def _prepared(self, job: UUID, text: str, sent: Sent) -> Prepared | None:
        """Check a job again: rows may be written by anyone, and limits change."""
        try:
            return self._read(job, text)
        except (RequestError, ValueError) as error:
            sent.refused[job] = str(error)
            return None

    def _read(self, job: UUID, text: str) -> Prepared:
        return _read(job, text, self._settings.limits, self._clock.now())

    async def _decide(self) -> int:
        """Find out whether jobs that were begun long ago have been accepted; return how many need not be sent."""
        rows = await self._rows.doubtful(self._database, DOUBTFUL_SECONDS, _BATCH)
        if not rows:
            return 0
        sought = {}
        for row in rows:
            text = (await self._rows.texts(self._database, [row.id])).get(row.id, "")
            with suppress(RequestError, ValueError):
                sought[row.id] = SoughtJob.of(self._read(row.id, text))
        since = min(row.sent_at for row in rows).timestamp() - ids.MAX_SKEW_SECONDS
        topic = self._settings.topics.tasks
        found = await find_in_log(self._settings.kafka_access, topic, sought.values(), since)
        logger.info("looked in the log for %d jobs that a relay may have sent", len(sought))
        return sum([await self._decided(row, found.get(row.id, set()), sought.get(row.id)) for row in rows])

    async def _decided(self, row: Row, found: set[int], sought: SoughtJob | None) -> bool:
        slices = len(sought.keys) if sought is not None else 0
        if found and len(found) == slices:
            await self._rows.remove_unchanged(self._database, row)
            return True
        if row.age > LOGGED_SECONDS:
            reason = f"a relay began to send it at {row.sent_at}, and the log does not tell any more whether it did"
        elif found and row.age > COMPLETED_SECONDS:
            reason = f"{len(found)} of {slices} slices were accepted: the job ends as an incomplete submission"
        else:
            await self._rows.begin_again(self._database, row)
            return False
        await self._set_aside(self._database, row.id, reason)
        return True

    async def _set_aside(self, transaction: Transaction | Database, job: UUID, reason: str) -> None:
        logger.error("job %s is set aside in the outbox: %s", job, reason)
        await self._rows.set_aside(transaction, job, reason)
        self._figures.refused += 1


def _read(job: UUID, text: str, limits: Limits, now: float) -> Prepared:
    document = json_codec.decode(text)
    if not isinstance(document, dict) or document.get("id") != str(job):
        raise ValueError("the row holds another job than its id says")
    # The id may be as old as it likes, and still be none of the future.
    return prepare(document, limits, min(now, ids.job_seconds(job)), relayed=True)


def _pieces(rows: Sequence[Row]) -> Iterator[list[UUID]]:
    """Cut rows into pieces that fit in memory."""
    piece: list[UUID] = []
    size = 0
    for row in rows:
        if piece and size + row.size > _PIECE_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(row.id)
        size += row.size
    if piece:
        yield piece
