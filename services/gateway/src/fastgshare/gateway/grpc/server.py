"""Serves gRPC inside the caller's event loop, and lets go of it cleanly: calls in flight have a grace to finish in."""

import anyio
import anyio.abc
import grpc
import grpc.aio

from fastgshare.gateway.grpc.service import Inside
from fastgshare.gateway.grpc.table import handlers
from fastgshare.shared.errors import FastGShareError

GRACE_S = 5.0
_LAST_WORDS_S = 1.0
_TOLD = 256  # so many more calls are told in our own words that there are too many, and when to come back
_KEPT_ALIVE_MS = 10_000  # a client may ask as often whether the connection still stands


class GrpcUnavailable(FastGShareError):
    """The gRPC port cannot be opened: fields `host`, `port`, `reason`."""


async def serve_grpc(
    inside: Inside,
    host: str,
    port: int,
    *,
    stop: anyio.Event | None = None,
    grace_s: float = GRACE_S,
    task_status: anyio.abc.TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set or this is cancelled; both drain. Reports the bound port (0 picks a free one).

    Raises:
        GrpcUnavailable: the port cannot be opened.
    """
    server = grpc.aio.server(options=_options(inside), maximum_concurrent_rpcs=inside.settings.max_calls + _TOLD)
    server.add_generic_rpc_handlers(tuple(handlers(inside)))
    try:
        bound = server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise GrpcUnavailable(host=host, port=port, reason=str(error)) from error
    await server.start()
    try:
        task_status.started(bound)
        await (stop or anyio.Event()).wait()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(grace_s + _LAST_WORDS_S):
            await server.stop(grace_s)


def _options(inside: Inside) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a share
        ("grpc.max_receive_message_length", inside.settings.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # bounded by what workers may answer
        ("grpc.max_concurrent_streams", inside.settings.max_calls),
        ("grpc.http2.bdp_probe", 0),  # else as much as 12 MiB comes of each message that nobody has asked for yet
        ("grpc.http2.min_ping_interval_without_data_ms", _KEPT_ALIVE_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
