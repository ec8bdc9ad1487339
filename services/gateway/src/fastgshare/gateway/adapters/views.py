"""What the gateway tells of its functions, drawn from the core's state; kept per function until something changes."""

from fastgshare.gateway.core.gatekeeper import Gatekeeper
from fastgshare.gateway.ports import BatchStats, FunctionStats, FunctionView
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec, ReplicaState, Signature


class Views:
    """Functions as callers see them."""

    def __init__(self, gatekeeper: Gatekeeper) -> None:
        self._gatekeeper = gatekeeper
        self._last_signature: dict[FunctionName, Signature] = {}
        self._drawn: dict[FunctionName, tuple[int, FunctionView]] = {}

    def describe(self, function: FunctionName) -> FunctionView | None:
        """The function, or None when it is not known."""
        spec = self._gatekeeper.functions.get(function)
        if spec is None:
            self._last_signature.pop(function, None)
            self._drawn.pop(function, None)
            return None
        version = self._gatekeeper.fleet.version
        drawn = self._drawn.get(function)
        if drawn is None or drawn[0] != version or drawn[1].spec is not spec:
            drawn = self._drawn[function] = (version, self._draw(function, spec))
        return drawn[1]

    def _draw(self, function: FunctionName, spec: FunctionSpec) -> FunctionView:
        targets = self._gatekeeper.fleet.of(function)
        ready = self._gatekeeper.fleet.ready(function)
        signature = self._gatekeeper.signature(function)
        if signature is not None:
            self._last_signature[function] = signature
        states: dict[ReplicaState, int] = {}
        for target in targets:
            states[target.status.state] = states.get(target.status.state, 0) + 1
        troubled = sorted(
            (target.status for target in targets if target.status.reason),
            key=lambda status: status.since_us,
            reverse=True,
        )
        return FunctionView(
            spec=spec,
            generation=max((target.status.generation for target in ready), default=0),
            signature=self._last_signature.get(function),
            ready_replicas=len(ready),
            states=states,
            reasons=tuple(status.reason for status in troubled),
        )

    def list(self) -> list[FunctionView]:
        """Every known function, by name."""
        views = (self.describe(function) for function in sorted(self._gatekeeper.functions))
        return [view for view in views if view is not None]

    def stats(self, function: FunctionName) -> FunctionStats | None:
        """A function's counts so far; None when it is not known."""
        if function not in self._gatekeeper.functions:
            return None
        counters = self._gatekeeper.counters.get(function)
        if counters is None:
            return FunctionStats()
        return FunctionStats(
            success_count=counters.answered,
            success_us=counters.success_us,
            fail_count=counters.failed + counters.refused,
            fail_us=counters.fail_us,
            queue_us=counters.queue_us,
            handler_us=counters.handler_us,
            execute_us=counters.execute_us,
            executions=counters.executions,
            last_inference_unix_us=counters.last_us,
            batches=tuple(
                BatchStats(batch_size=batch, count=round(count), execute_us=round(execute_us))
                for batch, (count, execute_us) in sorted(counters.batches.items())
            ),
        )
