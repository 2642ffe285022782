"""`pocket completion`: the shell completes words, options, members and devices."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes your shell complete this command.

    \b
    Examples:
      source <(pocket completion bash)                    in this shell
      pocket completion bash >> ~/.bashrc                 in all new ones
      pocket completion zsh > ~/.zfunc/_pocket
      pocket completion fish > ~/.config/fish/completions/pocket.fish
    """
    completer = get_completion_class(shell)
    if completer is None:
        raise click.ClickException(f"there is no completion for {shell}")
    made = completer(context.find_root().command, {}, "pocket", "_POCKET_COMPLETE")
    click.echo(ShellComplete.source(made))
