"""What the gateway's front doors ask of its inside: inference by `Invoker`, management by `Functions`.

Any number of doors (HTTP, gRPC) stand before one implementation. Tensors cross as bytes-like views;
nothing here needs numpy. Refusals of requests are values in the reply; the faults that a management call may
raise are listed with it.
"""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from fastgshare.gateway.core.keys import KeyLeft
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import (
    FunctionSpec,
    InferReply,
    InferRequest,
    JobRecord,
    ReplicaState,
    ReplyWish,
    Signature,
)
from fastgshare.shared.messages import Scope as Scope  # doors ask with it
from fastgshare.shared.tracing import TraceContext


class FunctionView(msgspec.Struct, frozen=True, kw_only=True):
    """A function as this gateway sees it now.

    `spec` is the newest definition; `generation` is the one that serves, 0 while none does. `signature` is
    that of the serving generation, or of the last that served; None until a replica has loaded once. `states`
    counts replicas by state over all generations; `reasons` say, newest first, what is not as it should be.
    """

    spec: FunctionSpec
    generation: int = 0
    signature: Signature | None = None
    ready_replicas: int = 0
    states: dict[ReplicaState, int] = {}
    reasons: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The model version that callers see: the serving generation, or the one that is coming up."""
        return str(self.generation or self.spec.generation)

    @property
    def is_ready(self) -> bool:
        """Whether a request is taken now: by a ready replica, or by a cold start where zero is allowed."""
        autoscale = self.spec.autoscale
        may_start_cold = autoscale is not None and autoscale.min == 0
        return self.ready_replicas > 0 or (may_start_cold and not self.reasons)


class BatchStats(msgspec.Struct, frozen=True, kw_only=True):
    """Batches of one size: how many were executed and the time they took in all."""

    batch_size: int
    count: int
    execute_us: int


class FunctionStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one function at this gateway since it started; times are sums in microseconds.

    `success_us` and `fail_us` are whole requests as callers saw them; `queue_us`, `handler_us` and
    `execute_us` are parts of the successful ones. `executions` counts batches: a request in a batch of four
    adds a quarter.
    """

    success_count: int = 0
    success_us: int = 0
    fail_count: int = 0
    fail_us: int = 0
    queue_us: int = 0
    handler_us: int = 0
    execute_us: int = 0
    executions: float = 0.0
    last_inference_unix_us: int = 0
    batches: tuple[BatchStats, ...] = ()


class Invoker(Protocol):
    """Carries requests to replicas and knows what is deployed."""

    async def invoke(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> InferReply:
        """Answer `request` by `deadline_us` (wall clock, Unix microseconds).

        `trace` is this hop's own span (`Sampler.begin`), `door` names how the request came in for those who read it.

        Every expected outcome is a reply; a refusal is its `error`. Outputs come back inline, whatever way
        they travelled. Cancelled when the caller has gone: stop waiting and free what was held.
        """
        ...

    def invoke_stream(
        self,
        function: FunctionName,
        request: InferRequest,
        deadline_us: int,
        trace: TraceContext,
        door: str = "http",
    ) -> AsyncGenerator[InferReply, None]:
        """As `invoke`, for functions that answer in parts: each part as it comes, the last without `more`.

        Other functions have one. Close it to stop waiting; nothing is made any more then.
        """
        ...

    def describe(self, function: FunctionName) -> FunctionView | None:
        """The function, or None when it is not known. Asked for every request: a look-up, no work."""
        ...

    async def wait_for(self, function: FunctionName) -> None:
        """For one that `describe` does not know: return once it does, or once it is sure that there is none.

        Raises RequestRefused when that cannot be told.
        """
        ...

    def list(self) -> list[FunctionView]:
        """Every known function, by name."""
        ...

    def stats(self, function: FunctionName) -> FunctionStats | None:
        """Its counts so far; None when it is not known."""
        ...

    def is_ready(self) -> bool:
        """Whether this gateway can take requests at all: connected, and its view of the platform complete."""
        ...


class Functions(Protocol):
    """Defines, scales and removes functions in the `functions` bucket, and stores their content."""

    async def define(
        self, spec: FunctionSpec, may_replace: Callable[[FunctionSpec | None], bool] = ...
    ) -> FunctionSpec:
        """Create, or update what `may_replace` says yes to; what now stands, its generation set.

        Raises:
            InvalidSpec: the definition cannot be used.
            RevisionConflict: somebody else changed it, at the same moment or since the caller read it.
            StorageUnavailable: JetStream did not answer.
        """
        ...

    async def remove(self, name: FunctionName) -> bool:
        """Delete; False when there was none. Raises StorageUnavailable."""
        ...

    async def scale(self, name: FunctionName, replicas: int) -> FunctionSpec | None:
        """Set the number of replicas; None when there is no such function. Raises as `define`."""
        ...

    async def store(self, path: Path) -> Digest:
        """Keep a file's content (a model, a handler's zip) under its digest. Raises StorageUnavailable."""
        ...


class Jobs(Protocol):
    """Inference whose answer is fetched later. Every call may raise StorageUnavailable."""

    async def submit(
        self,
        function: FunctionName,
        request: InferRequest,
        *,
        time_us: int,
        traceparent: str,
        address: str,
        wish: ReplyWish,
    ) -> JobRecord:
        """Queue a request, to be run within `time_us`. Raises RequestRefused: too large, no room, no address."""
        ...

    async def look(self, job: str) -> JobRecord | None:
        """What became of it so far; None when it is not known."""
        ...

    async def reply(self, record: JobRecord) -> InferReply | None:
        """The outcome of a job, wherever it is kept; None: it has none yet."""
        ...

    async def cancel(self, job: str) -> JobRecord | None:
        """End it unless it has ended, else forget a large result; as it stands now, None when it is not known."""
        ...


class Doorkeeper(Protocol):
    """Knows API keys. A platform without keys lets everybody in; with the first key, nobody without one."""

    def hear(self, key: str | None, scope: Scope, now_us: int) -> ErrorBody | None:
        """Why a caller is refused whatever its request is about (401, 403), before it is read; counts nothing."""
        ...

    def admit(self, key: str | None, scope: Scope, function: FunctionName | None, now_us: int) -> ErrorBody | None:
        """Let a caller in, counting an invocation against the key's limits; else why not (401, 403, 429).

        `key` is what the caller showed (`core.keys.shown_key`: `Authorization: Bearer KEY`, or
        `X-Api-Key`), None for nothing. `function` is None where the call is about no one of them.
        """
        ...


class MeteredDoorkeeper(Doorkeeper, Protocol):
    """A doorkeeper that also tells what is left, as HTTP says it in headers."""

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, so that looking for a key would be in vain."""
        ...

    def left(self, key: str | None, now_us: int) -> KeyLeft | None:
        """What may still be called with this key; None where nothing limits it."""
        ...


class OpenDoor:
    """Lets everybody in."""

    def hear(self, key: str | None, scope: Scope, now_us: int) -> ErrorBody | None:
        """Nobody is refused."""
        return None

    def admit(self, key: str | None, scope: Scope, function: FunctionName | None, now_us: int) -> ErrorBody | None:
        """Nobody is refused."""
        return None

    @property
    def is_open(self) -> bool:
        """Always."""
        return True

    def left(self, key: str | None, now_us: int) -> KeyLeft | None:
        """Nothing is limited."""
        return None
