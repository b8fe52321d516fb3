"""``callee``: tests of services that Jabba calls."""

import asyncio
from collections import Counter

import click

from jabba.callbacks.services import read_secret
from jabba.callbacks.signature import SignatureError
from jabba.callee.contract import Contract, Result
from jabba.cli import console, options
from jabba.cli.errors import FAILED

_MARKS = {"passed": "[green]passed [/]", "failed": "[bold red]failed [/]", "skipped": "[yellow]skipped[/]"}


@click.group
def callee() -> None:
    """Test services that Jabba calls over HTTP."""


@callee.command
@click.argument("url")
@click.option("--secret", required=True, help="The service's secret: whsec_…, or file:PATH.")
@click.option("--service", required=True, help="The service's own name, as in the services file.")
@options.json
@click.pass_context
def check(context: click.Context, url: str, secret: str, service: str, *, as_json: bool) -> None:
    """Test a callee, in whatever language it is, against the protocol.

    It is called some fifty times, with functions jabba.check.echo, fail, busy and stream, which it may offer for that;
    what needs them is skipped otherwise (docs/callee.md). Exit code 1 if a check failed, 3 if nothing answers.
    """
    try:
        contract = Contract(url, read_secret(secret, {}), service)
    except (OSError, ValueError, SignatureError) as error:
        raise click.BadParameter(str(error), param_hint="--secret") from error
    results = asyncio.run(_run(contract, shown=not as_json))
    counts = Counter(one.outcome for one in results)
    if as_json:
        console.as_json([one._asdict() for one in results])
    else:
        console.line(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    if counts["failed"]:
        context.exit(FAILED)


async def _run(contract: Contract, *, shown: bool) -> list[Result]:
    results = []
    async for one in contract.run():
        results.append(one)
        if shown:
            detail = f": {console.text(one.detail)}" if one.detail else ""
            console.out.print(f"{_MARKS[one.outcome]}  {console.text(one.name)}{detail}", soft_wrap=True)
    return results
