"""The ACLs of ``docs/security.md``: what its commands say, and a Kafka told so."""

import asyncio
import os
import re
import subprocess
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from jabba.kafka.acls import AclRule, Operation

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
_STUB = "#!/bin/sh\nprintf '%s ' \"$@\"\necho\n"
_OPERATIONS = {one.title: one for one in Operation}
_KINDS = {"topic": 2, "group": 3}
_LITERAL, _ALLOW = 3, 3


def user_of(process: str) -> str:
    """The user whom the commands name for a process."""
    return process.replace(" ", "-")


def granted_by_commands(prefix: str) -> dict[str, set[AclRule]]:
    """Run the page's commands with a tool that only prints, and answer by user what they allow."""
    (block,) = re.findall(r"```sh\n([^`]*kafka-acls\.sh[^`]*)```", PAGE.read_text())
    with tempfile.TemporaryDirectory() as directory:
        tool = Path(directory, "kafka-acls.sh")
        tool.write_text(_STUB)
        tool.chmod(0o755)
        environment = {"PATH": f"{directory}:{os.environ['PATH']}", "JABBA_PREFIX": prefix}
        done = subprocess.run(["sh", "-eu"], input=block, env=environment, capture_output=True, text=True, check=True)
    parser = ArgumentParser(allow_abbrev=False)
    for name in ("--bootstrap-server", "--command-config", "--allow-principal", "--operation"):
        parser.add_argument(name, required=True)
    parser.add_argument("--add", action="store_true", required=True)
    for kind in _KINDS:
        parser.add_argument(f"--{kind}", action="append", default=[])
    granted: dict[str, set[AclRule]] = {}
    for line in done.stdout.splitlines():
        given = parser.parse_args(line.split())
        of_user = granted.setdefault(given.allow_principal.removeprefix("User:"), set())
        operation = _OPERATIONS[given.operation]
        of_user |= {AclRule(operation, "topic", name) for name in given.topic}
        of_user |= {AclRule(operation, "group", name) for name in given.group}
    return granted


async def allow(bootstrap: str, granted: Mapping[str, Iterable[AclRule]]) -> None:
    """Let each user do this, beside what it may do already."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        acls = [
            CreateAclsRequest(_KINDS[kind], name, _LITERAL, f"User:{user}", "*", operation, _ALLOW)
            for user, rights in granted.items()
            for operation, kind, name in rights
        ]
        for answer in await asyncio.gather(*map(admin._send_request, acls)):
            assert answer.creation_responses[0][0] == 0, answer
    finally:
        await admin.close()
