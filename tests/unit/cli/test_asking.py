"""Commands whose URL leads to something that is not a Jabba, or to nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from jabba.cli.commands import jabba
from jabba.local.ports import free_port

ID = "0190f000-0000-7000-8000-000000000000"
COMMANDS = [["get", "x"], ["search"], ["search", "--all"], ["tasks", ID], ["stats"], ["submit", "-"], ["watch", ID]]


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Serve 200 and the same body to every request; return the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 — the name that http.server looks for

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def errors_of(arguments: list[str], url: str) -> tuple[int, list[str]]:
    document = '{"type": "t", "tasks": [["local", "m", "f"]]}'
    done = CliRunner().invoke(jabba, [*arguments, "--url", url], input=document)
    return done.exit_code, done.stderr.splitlines()


@pytest.mark.parametrize("body", [b'{"hello": 1}', b"[]", b"null", b'{"data": [1]}', b'{"data": {"id": 3}}', b"<html>"])
def test_an_answer_of_something_else_is_one_sentence(body: bytes) -> None:
    with answering(body) as url:
        for arguments in COMMANDS:
            code, lines = errors_of(arguments, url)
            assert (code, len(lines)) == (2, 1), (arguments, lines)
            assert lines[0].startswith("Error: ")
            assert "unexpected" not in lines[0]


def test_where_nothing_listens_the_error_says_what_to_start_and_what_to_set() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid"):
        code, lines = errors_of(["get", "x"], url)
        assert (code, len(lines)) == (3, 1)
        assert lines[0].startswith(f"Error: no web process listens at {url} (")
        assert "ssl:default" not in lines[0]
        assert "Connect call" not in lines[0]
        assert all(word in lines[0] for word in ("`jabba up`", "--url", "JABBA_URL", "JABBA_DATA"))


def test_where_waiting_does_not_help_no_command_waits() -> None:
    with answering(b"{}") as url:
        for arguments in [*COMMANDS, ["stats", "--watch"], ["submit", "-", "--wait"]]:
            code, lines = errors_of(arguments, url.replace("http:", "https:"))
            assert (code, len(lines)) == (3, 1), (arguments, lines)
            assert "cannot be asked" in lines[0]
