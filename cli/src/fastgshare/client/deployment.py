"""Waiting until what was deployed serves, or cannot."""

import anyio

from fastgshare.client.errors import DeployFailed, DeployTimedOut
from fastgshare.client.logs import last_event
from fastgshare.client.rollout import Broken, Ready, Waiting, judge
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.messages import FunctionSpec, ReplicaStatus
from fastgshare.shared.units import us_to_s


class Watch:
    """One generation on its way up, seen through what the nodes report of its replicas."""

    def __init__(self, bus: Bus, spec: FunctionSpec) -> None:
        self._bus = bus
        self._spec = spec
        self._mirror = Mirror(bus, subjects.REPLICAS, ReplicaStatus, self._on_change)
        self._changed = anyio.Event()

    async def until_ready(self, timeout_s: float) -> None:
        """Return once enough replicas are ready.

        Raises:
            DeployFailed: this generation cannot run.
            DeployTimedOut: not ready within `timeout_s`.
        """
        verdict: Ready | Broken | Waiting = Waiting("nothing was heard of it")
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(timeout_s):
                await tasks.start(self._mirror.run)
                while isinstance(verdict := self._judge(), Waiting):
                    await self._changed.wait()
                    self._changed = anyio.Event()
            tasks.cancel_scope.cancel()
        name, generation = self._spec.name, self._spec.generation
        if isinstance(verdict, Broken):
            raise DeployFailed(function=name, generation=generation, reason=verdict.reason, serving=verdict.serving)
        if isinstance(verdict, Waiting):
            seen = verdict.seen + await self._newest_event()
            raise DeployTimedOut(function=name, generation=generation, timeout_s=timeout_s, seen=seen)

    def _judge(self) -> Ready | Broken | Waiting:
        return judge(self._spec, self._mirror.values.values())

    def _on_change(self, _key: str, _value: ReplicaStatus | None) -> None:
        self._changed.set()

    async def _newest_event(self) -> str:
        """What the platform last said about it (that there is no room, say)."""
        try:
            event = await last_event(self._bus, self._spec.name)
        except StorageUnavailable:
            return ""
        if event is None or event.kind == "function_defined":
            return ""
        age_s = us_to_s(unix_us() - event.at_us)
        return f"; last event, {age_s:.0f} s ago: {' '.join(part for part in (event.kind, event.text) if part)}"
