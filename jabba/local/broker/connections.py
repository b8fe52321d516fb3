"""The connections of the clients, each answered in the order in which it asks."""

import asyncio
import logging
from contextlib import suppress

from jabba.local.broker import wire
from jabba.local.broker.api import Api
from jabba.local.broker.wire import WireError

logger = logging.getLogger(__name__)

_BUFFERED_BYTES = 1024 * 1024


class Connections:
    """All connections to a broker. A client's next request is read when the one before is answered."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._open: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        """Accept connections; raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_BUFFERED_BYTES)

    async def close(self) -> None:
        """Accept no more, and end those that there are."""
        if self._server is None:
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 — a coroutine that runs is run by a task
        self._open.add(task)
        try:
            await self._answer_all(reader, writer)
        except WireError as error:
            logger.warning("a client is disconnected, it sent %s", error)
        except ConnectionError:
            logger.debug("a client went away before it was answered")
        except asyncio.CancelledError:
            # The broker stops, and waits for no client to read its answer. To asyncio this is not to be an error.
            writer.transport.abort()
        except Exception:
            logger.exception("a client is disconnected, its request could not be answered")
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (question := await wire.receive(reader)) is not None:
            answer = await self._api.answer(question)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
