"""The fold: whatever is said on the bus goes in, one picture of the whole platform comes out, at any time. Pure.

Facts may come in any order and more than once. Each method takes one; `now_us` is when it was heard, by the clock of
whoever looks, for clocks of hosts differ. What is held is bounded by what the platform has: its functions, replicas,
nodes and gateways.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import (
    Event,
    FunctionSpec,
    GatewayReport,
    NodeStatus,
    PastTraffic,
    Profile,
    ReplicaStatus,
    ServiceReady,
    SlotCount,
)
from fastgshare.shared.overview import functions
from fastgshare.shared.overview.decisions import Decisions
from fastgshare.shared.overview.devices import Devices
from fastgshare.shared.overview.functions import Function, Hindrances
from fastgshare.shared.overview.gateways import Gateways
from fastgshare.shared.overview.view import FunctionView, PlatformView, ServiceView
from fastgshare.shared.units import US_PER_MS, US_PER_S

GATEWAY, NODE_MANAGER = "gateway", "node_manager"
SERVICE_GONE_US = 60 * US_PER_S
TIDY_US = 10 * US_PER_S

M = TypeVar("M", bound=msgspec.Struct)


class Overview:
    """Everything that is known of a platform."""

    def __init__(self) -> None:
        self._functions: dict[FunctionName, Function] = {}
        self._replicas: dict[str, ReplicaStatus] = {}
        self._profiles: dict[str, Profile] = {}
        self._services: dict[tuple[str, str], int] = {}
        self._devices = Devices()
        self._gateways = Gateways()
        self._decisions = Decisions()
        self._hindrances = Hindrances()
        self._tidied_us = 0

    def function(self, key: str, spec: FunctionSpec | None) -> None:
        """The function of this key in the bucket is so now; None: it is gone."""
        if spec is None:
            self._functions.pop(FunctionName(key), None)
            self._hindrances.forget(FunctionName(key))
        elif (known := self._functions.get(FunctionName(key))) is not None:
            known.spec = spec
        else:
            self._functions[FunctionName(key)] = Function(spec)

    def replica(self, key: str, status: ReplicaStatus | None) -> None:
        """The replica of this key in the bucket is so now; None: it is gone."""
        _put(self._replicas, key, status)

    def profile(self, key: str, profile: Profile | None) -> None:
        """The table of this key in the bucket is so now; None: it is gone."""
        _put(self._profiles, key, profile)

    def node(self, status: NodeStatus, now_us: int) -> None:
        """A heartbeat came."""
        self._tidy(now_us)
        self._devices.heard(status, self._replicas.values(), now_us)
        self._services[(NODE_MANAGER, status.node)] = now_us

    def report(self, report: GatewayReport, now_us: int) -> None:
        """A gateway told of its requests."""
        self._tidy(now_us)
        for function, news, from_us in self._gateways.heard(report, now_us):
            if (known := self._functions.get(function)) is not None:
                known.traffic.add(news, from_us, now_us)
        self._services[(GATEWAY, report.gateway)] = now_us

    def past(self, now_us: int) -> Iterator[tuple[FunctionName, dict[str, tuple[SlotCount, ...]]]]:
        """What is known of the requests of the last hour, for whoever begins to look: each function that had any."""
        for name, function in list(self._functions.items()):
            if windows := function.traffic.past(now_us):
                yield name, windows

    def believe(self, past: PastTraffic, now_us: int) -> None:
        """A gateway told what it has seen of the requests at all gateways."""
        for name, windows in past.functions.items():
            if (known := self._functions.get(name)) is not None:
                known.traffic.believe(windows, now_us)

    def event(self, event: Event) -> None:
        """Something happened, now or before anyone looked."""
        self._decisions.add(event)
        self._hindrances.heard(event)

    def service(self, ready: ServiceReady, now_us: int) -> None:
        """An instance of a service answered a ping."""
        self._tidy(now_us)
        self._services[(ready.service, ready.instance)] = now_us

    def spec(self, function: FunctionName) -> FunctionSpec | None:
        """A function's definition as it stands."""
        known = self._functions.get(function)
        return None if known is None else known.spec

    def tables(self, model_digest: Digest) -> list[Profile]:
        """What was measured of a model, by kind of device."""
        found = [table for table in self._profiles.values() if table.model_digest == model_digest]
        return sorted(found, key=lambda table: table.device_kind)

    def view(self, now_us: int) -> PlatformView:
        """The picture at this moment."""
        self._forget(now_us)
        return PlatformView(
            at_us=now_us,
            services=tuple(
                ServiceView(service=service, instance=instance, silent_ms=max(0, now_us - heard_us) // US_PER_MS)
                for (service, instance), heard_us in sorted(self._services.items())
            ),
            devices=self._devices.view(list(self._replicas.values()), now_us),
            functions=self._function_views(now_us),
            decisions=self._decisions.newest_first(),
        )

    def _tidy(self, now_us: int) -> None:
        """Let go of what is gone now and then, for there may be nobody who looks."""
        if now_us >= self._tidied_us + TIDY_US:
            self._forget(now_us)

    def _forget(self, now_us: int) -> None:
        self._tidied_us = now_us
        self._gateways.forget_silent(now_us)
        self._devices.forget_silent(self._replicas.values(), now_us)
        self._services = {name: us for name, us in self._services.items() if us > now_us - SERVICE_GONE_US}
        self._hindrances.keep(self._functions, now_us - SERVICE_GONE_US)

    def _function_views(self, now_us: int) -> tuple[FunctionView, ...]:
        replicas: dict[FunctionName, list[ReplicaStatus]] = {}
        for status in sorted(self._replicas.values(), key=lambda status: (status.generation, status.replica)):
            if not status.loan:
                replicas.setdefault(status.function, []).append(status)
        tables: dict[Digest, list[Profile]] = {}
        for table in sorted(self._profiles.values(), key=lambda table: table.device_kind):
            tables.setdefault(table.model_digest, []).append(table)
        views = []
        for name, known in sorted(self._functions.items()):
            own, measured = replicas.get(name, []), tables.get(known.spec.model.digest, [])
            views.append(functions.view(known, own, measured, self._gateways, self._hindrances, now_us))
        return tuple(views)


def _put(values: dict[str, M], key: str, value: M | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
