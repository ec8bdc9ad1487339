"""The smallest thing that answers `fast.invoke.*` as a gateway and a worker would together."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import ErrorBody, ErrorCode, SlotInvalid
from fastgshare.shared.ids import AttemptId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, InferReply, InferRequest, Tensor, Timing
from fastgshare.shared.slots import read_slot, write_slot

REPLICA = ReplicaId("echo-g1-abc123")

Answer = Callable[["FakeGateway", Msg, InferRequest], Awaitable[None]]


@dataclass
class FakeGateway:
    """What arrived, in order, and how it answers."""

    bus: Bus
    answer: Answer
    requests: list[InferRequest] = field(default_factory=list)

    async def on_invoke(self, msg: Msg) -> None:
        """Note the request and answer it."""
        request = decode(InferRequest, msg.data)
        self.requests.append(request)
        await self.answer(self, msg, request)

    async def reply(
        self, msg: Msg, outputs: tuple[Tensor, ...] = (), error: ErrorBody | None = None, attempt: int = 1
    ) -> None:
        """Straight into the caller's inbox."""
        request_id = decode(InferRequest, msg.data).request_id
        reply = InferReply(
            version=INFER_VERSION,
            outputs=outputs,
            error=error,
            replica=REPLICA,
            attempt=AttemptId(f"{request_id}.{attempt}"),
            timing=Timing(queue_us=1, execute_us=2, batch=1),
        )
        await self.bus.publish(msg.reply, encode(reply))


async def echo(gateway: FakeGateway, msg: Msg, request: InferRequest) -> None:
    """Every input comes back as an output of the same name, in the slot if the request offers one."""
    try:
        outputs = echoed(request)
    except SlotInvalid as error:
        await gateway.reply(msg, error=ErrorBody(ErrorCode.TENSOR_UNREACHABLE, str(error)))
        return
    await gateway.reply(msg, outputs)


def echoed(request: InferRequest) -> tuple[Tensor, ...]:
    """The inputs as outputs."""
    outputs = []
    room = request.reply_slot
    for tensor in request.inputs:
        data = tensor.data if tensor.slot is None else read_slot(tensor.slot)
        if room is None or room.size_bytes < data.nbytes:
            outputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, data))
            continue
        ref = type(room)(room.host, room.name, room.offset_bytes, data.nbytes)
        write_slot(ref, [data])
        outputs.append(Tensor(tensor.name, tensor.datatype, tensor.shape, slot=ref))
        room = type(room)(room.host, room.name, room.offset_bytes + data.nbytes, room.size_bytes - data.nbytes)
    return tuple(outputs)


@asynccontextmanager
async def run_gateway(url: str, answer: Answer = echo) -> AsyncGenerator[FakeGateway]:
    """A gateway on a connection of its own; gone at the end as if it had been killed."""
    async with open_bus(BusConfig(url=url, name="gateway")) as bus:
        gateway = FakeGateway(bus, answer)
        await bus.subscribe(subjects.INVOKE_ALL, gateway.on_invoke, queue=subjects.GATEWAY_QUEUE)
        await bus.connection.flush()
        yield gateway
