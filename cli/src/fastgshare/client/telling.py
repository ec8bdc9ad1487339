"""What a function takes, by its replicas; and waiting until one has told, as a call waits until one can answer it."""

from collections.abc import Iterable

import anyio

from fastgshare.client.errors import DeployFailed, SignatureUnknown
from fastgshare.client.rollout import Broken, Waiting, is_replica_of, judge, wanted_replicas
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Mirror
from fastgshare.shared.bus import Bus
from fastgshare.shared.messages import FunctionSpec, ReplicaState, ReplicaStatus, Signature


def told_by(function: str, replicas: Iterable[ReplicaStatus]) -> Signature | None:
    """What the newest replica that told says, one that serves before others; None before any has loaded."""
    own = [status for status in replicas if status.function == function]
    own.sort(key=lambda status: (status.state is ReplicaState.READY, status.generation))
    return next((status.signature for status in reversed(own) if status.signature is not None), None)


class Telling:
    """One function of which no replica has told yet, seen through what the nodes report."""

    def __init__(self, bus: Bus, spec: FunctionSpec) -> None:
        self._spec = spec
        self._mirror = Mirror(bus, subjects.REPLICAS, ReplicaStatus, self._on_change)
        self._changed = anyio.Event()

    async def until_told(self, wait_s: float) -> Signature | None:
        """What a replica tells; None where there is none and none is to be before the function is called.

        Raises:
            DeployFailed: it cannot run, so none will tell.
            SignatureUnknown: none told within `wait_s`.
        """
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(wait_s):
                await tasks.start(self._mirror.run)
                while self._told() is None and self._may_tell():
                    await self._changed.wait()
                    self._changed = anyio.Event()
            tasks.cancel_scope.cancel()
        if (signature := self._told()) is None:
            self._refuse(wait_s)
        return signature

    def _told(self) -> Signature | None:
        return told_by(self._spec.name, self._mirror.values.values())

    def _may_tell(self) -> bool:
        """Whether a replica is there or to be there, and able to run."""
        replicas = self._mirror.values.values()
        is_one = any(is_replica_of(self._spec.name, status) for status in replicas)
        return (is_one or wanted_replicas(self._spec) > 0) and not isinstance(judge(self._spec, replicas), Broken)

    def _refuse(self, waited_s: float) -> None:
        verdict = judge(self._spec, self._mirror.values.values())
        if isinstance(verdict, Broken):
            fields = {"generation": self._spec.generation, "reason": verdict.reason, "serving": verdict.serving}
            raise DeployFailed(function=self._spec.name, **fields)
        if self._may_tell():
            seen = verdict.seen if isinstance(verdict, Waiting) else f"{verdict.replicas} ready, which do not tell"
            raise SignatureUnknown(function=self._spec.name, waited_s=waited_s, seen=seen)

    def _on_change(self, _key: str, _value: ReplicaStatus | None) -> None:
        self._changed.set()
