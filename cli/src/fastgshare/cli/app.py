"""The command line: which commands there are, and where each lives.

A command's module is imported when the command is run (or listed by `--help`), so that none pays for
another's imports.
"""

import importlib
import importlib.metadata
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

COMMANDS = {
    "up": "fastgshare.cli.up.command",
    "deploy": "fastgshare.cli.commands.deploy",
    "invoke": "fastgshare.cli.commands.invoke",
    "status": "fastgshare.cli.commands.status",
    "top": "fastgshare.cli.top.command",
    "update": "fastgshare.cli.commands.update",
    "scale": "fastgshare.cli.commands.scale",
    "delete": "fastgshare.cli.commands.delete",
    "logs": "fastgshare.cli.commands.logs",
    "bill": "fastgshare.cli.commands.bill",
    "profile": "fastgshare.cli.commands.profile.command",
    "trace": "fastgshare.cli.commands.trace",
    "journal": "fastgshare.cli.commands.journal",
    "simulate": "fastgshare.cli.commands.simulation.simulate",
    "plan": "fastgshare.cli.commands.simulation.plan",
}


class LazyCommands(TyperGroup):
    """The commands of the table: each a function of its own name in its module."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name, imported now; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        function = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        alone = typer.Typer(add_completion=False)
        alone.command(cmd_name)(function)
        return typer.main.get_command(alone)


app = typer.Typer(cls=LazyCommands, add_completion=False, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(importlib.metadata.version("fastgshare-cli"))
        raise typer.Exit


@app.callback()
def fastgshare(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Deploy deep-learning models as functions that share devices, and call them."""
