"""Where a request's time went, stage by stage: the one layout of spans and of pictures of a trace.

`admit` (decide) → `hold` (wait for a replica) → `route` (once for each attempt: on its way to a worker) → on the worker
`handler`, `queue`, `token_wait`, `execute`, `handler` → `reply`. Stages never reach out of what contains them, whatever
the clocks of two hosts say.
"""

import msgspec

from fastgshare.shared.messages import RequestTrace, Timing

ADMIT = "admit"
HOLD = "hold"
ROUTE = "route"
PROCESS = "process"
QUEUE = "queue"
TOKEN_WAIT = "token_wait"
HANDLER = "handler"
EXECUTE = "execute"
REPLY = "reply"
PREPROCESS = "preprocess"
POSTPROCESS = "postprocess"


class Stage(msgspec.Struct, frozen=True):
    """A part of a request; `attempt` counts from 1 where it belongs to one, `is_lost` if that came to nothing.

    `part` tells which of the handler's.
    """

    name: str
    start_us: int
    end_us: int
    attempt: int = 0
    is_lost: bool = False
    part: str = ""


def stages(trace: RequestTrace) -> list[Stage]:
    """The stages of a request in the order in which they began; those on the worker as well, if it said anything."""
    begin_us, end_us = trace.arrived_us, trace.end_us
    sent = [attempt.sent_us for attempt in trace.attempts if attempt.sent_us]
    admitted_us = min([us for us in (trace.held_us, *sent) if us] or [end_us])
    found = [Stage(ADMIT, begin_us, admitted_us)]
    if trace.held_us:
        until_us = next((us for us in sent if us >= trace.held_us), end_us)
        found.append(Stage(HOLD, trace.held_us, until_us))
    last = len(trace.attempts)
    worker = process(trace)
    for number, attempt in enumerate(trace.attempts, start=1):
        if attempt.lost_us or number < last:
            lost_us = attempt.lost_us or end_us
            found.append(Stage(ROUTE, attempt.sent_us, lost_us, number, True))
        else:
            arrived_us = worker.start_us if worker is not None else end_us
            found.append(Stage(ROUTE, attempt.sent_us, arrived_us, number, worker is None))
    if worker is not None and trace.timing is not None:
        found += worker_stages(worker.start_us, worker.end_us, trace.timing)
        found.append(Stage(REPLY, worker.end_us, end_us))
    ordered = sorted(found, key=lambda stage: stage.start_us)
    return [within(stage, begin_us, end_us) for stage in ordered]


def process(trace: RequestTrace) -> Stage | None:
    """When the request was on its worker, as the worker said; else in the middle of what is left around its time."""
    timing = trace.timing
    if timing is None or not trace.attempts:
        return None
    number = len(trace.attempts)
    end_us = trace.end_us
    sent_us = min(max(trace.attempts[-1].sent_us, trace.arrived_us), end_us)
    if timing.arrived_us:
        return within(Stage(PROCESS, timing.arrived_us, timing.end_us, number), sent_us, end_us)
    busy_us = timing.queue_us + timing.token_us + timing.execute_us + timing.handler_us
    if not busy_us:
        return None
    spare_us = max(end_us - sent_us - busy_us, 0) // 2
    return within(Stage(PROCESS, sent_us + spare_us, sent_us + spare_us + busy_us, number), sent_us, end_us)


def worker_stages(arrived_us: int, end_us: int, timing: Timing) -> list[Stage]:
    """What happened on the worker between those two times; what took no time at all is left out."""
    after_us = timing.handler_us - timing.before_us
    found: list[Stage] = []
    at_us = arrived_us
    parts = (
        (HANDLER, timing.before_us, PREPROCESS),
        (QUEUE, timing.queue_us, ""),
        (TOKEN_WAIT, timing.token_us, ""),
        (EXECUTE, timing.execute_us, ""),
    )
    for name, took_us, part in parts:
        if took_us > 0:
            found.append(Stage(name, at_us, at_us + took_us, part=part))
        at_us += took_us
    if timing.first_us:  # it made parts for as long as there were any
        found.append(Stage(HANDLER, at_us, end_us, part=POSTPROCESS))
    elif after_us > 0:
        found.append(Stage(HANDLER, end_us - after_us, end_us, part=POSTPROCESS))
    return [within(stage, arrived_us, end_us) for stage in found]


def within(stage: Stage, begin_us: int, end_us: int) -> Stage:
    """The stage, cut to what contains it."""
    if begin_us <= stage.start_us <= stage.end_us <= end_us:
        return stage
    start_us = min(max(stage.start_us, begin_us), end_us)
    return msgspec.structs.replace(stage, start_us=start_us, end_us=max(min(stage.end_us, end_us), start_us))
