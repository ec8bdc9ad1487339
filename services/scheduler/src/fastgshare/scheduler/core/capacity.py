"""What one replica can be counted on for: requests a second on its guaranteed slice, within its objective.

From the table of its model: the best batch that keeps the objective, at the SMs it holds and `quota_request`, which is
the guarantee; time beyond it counts for nothing here. A table counts while it still grows: where its error is small,
what it says is as good as in the end, and whoever waits for the last point scales by guesswork meanwhile. While the
error is large, what replicas were seen to do is better, and without that the rough answer is better than none.
"""

from collections.abc import Hashable
from typing import Any

from fastgshare.scheduler.core import traffic
from fastgshare.scheduler.core.events import Device
from fastgshare.scheduler.core.liveness import serving_device
from fastgshare.scheduler.core.menu import P50, Menu, Option, measured_us, menu_of
from fastgshare.scheduler.core.records import FunctionState, KnownTable, Promise
from fastgshare.scheduler.core.settings import Settings
from fastgshare.scheduler.core.state import State
from fastgshare.shared import subjects
from fastgshare.shared.messages import FunctionSpec, Placement
from fastgshare.shared.tables import Reading, Table
from fastgshare.shared.units import ms_to_us

SURE_ERROR = 0.2
"""Up to here an error is what head-room is for."""

REMEMBERED, EACH = 256, 4
"""Answers that are kept for each table: so many, or so many for each function if that is more."""


def replica_rps(state: State, function: FunctionState, spec: FunctionSpec) -> float | None:
    """Requests a second per replica, or None where nothing is known yet."""
    known = [state.tables.get(subjects.profile_key(spec.model.digest, kind)) for kind in sorted(state.kinds)]
    promises = [(table, promise) for table in known if table is not None and (promise := _promise(state, table, spec))]
    sure = [promise.rps for table, promise in promises if table.is_complete or promise.error <= SURE_ERROR]
    if sure:
        return min(sure)
    observed = traffic.observed_rps(function.traffic)
    if observed is not None:
        return observed * spec.slice.quota_request
    return min((promise.rps for _, promise in promises), default=None)


def promised(table: Table, spec: FunctionSpec) -> Promise | None:
    """What the table promises for the function's slice; with no batch within the objective, the quickest one's."""
    held = spec.slice
    answers = [
        table.at(held.sm_partition, held.quota_request, batch) for batch in table.batches if batch <= spec.max_batch
    ]
    if not answers:
        return None
    within = [answer for answer in answers if _latency_us(answer, spec) <= ms_to_us(spec.slo_ms)]
    chosen = within or [min(answers, key=lambda answer: _latency_us(answer, spec))]
    best = max(chosen, key=lambda answer: answer.throughput_rps)
    return Promise(best.throughput_rps, best.throughput_error)


def _promise(state: State, known: KnownTable, spec: FunctionSpec) -> Promise | None:
    """Asked at every tick for every function, so each question is answered once for each version of the table."""
    held = spec.slice
    question = (held.sm_partition, held.quota_request, spec.max_batch, spec.slo_ms, spec.slo_percentile)
    if question not in known.promises:
        _remember(known.promises, state)
        known.promises[question] = promised(known.table, spec)
    return known.promises[question]


def menus_for(state: State, spec: FunctionSpec, settings: Settings) -> tuple[Menu, ...]:
    """The slices to choose from on each kind of device whose table can be counted on, those with most devices first.

    Of kinds with a device that can take replicas; where there is none, of all, so that nothing changes meanwhile.
    """
    found = (_menu(state, spec, kind, chunks, settings) for kind, chunks in widest(state).items())
    return tuple(menu for menu in found if menu is not None)


def menu_of_device(state: State, placement: Placement, spec: FunctionSpec, settings: Settings) -> Menu | None:
    """The menu of the kind of device that a replica is on; None: nothing is known of that kind, or of the device."""
    device = device_of(state, placement)
    if device is None:
        return None
    return _menu(state, spec, device.kind, widest(state).get(device.kind, device.chunks), settings)


def option_of(state: State, placement: Placement, own: Menu | None, menu: Menu) -> Option:
    """What a replica does in the slice that it has.

    `own` is the menu of its device's kind; on a kind without one it counts for nothing. `menu` speaks for it where its
    device is not known.
    """
    held = placement.function.slice
    device = device_of(state, placement)
    if device is None:
        return menu.held(held.sm_partition, held.sm_partition / 100, held.quota_request)
    share = min(len(placement.chunks) / device.chunks, 1.0)
    if own is None:
        return menu.unknown(held.sm_partition, share, held.quota_request)
    return own.held(held.sm_partition, share, held.quota_request)


def device_of(state: State, placement: Placement) -> Device | None:
    """The device that a replica is on, as last heard of."""
    node = state.nodes.get(placement.node)
    view = node.devices.get(placement.device) if node is not None else None
    return view.device if view is not None else None


def _menu(state: State, spec: FunctionSpec, kind: str, chunks: int, settings: Settings) -> Menu | None:
    known = state.tables.get(subjects.profile_key(spec.model.digest, kind))
    if known is None:
        return None
    held = spec.slice
    question = (spec.slo_ms, spec.slo_percentile, spec.max_batch, held.gpu_mem_mib, held.quota_limit, chunks)
    if question not in known.menus:
        if not known.is_complete and known.table.at(100, 1.0, 1).throughput_error > SURE_ERROR:
            return None
        _remember(known.menus, state)
        state.menus_made += 1
        known.menus[question] = menu_of(known.table, spec, chunks, settings, kind)
    return known.menus[question]


def _remember(answers: dict[Hashable, Any], state: State) -> None:
    """Make room for one more: the oldest goes, where there are more than all functions can ask for."""
    while len(answers) >= max(REMEMBERED, EACH * len(state.functions)):
        del answers[next(iter(answers))]


def widest(state: State) -> dict[str, int]:
    """The chunks of the largest device of each kind, those with most devices that can take replicas first.

    Of kinds without such a device only where no kind has one.
    """
    if state.widest is None:
        every: dict[str, list[int]] = {}
        serving: dict[str, list[int]] = {}
        for node in state.nodes.values():
            for name, view in node.devices.items():
                every.setdefault(view.device.kind, []).append(view.device.chunks)
                if serving_device(state, node.node, name):
                    serving.setdefault(view.device.kind, []).append(view.device.chunks)
        devices = serving or every
        ordered = sorted(devices, key=lambda kind: (-len(devices[kind]), kind))
        state.widest = {kind: max(devices[kind]) for kind in ordered}
    return state.widest


def _latency_us(reading: Reading, spec: FunctionSpec) -> int:
    """At the percentile that the objective names: from arrival on, or of the device alone if that is not known."""
    device_us = reading.device_us if spec.slo_percentile <= P50 else reading.device_p95_us
    return measured_us(reading, spec.slo_percentile) or device_us
