"""What callers and workers say to each other about one request.

These ride the hot path, so they are array-like: fields are known by position, new ones come last with a default.
Between our own processes deadline, id and trace ride in the payload, because nats-py takes 10 microseconds to parse
three headers (docs/decisions/0002); callers in other languages may send them as headers instead.
"""

import msgspec

from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import AttemptId, GatewayId, HostId, ReplicaId, RequestId

INFER_VERSION = 1


class SlotRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A range of a shared-memory slot on one host: `size_bytes` at `offset_bytes` of the slot called `name`."""

    host: HostId
    name: str
    offset_bytes: int
    size_bytes: int


class Tensor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One tensor: OIP datatype, shape, and its little-endian C-order bytes either inline or in a slot.

    `data` is bytes-like; decoded messages hold a view into the received payload. BYTES tensors hold each element
    as a 4-byte little-endian length and its bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview = memoryview(b"")
    slot: SlotRef | None = None

    @property
    def size_bytes(self) -> int:
        """How many bytes the tensor holds, wherever they lie."""
        return self.data.nbytes if self.slot is None else self.slot.size_bytes


class InferRequest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request to a function.

    `outputs` names the outputs wanted (empty: all). `reply_slot` is where the worker may put large outputs.
    `deadline_us` (Unix microseconds), `request_id` and `traceparent` stand for the headers of the same meaning;
    0 or empty: look there.
    """

    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    reply_slot: SlotRef | None = None
    deadline_us: int = 0
    request_id: RequestId = RequestId("")
    traceparent: str = ""


class Work(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt of a request, from a gateway to a worker; `request` is the caller's `InferRequest`, untouched.

    `gateway` wants to be told of the completion; None where the answer goes through it anyway. After `objective_us`
    (Unix microseconds; 0: no objective) an answer misses its function's objective.
    """

    version: int
    attempt: AttemptId
    gateway: GatewayId | None
    deadline_us: int
    traceparent: str
    request: memoryview
    objective_us: int = 0


class Timing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a request's time went on its worker, in microseconds, and the batch it ran in, in rows.

    Of a request whose trace is kept also `arrived_us` and `end_us` (Unix microseconds: it reached the worker, its
    answer left), and `batch_span`, the span of its batch as `<trace id>-<span id>`; else 0 and empty. `before_us` is
    the part of `handler_us` that came before its batch. Of an answer in parts `first_us` is when the first of them
    left (Unix microseconds), and `handler_us` ends there; else 0.
    """

    queue_us: int = 0
    token_us: int = 0
    execute_us: int = 0
    batch: int = 0
    handler_us: int = 0
    arrived_us: int = 0
    end_us: int = 0
    batch_span: str = ""
    before_us: int = 0
    first_us: int = 0


class InferReply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An answer to a request: outputs, or an error.

    A function that streams answers in parts, numbered from 0; `more` tells that another follows. Everyone else's one
    answer is part 0 with no more.
    """

    version: int
    outputs: tuple[Tensor, ...] = ()
    error: ErrorBody | None = None
    replica: ReplicaId | None = None
    attempt: AttemptId | None = None
    timing: Timing | None = None
    part: int = 0
    more: bool = False


class Cancel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Nobody wants this attempt's answer any more: drop it unless it runs already. It gets no answer."""

    version: int
    attempt: AttemptId


class Completion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt that a worker finished with: what the gateway needs for its books."""

    attempt: AttemptId
    ok: bool
    timing: Timing
    end_us: int = 0
    code: str = ""


class DoneNotice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A worker's batched word to one gateway about attempts it answered straight to their callers.

    `depth` is how many requests wait or run on the replica as this leaves.
    """

    version: int
    replica: ReplicaId
    incarnation: str
    depth: int
    completions: tuple[Completion, ...]
