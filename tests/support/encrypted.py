"""A PostgreSQL that takes encrypted connections only: the embedded one knows no TLS, so this stands before it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

_SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"


@asynccontextmanager
async def encrypted(dsn: str, certificate: Path) -> AsyncIterator[str]:
    """Return the URL of the same database behind TLS, with the certificate and key in ``certificate``."""
    real = urlsplit(dsn)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever does not trust the certificate is gone in the middle of anything.
        with suppress(OSError, EOFError):
            assert await reader.readexactly(len(_SSL_REQUEST)) == _SSL_REQUEST, "a client that asked for no TLS"
            writer.write(b"S")
            await writer.start_tls(context)
            to_server, from_server = await asyncio.open_connection(real.hostname, real.port)
            await asyncio.gather(_pass_on(reader, from_server), _pass_on(to_server, writer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield real._replace(netloc=f"{real.username}:{real.password}@127.0.0.1:{port}").geturl()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65536):
        writer.write(some)
        await writer.drain()
    writer.close()
