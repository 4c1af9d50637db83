"""The command line: parse, call, print.

Every import that costs time stands inside the command that needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from cadenza_remix.cli import engines  # noqa: F401  (adds its command to those of models)
from cadenza_remix.cli.data import data
from cadenza_remix.cli.jobs import demo, enhance
from cadenza_remix.cli.listening import listen
from cadenza_remix.cli.models import models
from cadenza_remix.cli.reporting import report
from cadenza_remix.cli.runs import run, shard
from cadenza_remix.cli.scoring import score
from cadenza_remix.cli.separating import separate
from cadenza_remix.cli.slurm import slurm
from cadenza_remix.cli.slurm_state import logs, status
from cadenza_remix.cli.submission import submission
from cadenza_remix.cli.training import train
from cadenza_remix.console import exit_status, print_error, tell

app = typer.Typer(
    name="cadenza-remix",
    help="Demix music, process it for a listener's audiograms, remix it, and score it as the Cadenza Challenge does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(enhance)
app.command()(report)
app.command()(run)
app.command()(score)
app.command()(separate)
app.command()(train)
app.add_typer(data, name="data")
app.add_typer(listen, name="listen")
app.add_typer(models, name="models")
app.add_typer(shard, name="shard")
app.add_typer(slurm, name="slurm")
app.add_typer(submission, name="submission")
slurm.command()(status)
slurm.command()(logs)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from importlib.metadata import version as installed_version

        tell(f"cadenza-remix {installed_version('cadenza-remix')}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave: 0 when all went well, 2 for bad input, 130 when interrupted."""
    sys.exit(exit_status(lambda: _run(arguments)))


def _run(arguments: Sequence[str] | None) -> object:
    try:
        return app(args=arguments, prog_name="cadenza-remix", standalone_mode=False)
    except typer.Abort:  # how Typer passes on an interruption
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a command group alone: its help is the answer
            typer.echo(message)
        else:
            print_error(" ".join(message.split()) + " (see --help)")
        return 2
