"""The report as text: one page in HTML with its pictures inside, and the same in Markdown beside the pictures. Pure."""

import base64
import html as escaping
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fastgshare.shared.simulated import FunctionFigures, Simulated
from fastgshare.simulator.core.outcome import Decided, Outcome
from fastgshare.simulator.core.scenario.building import patience_s_of, stretch_of
from fastgshare.simulator.core.scenario.definition import Scenario

MISSING = "No pictures: they need matplotlib, which is not installed (`pip install 'fastgshare-simulator[plot]'`)."
MAX_DECISIONS = 200
STYLE = """body{font:15px/1.45 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}
td.text,th.text{text-align:left}img{max-width:100%;display:block;margin:1.5em 0}
details{margin:1em 0}.miss{color:#a33c00;font-weight:600}"""

NOTHING = "\u2013"
USE = (
    "Shares are of what devices had while anything was placed on them: SM-time promised and at work (a batch counts "
    "with all SMs of its replica), and the time in which anything ran, on however few SMs, which is what a GPU's "
    "driver calls utilization."
)
ANSWERS = (
    "Latencies are of answers: refused and failed requests have none, and callers wait no longer than the head says. A "
    "cold start is a request that waited for a function's first replica."
)

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Content:
    """What the pages are made of; `pictures` are file names."""

    scenario: Scenario
    outcomes: Mapping[str, Outcome]
    figures: Sequence[Simulated]
    notes: Sequence[str]
    pictures: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table with a heading: the first row names the columns; `rest` is what was left out, in words."""

    title: str
    rows: Rows
    rest: str = ""


def markdown(content: Content) -> str:
    """The page with links to the pictures."""
    lines = [f"# {content.scenario.name}", "", *_head(content), ""]
    for table in _tables(content):
        lines += [f"## {table.title}", "", *_markdown_rows(table.rows), ""]
        lines += [table.rest, ""] if table.rest else []
    lines += ["## Pictures", ""]
    lines += [f"![{name}]({name})\n" for name in content.pictures] or [MISSING]
    for table in _decisions(content):
        lines += [f"## {table.title}", "", *_markdown_rows(table.rows), ""]
        lines += [table.rest, ""] if table.rest else []
    return "\n".join(lines).rstrip() + "\n"


def html(content: Content, pictures: Mapping[str, bytes]) -> str:
    """The page in one file."""
    title = escaping.escape(content.scenario.name)
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{title}</h1>")
    parts += [f"<p>{_inline(line)}</p>" for line in _head(content) if line]
    for table in _tables(content):
        rest = f"<p>{escaping.escape(table.rest)}</p>" if table.rest else ""
        parts.append(f"<h2>{escaping.escape(table.title)}</h2>{_html_rows(table.rows)}{rest}")
    for name, png in pictures.items():
        parts.append(f'<img alt="{name}" src="data:image/png;base64,{base64.b64encode(png).decode()}">')
    if not pictures:
        parts.append(f"<p>{_inline(MISSING)}</p>")
    for table in _decisions(content):
        rest = f"<p>{escaping.escape(table.rest)}</p>" if table.rest else ""
        parts.append(
            f"<details><summary>{escaping.escape(table.title)}</summary>{_html_rows(table.rows)}{rest}</details>"
        )
    return "\n".join(parts) + "</html>\n"


def _head(content: Content) -> Iterator[str]:
    scenario = content.scenario
    first = next(iter(content.outcomes.values()))
    if scenario.description:
        yield " ".join(scenario.description.split())
        yield ""
    kinds = ", ".join(f"{group.count} {group.gpu or group.kind}" for group in scenario.groups)
    requests = content.figures[0].requests
    yield f"Simulated: {first.duration_us / 1e6:g} s on {kinds}, {requests:,} requests, seed {scenario.seed}."
    yield ""
    yield _model_line(scenario)
    for note in content.notes:
        yield ""
        yield f"**Note:** {note}"


def _model_line(scenario: Scenario) -> str:
    """What is assumed of neighbours, and how long callers wait."""
    stretch = stretch_of(scenario)
    told = f"up to {stretch / 10:g} % longer" if stretch else "no longer"
    waits = ", ".join(f"{function.name} {patience_s_of(function) * 1000:g} ms" for function in scenario.functions[:8])
    more = f" and {len(scenario.functions) - 8} more" if len(scenario.functions) > 8 else ""
    return (
        f"Beside busy neighbours on its device a batch takes {told} (`stretch_permille`). Callers wait: {waits}{more}."
    )


def _tables(content: Content) -> Iterator[Table]:
    head = (
        "policy",
        "most devices",
        "device-seconds",
        "late, refused or failed",
        "promised",
        "at work",
        "anything ran",
        "decisions",
    )
    rows = [
        (
            each.policy,
            str(each.most_devices),
            f"{each.device_seconds:,.0f}",
            f"{each.late_share:.2%}",
            f"{each.promised:.0%}",
            f"{each.busy:.0%}",
            f"{each.running:.0%}",
            str(each.decisions),
        )
        for each in content.figures
    ]
    yield Table("Policies", [head, *rows], USE)
    for each in content.figures:
        yield Table(f"Functions under {each.policy}", [FUNCTION_HEAD, *_function_rows(each)], ANSWERS)


FUNCTION_HEAD = (
    "function",
    "objective",
    "requests",
    "in time",
    "late",
    "refused",
    "failed",
    "p50 of answers, ms",
    "p99 of answers, ms",
    "cold starts (longest, ms)",
    "most replicas",
    "objective met",
)


def _function_rows(simulated: Simulated) -> Iterator[Sequence[str]]:
    for each in simulated.functions:
        yield (
            each.function,
            f"p{each.slo_percentile:g} in {each.slo_ms:g} ms",
            f"{each.requests:,}",
            *(
                f"{value:.2%}" if each.requests else NOTHING
                for value in (each.attainment, each.late, each.refused, each.failed)
            ),
            _ms(each.p50_ms),
            _ms(each.p99_ms),
            f"{each.cold_starts} ({_ms(each.cold_start_ms)})" if each.cold_starts else "0",
            str(each.most_replicas),
            _met(each),
        )


def _ms(value: float | None) -> str:
    return f"{value:.1f}" if value is not None else NOTHING


def _met(each: FunctionFigures) -> str:
    if each.infeasible:
        return f"no: {each.infeasible}"
    if not each.requests:
        return NOTHING
    return "yes" if each.is_met else "no"


def _decisions(content: Content) -> Iterator[Table]:
    for policy, outcome in content.outcomes.items():
        shown = outcome.decisions[:MAX_DECISIONS]
        rows = [("at s", "what", "function", "reason"), *(_decision(each) for each in shown)]
        more = len(outcome.decisions) - len(shown)
        rest = f"And {more} more: outcome-{policy}.json has all of them." if more else ""
        yield Table(f"Decisions under {policy} ({len(outcome.decisions)})", rows, rest)


def _decision(decided: Decided) -> Sequence[str]:
    return (f"{decided.at_us / 1e6:.2f}", decided.kind, str(decided.function), decided.text)


def _markdown_rows(rows: Rows) -> Iterator[str]:
    for nth, row in enumerate(rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if nth == 0:
            yield "|" + "---|" * len(row)


def _html_rows(rows: Rows) -> str:
    is_text = [
        any(not cell[:1].isdigit() and cell != NOTHING for cell in column) for column in zip(*rows[1:], strict=True)
    ]
    is_text = is_text or [True] * len(rows[0])
    head = "".join(_cell("th", *pair) for pair in zip(rows[0], is_text, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", *pair) for pair in zip(row, is_text, strict=True)) + "</tr>" for row in rows[1:]
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(tag: str, cell: str, is_text: bool) -> str:
    """Words stand left and numbers right, heads like what is below them."""
    kinds = ["text"] * is_text + ["miss"] * (tag == "td" and (cell == "no" or cell.startswith("no:")))
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f"<{tag}{kind}>{escaping.escape(cell)}</{tag}>"


def _inline(text: str) -> str:
    """Bold and code, the only marks that the head uses."""
    escaped = escaping.escape(text, quote=False)
    for mark, tag in (("**", "b"), ("`", "code")):
        parts = escaped.split(mark)
        escaped = "".join(part if nth % 2 == 0 else f"<{tag}>{part}</{tag}>" for nth, part in enumerate(parts))
    return escaped
