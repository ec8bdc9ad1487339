"""Scenarios of one device as text, and the transcripts of what came of them.

A scenario is read line by line; `#` begins a comment. Times are milliseconds.

    device 16 chunks, window 100            what it runs on
    0 join a on 0-7 with .5/1, batch 10     chunks, quota_request/quota_limit, expected time of a batch
    0 join l on 0-8 with loan/.5, batch 10  in the background: promised nothing
    0 join b on 8 with .2/.2, batch 10, idle, misses 1.5 .5     no work yet; what batches take of it, in turn
    5 work b 3                              three batches; without a number: work without end
    9 rest a                                its work is gone
    20 resize a on 0-3 with .3/.3
    30 leave a
    until 200                               or "until 200, from 180", or without single runs: "until 200, summary"
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastgshare.node_manager.core.history import Run
from fastgshare.node_manager.core.stage import Event, Join, Leave, Resize, Rest, Stage, Work, Workload
from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of, permille_of
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import US_PER_MS

FOLDER = Path(__file__).parent
SCENARIOS = sorted(FOLDER.glob("*.scenario"))

_DEVICE = re.compile(r"device (?P<chunks>\d+) chunks?, window (?P<window>\d+)")
_UNTIL = re.compile(r"until (?P<until>\d+)(, from (?P<shown>\d+))?(?P<summary>, summary)?")
_EVENT = re.compile(
    r"(?P<at>[\d.]+) (?P<verb>join|resize|leave|work|rest) (?P<replica>\w+)( (?P<batches>\d+))?"
    r"( on (?P<chunks_held>[\d,-]+) with (?P<request>[\d.]+|loan)/(?P<limit>[\d.]+))?"
    r"(, batch (?P<batch>[\d.]+))?(?P<idle>, idle)?(, misses (?P<misses>[\d. ]+))?"
)


@dataclass(slots=True)
class Scenario:
    """A device, events on it, and how long and closely to look."""

    chunks: int = 1
    window_us: int = 100 * US_PER_MS
    until_us: int = 0
    from_us: int = 0
    only_summary: bool = False
    events: list[tuple[int, Event]] = field(default_factory=list)


def read(text: str) -> Scenario:
    """Parse a scenario; raises ValueError with the line that cannot be read."""
    scenario = Scenario()
    for line in (line.split("#")[0].strip() for line in text.splitlines()):
        if device := _DEVICE.fullmatch(line):
            scenario.chunks, scenario.window_us = int(device["chunks"]), _us(device["window"])
        elif until := _UNTIL.fullmatch(line):
            scenario.until_us, scenario.only_summary = _us(until["until"]), bool(until["summary"])
            scenario.from_us = _us(until["shown"] or "0")
        elif event := _EVENT.fullmatch(line):
            scenario.events.append((_us(event["at"]), _event(event)))
        elif line:
            raise ValueError(f"cannot read {line!r}")
    return scenario


def transcript(scenario: Scenario) -> str:
    """What happened, one line an event or a run, and what everybody had in the end."""
    stage = Stage(scenario.chunks, scenario.window_us)
    for at_us, event in scenario.events:
        stage.at(at_us, event)
    history = stage.run_until(scenario.until_us)
    lines: list[tuple[int, str]] = []
    if not scenario.only_summary:
        lines += [(at_us, _told(event)) for at_us, event in scenario.events]
        lines += [(run.granted_us, _shown(run)) for run in history.runs]
        lines.sort(key=lambda line: line[0])
    shown = [f"{_ms(at_us):>8} {line}" for at_us, line in lines if at_us >= scenario.from_us]
    shown.append(f"until {_ms(scenario.until_us)}:")
    for replica in dict.fromkeys(event.replica for _, event in scenario.events):
        line = history.of(replica)
        share = line.device_us(0, scenario.until_us) / scenario.until_us
        waits_us = line.waits_us()
        shown.append(
            f"  {replica}: {share:.1%} in {len(line.runs)} batches, longest wait {_ms(max(waits_us, default=0))}"
        )
    used = history.chunk_us(0, scenario.until_us) / (scenario.chunks * scenario.until_us)
    return "\n".join([*shown, f"  chunks at work: {used:.1%}", ""])


def _event(found: re.Match[str]) -> Event:
    replica = ReplicaId(found["replica"])
    match found["verb"]:
        case "join":
            return Join(replica, _share(found), _workload(found))
        case "resize":
            return Resize(replica, _share(found))
        case "leave":
            return Leave(replica)
        case "work":
            return Work(replica, int(found["batches"]) if found["batches"] else None)
        case _:
            return Rest(replica)


def _share(found: re.Match[str]) -> Share:
    chunks: list[int] = []
    for part in found["chunks_held"].split(","):
        first, _, last = part.partition("-")
        chunks += range(int(first), int(last or first) + 1)
    request_permille = 0 if found["request"] == "loan" else permille_of(float(found["request"]))
    return Share(mask_of(tuple(chunks)), request_permille, permille_of(float(found["limit"])))


def _workload(found: re.Match[str]) -> Workload:
    batch_us = _us(found["batch"])
    return Workload(lambda _mask: batch_us, _misses(found["misses"] or "1"), is_backlogged=not found["idle"])


def _misses(text: str) -> Callable[[int], int]:
    factors = [permille_of(float(factor)) for factor in text.split()]
    return lambda number: factors[number % len(factors)]


def _told(event: Event) -> str:
    match event:
        case Join(replica, share):
            return f"{replica} joins on {_held(share)}"
        case Resize(replica, share):
            return f"{replica} now on {_held(share)}"
        case Leave(replica):
            return f"{replica} leaves"
        case Work(replica, batches):
            return f"{replica} has work" + (f" for {batches} batches" if batches else "")
        case Rest(replica):
            return f"{replica} has no more work"


def _shown(run: Run) -> str:
    out_of = "what it is owed" if run.by_debt else "spare time"
    return f"    {run.replica} runs {_ms(run.end_us - run.granted_us)} on {_chunks(run.mask)} out of {out_of}"


def _held(share: Share) -> str:
    request = "loan" if share.is_background else f"{share.request_permille / 1000:g}"
    return f"{_chunks(share.mask)} with {request}/{share.limit_permille / 1000:g}"


def _chunks(mask: int) -> str:
    chunks = [chunk for chunk in range(mask.bit_length()) if mask >> chunk & 1]
    is_range = len(chunks) > 1 and chunks[-1] - chunks[0] == len(chunks) - 1
    return f"{chunks[0]}-{chunks[-1]}" if is_range else ",".join(map(str, chunks))


def _us(text: str) -> int:
    return round(float(text) * US_PER_MS)


def _ms(time_us: int) -> str:
    return f"{time_us / US_PER_MS:.1f}"
