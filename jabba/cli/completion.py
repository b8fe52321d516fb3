"""``jabba completion``: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
        eval "$(jabba completion bash)"                                      in ~/.bashrc
        eval "$(jabba completion zsh)"                                       in ~/.zshrc
        jabba completion fish > ~/.config/fish/completions/jabba.fish
    """  # noqa: D301 — click wants the very character
    root = context.find_root()
    adapter = get_completion_class(shell)
    if adapter is None:  # pragma: no cover — click knows all three
        raise click.UsageError(f"click cannot complete in {shell}")
    click.echo(adapter(root.command, {}, "jabba", "_JABBA_COMPLETE").source())
