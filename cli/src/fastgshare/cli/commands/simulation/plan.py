"""`fastgshare plan`."""

from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.commands.simulation.process import told
from fastgshare.cli.commands.simulation.showing import answer, listen
from fastgshare.cli.running import EXIT_FAILED, reported, say


def plan(
    file: Annotated[Path, typer.Argument(help="A scenario in YAML, or a trace in CSV: t_s, and rps and function.")],
    policy: Annotated[
        list[str] | None, typer.Option(help="Instead of the scenario's policies; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write a report on the answer into this directory.")] = None,
    most: Annotated[int | None, typer.Option(help="Devices to try at most.")] = None,
    warmup: Annotated[float | None, typer.Option(help="Seconds at the start that do not count.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed: other arrivals of the same kind.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="For a trace, needed: a shipped curve such as v100/resnet50, or a table in .json."),
    ] = None,
    slo_ms: Annotated[float | None, typer.Option(help="For a trace: the objective.")] = None,
    slo_percentile: Annotated[float | None, typer.Option(help="For a trace: the objective's percentile.")] = None,
    max_batch: Annotated[int | None, typer.Option(help="For a trace: the largest batch.")] = None,
    gpu: Annotated[str | None, typer.Option(help="For a trace: the kind of device, v100 or h200.")] = None,
    huge: Annotated[bool, typer.Option("--huge", help="Also more requests than half an hour takes.")] = False,
) -> None:
    """Find the fewest devices with which every function of a scenario, or of a trace, meets its objective.

    Exit status 0: found under every policy. 1: not under one of them, or the simulator failed. 2: it makes no sense.
    """
    given = {
        "--out": out,
        "--most": most,
        "--warmup": warmup,
        "--seed": seed,
        "--model": model,
        "--slo-ms": slo_ms,
        "--slo-percentile": slo_percentile,
        "--max-batch": max_batch,
        "--gpu": gpu,
    }
    words = ["plan", str(file), *(word for name in policy or () for word in ("--policy", name))]
    words += [word for option, value in given.items() if value is not None for word in (option, str(value))]
    words += ["--huge"] if huge else []
    with reported():
        heard = listen(told(words))
        for planned in heard.planned:
            print(answer(planned), flush=True)
        for path in heard.wrote:
            say(f"report: {path}")
    if not all(planned.devices for planned in heard.planned):
        raise typer.Exit(EXIT_FAILED)
