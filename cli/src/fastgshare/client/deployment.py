"""Waiting until what was deployed serves, or cannot."""

from collections.abc import Callable

import anyio
import anyio.abc
from nats.aio.msg import Msg

from fastgshare.client.errors import DeployFailed, DeployTimedOut
from fastgshare.client.logs import Kept, last_event
from fastgshare.client.rollout import Broken, Ready, Waiting, judge
from fastgshare.client.shortage import KIND, Before, in_words, last_shortage
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.messages import FunctionSpec, ReplicaStatus
from fastgshare.shared.units import us_to_s

LOOK_AGAIN_S = 1.0


class Watch:
    """One generation on its way up, seen through what the nodes report of its replicas.

    `before` is what had been told before it was stored; `say` hears at once that there is no room.
    """

    def __init__(self, bus: Bus, spec: FunctionSpec, before: Before, say: Callable[[str], None]) -> None:
        self._bus = bus
        self._spec = spec
        self._before = before
        self._say = say
        self._shortage: Kept | None = None
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
                if isinstance(self._judge(), Waiting):
                    await tasks.start(self._listen)
                while isinstance(verdict := self._judge(), Waiting):
                    await self._changed.wait()
                    self._changed = anyio.Event()
            tasks.cancel_scope.cancel()
        name, generation = self._spec.name, self._spec.generation
        if isinstance(verdict, Broken):
            raise DeployFailed(function=name, generation=generation, reason=verdict.reason, serving=verdict.serving)
        if isinstance(verdict, Waiting):
            seen = f"{verdict.seen}; {in_words(self._shortage)}" if self._shortage else verdict.seen
            seen += "" if self._shortage else await self._newest_event()
            raise DeployTimedOut(function=name, generation=generation, timeout_s=timeout_s, seen=seen)

    def _judge(self) -> Ready | Broken | Waiting:
        return judge(self._spec, self._mirror.values.values())

    def _on_change(self, _key: str, _value: ReplicaStatus | None) -> None:
        self._changed.set()

    async def _listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Look for a shortage now, and whenever one is told; the server keeps what it tells a moment later."""
        told = anyio.Event()

        async def on_told(_: Msg) -> None:
            told.set()

        subscription = await self._bus.subscribe(subjects.event(KIND, self._spec.name), on_told)
        task_status.started()
        try:
            while True:
                await self._look()
                with anyio.move_on_after(LOOK_AGAIN_S):
                    await told.wait()
                told = anyio.Event()
        finally:
            await subscription.unsubscribe()

    async def _look(self) -> None:
        found = await last_shortage(self._bus, self._spec.name)
        if found is None or found == self._shortage or not self._before.concerns(found, self._spec.generation):
            return
        self._shortage = found
        self._say(f"no room for more: {found.event.text}; Ctrl-C to stop waiting")

    async def _newest_event(self) -> str:
        """What the platform last said about it."""
        try:
            event = await last_event(self._bus, self._spec.name)
        except StorageUnavailable:
            return ""
        if event is None or event.kind == "function_defined":
            return ""
        age_s = us_to_s(unix_us() - event.at_us)
        return f"; last event, {age_s:.0f} s ago: {' '.join(part for part in (event.kind, event.text) if part)}"
