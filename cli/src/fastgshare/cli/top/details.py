"""One function, and one device, in full: what a row or a picture has no room for. Pure."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fastgshare.cli.top import figures
from fastgshare.cli.top.columns import BAD_STYLE, KEPT, MISSED, chosen_decisions, decision_line
from fastgshare.cli.top.marks import Marks
from fastgshare.cli.top.picture import RUNS, caption, draw
from fastgshare.shared.overview.view import WINDOWS_S, Decision, FunctionView, PlatformView, ReplicaView

DECISIONS_SHOWN = 30
WIDE_COLUMNS = 100


def function_page(view: PlatformView, name: str, marks: Marks, width: int) -> RenderableType:
    """Everything about one function."""
    function = next((one for one in view.functions if one.function == name), None)
    if function is None:
        return Text(f"{name} is not deployed any more", BAD_STYLE)
    replicas = [one for device in view.devices for one in device.replicas if one.function == name]
    told = [decision_line(one, marks, view.at_us) for one in chosen_decisions(view, "", name)[:DECISIONS_SHOWN]]
    return Group(
        *_beside(_facts(function), _windows(function), width),
        Text(),
        *(Text(f"{MISSED} {reason}", BAD_STYLE) for reason in function.reasons),
        *_lines(function, width),
        Text(),
        _replicas(replicas, width),
        Text(),
        Text("decisions", "bold"),
        *(told or [Text("none of late", "dim")]),
    )


def device_page(view: PlatformView, name: str, marks: Marks, width: int, height: int) -> RenderableType:
    """Everything about one device, its picture as large as there is room for."""
    device = next((one for one in view.devices if one.device == name), None)
    if device is None:
        return Text(f"{name} is not heard any more", BAD_STYLE)
    rows = max(5, min(24, height - len(device.replicas) - 8))
    trouble = [] if device.is_healthy else [Text(f"{MISSED} {device.reason or 'not healthy'}", BAD_STYLE)]
    gauges = "  ".join(f"{gauge} {value:g}" for gauge, value in sorted(device.gauges.items()))
    return Group(
        Text(f"{device.kind} of {device.node}, {device.chunks} chunks; {caption(device)}"),
        *trouble,
        *([Text(gauges)] if gauges else []),
        Text.assemble("busy  ", figures.spark(device.busy_spark, max(10, width - 8), 1.0)),
        Text("chunks of SMs from left to right, their time from below", "dim"),
        *_with_time(draw(device, width - 6, rows, marks)),
        Text(),
        _replicas(device.replicas, width, marks),
    )


def decision_page(decision: Decision) -> RenderableType:
    """The whole of a decision."""
    about = f"{decision.function}: " if decision.function else ""
    return Group(
        Text(f"{figures.clock(decision.at_us)}, told by {decision.source}", "dim"), Text(about + decision.text)
    )


def _with_time(lines: list[Text]) -> Iterable[Text]:
    """A scale beside them: shares of time."""
    for row, line in enumerate(lines):
        top = 1 - row / len(lines)
        scale = f"{top:>4.0%} " if row in (0, len(lines) // 2) else "     "
        yield Text.assemble((scale, "dim"), line, no_wrap=True, end="\n")


def _beside(left: RenderableType, right: RenderableType, width: int) -> list[RenderableType]:
    """Two things beside each other where there is room for that, else below each other."""
    if width < WIDE_COLUMNS:
        return [left, Text(), right]
    grid = Table.grid(padding=(0, 6))
    grid.add_row(left, right)
    return [grid]


def _facts(function: FunctionView) -> RenderableType:
    tables = ", ".join(f"{kind} {state}" for kind, state in function.profiles.items()) or "none"
    refused = ", ".join(f"{count} {code}" for code, count in function.refused.items()) or "none"
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    least, most = function.wanted_min, function.wanted_max
    serving = f"generation {function.serving}" if function.serving else "nothing"
    for name, text in (
        ("objective", figures.objective(function)),
        ("generation", f"{function.generation}, serving: {serving}"),
        (
            "replicas",
            f"{function.ready} ready of {least if least == most else f'{least} to {most}'}, {function.policy}",
        ),
        ("in hand", f"{function.outstanding} dispatched, {function.held} held"),
        ("refused", refused),
        ("profiles", tables),
        ("model", function.model_digest[:16]),
    ):
        facts.add_row(name, text)
    return facts


def _windows(function: FunctionView) -> RenderableType:
    table = _table("window", "met the objective", "error budget burns")
    for window in WINDOWS_S:
        kept = figures.is_kept(function, window)
        sign = "" if kept is None else f"{KEPT} " if kept else f"{MISSED} "
        met = Text(sign + figures.share(function.attainment.get(window)), "" if kept is not False else BAD_STYLE)
        table.add_row(window, met, figures.times(function.burn.get(window)))
    return table


def _lines(function: FunctionView, width: int) -> list[Text]:
    room = max(10, min(60, width - 34))
    rates = f"{figures.rate(function.rate)}/s, {figures.rate(function.goodput)}/s in time"
    latency = f"p50 {figures.ms(function.p50_ms)} ms, p99 {figures.ms(function.p99_ms)} ms"
    return [
        Text.assemble("requests  ", figures.spark(function.rate_spark, room), f"  {rates}"),
        Text.assemble("missed    ", (figures.spark(function.missed_spark, room), BAD_STYLE), f"  {latency}"),
    ]


def _replicas(replicas: Sequence[ReplicaView], width: int, marks: Marks | None = None) -> RenderableType:
    """A line a replica, and what there is to say about it; as many columns as there is room for."""
    table = _table("replica", "state", "chunks", "had", "promised", "at most", "waiting")
    if is_wide := width >= WIDE_COLUMNS:
        for heading in ("MiB", "restarts", "device"):
            table.add_column(heading)
    for one in replicas:
        mark = marks.of(one.function) if marks is not None else None
        letter = Text.assemble((mark.letter, mark.style), " ") if mark is not None else Text()
        cells = (
            Text.assemble(letter, one.replica, f" {RUNS}" if one.is_running else ""),
            "on loan" if one.is_loan else one.state,
            ranges(one.chunks),
            figures.whole_percent(one.had),
            figures.whole_percent(one.quota_request),
            figures.whole_percent(one.quota_limit),
            str(one.depth),
        )
        table.add_row(*cells, *((_memory(one), str(one.restarts), one.device) if is_wide else ()))
    told = [
        Text(f"{one.replica}: {text}", style)
        for one in replicas
        for text, style in ((one.reason, BAD_STYLE), (one.note, "dim"))
        if text
    ]
    return Group(table if table.row_count else Text("no replicas", "dim"), *told)


def _memory(replica: ReplicaView) -> str:
    """Its own, and the weights it shares with others of its model."""
    return f"{replica.memory_mib:.0f}+{replica.weights_mib:.0f}"


def ranges(chunks: Iterable[int]) -> str:
    """`0-3,6` for 0, 1, 2, 3 and 6."""
    runs: list[list[int]] = []
    for chunk in chunks:
        if runs and chunk == runs[-1][1] + 1:
            runs[-1][1] = chunk
        else:
            runs.append([chunk, chunk])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
