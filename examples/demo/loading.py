"""The load stage: the sender, the picture of it, and the samples taken beside it."""

from collections.abc import Mapping, Sequence

import anyio
import msgspec

from examples.demo.books import Ledger
from examples.demo.doors import Door
from examples.demo.figures import Target
from examples.demo.first import places_of
from examples.demo.inputs import Example
from examples.demo.machine import CoreTime
from examples.demo.pace import Pace
from examples.demo.plan import PHASES, Arrival, spans_us
from examples.demo.rectangles import Moment, moment
from examples.demo.screen import LiveView, OnLoad, Screen
from examples.demo.sender import Sender
from examples.demo.tally import Outcome, Tally
from fastgshare.client import Client
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.units import ms_to_us, s_to_us, us_to_s

VIEW_EVERY_S = 0.5
LOOK_EVERY_S = 1.0
LEAD_IN_S = 0.5  # what came before is over by then, and the first request not late already


class Load(msgspec.Struct, frozen=True):
    """What the load left behind."""

    outcomes: list[Outcome]
    core_time: CoreTime
    stood_still_us: int
    moments: list[Moment]


async def run_load(
    client: Client,
    nats: Door,
    http: Door,
    examples: Mapping[str, Sequence[Example]],
    ledger: Ledger,
    targets: Sequence[Target],
    timetable: Sequence[Arrival],
    seconds: float,
    screen: Screen,
) -> Load:
    """Send the timetable; return when every request has ended."""
    tally = Tally({target.function: ms_to_us(target.objective_ms) for target in targets})
    pace = Pace(s_to_us(LEAD_IN_S))
    sender = Sender(nats, http, examples, tally, ledger, pace)
    core_time = CoreTime()
    places: dict[str, str] = {}
    moments: list[Moment] = []
    with screen.load() as show:
        async with anyio.create_task_group() as beside:
            beside.start_soon(core_time.sample, pace)
            beside.start_soon(_look_where, client, places, [target.function for target in targets], pace, moments)
            beside.start_soon(_show, show, tally, sender, places, targets, seconds, pace)
            await sender.run(timetable)
            beside.cancel_scope.cancel()
        show(_view(tally, sender, places, targets, seconds, pace))
    return Load(tally.outcomes, core_time, pace.stood_still_us, moments)


async def _show(
    show: OnLoad,
    tally: Tally,
    sender: Sender,
    places: dict[str, str],
    targets: Sequence[Target],
    seconds: float,
    pace: Pace,
) -> None:
    while True:
        await anyio.sleep(VIEW_EVERY_S)
        show(_view(tally, sender, places, targets, seconds, pace))


async def _look_where(
    client: Client, places: dict[str, str], functions: Sequence[str], pace: Pace, moments: list[Moment]
) -> None:
    """Keep `places` current, which chunks each function's replicas hold, and remember in `moments` what they hold."""
    while True:
        try:
            replicas = await client.replicas()
        except StorageUnavailable:
            replicas = []  # the table shows what was known
        else:
            moments.append(moment(pace.now_us(), replicas))
        nodes = {replica.node for replica in replicas}
        known_node = f"{nodes.pop()}-" if len(nodes) == 1 else ""  # where there is but one, its name tells nothing
        for function in functions:
            if found := places_of(function, replicas):
                chunks = ("+".join(chunk.removeprefix(known_node) for chunk in sorted(place)) for place in found)
                places[function] = ", ".join(chunks)
        await anyio.sleep(LOOK_EVERY_S)


def _view(
    tally: Tally, sender: Sender, places: dict[str, str], targets: Sequence[Target], seconds: float, pace: Pace
) -> LiveView:
    now_us = max(pace.now_us(), 0)
    spans = spans_us(PHASES, seconds)
    number = next((at for at, (_, end_us) in enumerate(spans) if now_us < end_us), len(spans) - 1)
    phase, (begin_us, end_us) = PHASES[number], spans[number]
    part = min((now_us - begin_us) / (end_us - begin_us), 1)
    return LiveView(
        elapsed_s=us_to_s(now_us),
        total_s=seconds,
        phase=phase.name,
        level=phase.begin + (phase.end - phase.begin) * part,
        rows=tally.live(now_us, sender.sent),
        objectives_ms={target.function: target.objective_ms for target in targets},
        places=places,
    )
