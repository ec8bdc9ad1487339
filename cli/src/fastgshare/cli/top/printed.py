"""The picture of a platform as plain lines, for pipes and for terminals that are not to be taken over."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastgshare.cli.top import figures
from fastgshare.cli.top.columns import BAD_STYLE, decision_line, fitting, functions_cells
from fastgshare.cli.top.marks import Marks
from fastgshare.cli.top.picture import caption, draw, title
from fastgshare.shared.overview.view import PlatformView

PICTURE_COLUMNS = 100
PICTURE_ROWS = 8
DECISIONS_SHOWN = 12
SERVICES = ("gateway", "scheduler", "profiler", "node_manager")


def show(console: Console, view: PlatformView, marks: Marks, url: str) -> None:
    """Print devices, functions and the newest decisions."""
    console.print(summary(view, url))
    for device in view.devices:
        console.print()
        console.print(Text(title(device), "bold" if device.is_healthy else BAD_STYLE), Text(caption(device), "dim"))
        for line in draw(device, min(PICTURE_COLUMNS, console.width), PICTURE_ROWS, marks):
            console.print(line, end="\n")
    console.print()
    if view.functions:
        columns = fitting(console.width)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("  function", *(column.heading for column in columns)):
            table.add_column(heading)
        for cells in functions_cells(view.functions, columns, marks):
            table.add_row(*cells)
        console.print(table)
    else:
        console.print("nothing is deployed: `fastgshare deploy FILE.yaml`", highlight=False)
    for function in view.functions:
        for reason in function.reasons:
            console.print(Text(f"{function.function}: {reason}", BAD_STYLE))
    if view.decisions:
        console.print()
    for decision in view.decisions[:DECISIONS_SHOWN]:
        console.print(decision_line(decision, marks, view.at_us))


def summary(view: PlatformView, url: str, trouble: Sequence[str] = ()) -> Text:
    """Who is there, in a line: first what is amiss, for the line may be cut."""
    missing = [name for name in SERVICES if name not in {service.service for service in view.services}]
    amiss = [*trouble, *([f"not heard: {', '.join(missing)}"] if missing else [])]
    counted = (
        (len(view.services), "service"),
        (len(view.devices), "device"),
        (len(view.functions), "function"),
    )
    there = "  ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted)
    text = Text.assemble(("FaST-GShare", "bold"), (f"  {figures.clock(view.at_us)}", "dim"))
    for what in amiss:
        text.append(f"  {what}", BAD_STYLE)
    text.append(f"  {there}  {url}")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
