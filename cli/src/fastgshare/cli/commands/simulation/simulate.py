"""`fastgshare simulate`."""

from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.commands.simulation.process import told
from fastgshare.cli.commands.simulation.showing import functions_table, listen, policies_table, reasons
from fastgshare.cli.consoles import table_console
from fastgshare.cli.running import complain, reported, say

REPORTS = Path("reports")


def simulate(
    scenario: Annotated[Path, typer.Argument(help="A YAML file; examples/scenarios has some.")],
    policy: Annotated[
        list[str] | None, typer.Option(help="Instead of the scenario's policies; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes; default: reports/<scenario>.")] = None,
    devices: Annotated[int | None, typer.Option(help="This many devices instead of the scenario's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed: other arrivals of the same kind.")] = None,
    huge: Annotated[bool, typer.Option("--huge", help="Also more requests than half an hour takes.")] = False,
) -> None:
    """Simulate a fleet under a load: the platform's own decisions over virtual time, on emulated devices."""
    directory = out if out is not None else REPORTS / scenario.stem
    words = ["run", str(scenario), "--out", str(directory)]
    words += [word for name in policy or () for word in ("--policy", name)]
    words += ["--devices", str(devices)] if devices is not None else []
    words += ["--seed", str(seed)] if seed is not None else []
    words += ["--huge"] if huge else []
    with reported():
        heard = listen(told(words))
        console = table_console()
        console.print(policies_table(heard.simulated))
        for figures in heard.simulated:
            console.print(functions_table(figures))
        for line in reasons(heard.simulated):
            complain(line)
        for path in heard.wrote:
            say(f"report: {path}")
