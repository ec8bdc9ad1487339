"""What every service's process does the same way: event loop, logging, signals, ping, and how it ends."""

import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import anyio
import anyio.abc
import msgspec
from nats.aio.msg import Msg

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus
from fastgshare.shared.codec import encode
from fastgshare.shared.config import load_config
from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.messages import ServiceReady
from fastgshare.shared.units import BYTES_PER_MIB

EXIT_FAULT = 1
HEALTH_INTERVAL_S = 1.0
# Requests make hundreds of short-lived objects and no cycles: looking for some every 700 costs a tenth of a small one.
GC_THRESHOLDS = (50_000, 20, 50)
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class HealthConfig(msgspec.Struct, frozen=True):
    """Where a ready process shows that it lives: a file, touched each second that it is on the bus; empty: nowhere."""

    health_file: str = ""


def run_service(name: str, serve: Callable[[], Awaitable[None]], log_level: str = "INFO") -> None:
    """Run `serve` to its end on uvloop; a fault ends the process with status 1 and one clear last line."""
    gc.set_threshold(*GC_THRESHOLDS)
    logging.basicConfig(level=log_level, format=_LOG_FORMAT, stream=sys.stderr)
    try:
        anyio.run(serve, backend="asyncio", backend_options={"use_uvloop": True})
    except KeyboardInterrupt:
        return
    except BaseException as error:
        logging.getLogger(name).debug("fault", exc_info=error)
        print(f"{name} stopped: {first_cause(error)}", file=sys.stderr, flush=True)
        sys.exit(EXIT_FAULT)


def first_cause(error: BaseException) -> str:
    """The innermost fault of an exception group, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FastGShareError):
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def stop_signal() -> None:
    """Return at the first SIGINT or SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def answer_pings(
    bus: Bus,
    service: str,
    instance: str,
    endpoints: Mapping[str, str],
    *,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Answer `fast.ping.<service>` until cancelled; start this once the service is ready, not before."""

    async def answer(msg: Msg) -> None:
        if not msg.reply:
            return
        ready = ServiceReady(
            service=service,
            instance=instance,
            pid=os.getpid(),
            endpoints=dict(endpoints),
            rss_mib=rss_mib(),
        )
        await bus.publish(msg.reply, encode(ready))

    subscription = await bus.subscribe(subjects.ping(service), answer)
    try:
        task_status.started()
        await show_health(bus, load_config(HealthConfig, os.environ))
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await subscription.unsubscribe()


async def show_health(bus: Bus, config: HealthConfig) -> None:
    """Touch the health file for ever, while the bus is there: its age tells a container engine all."""
    while config.health_file:
        if bus.is_connected:
            Path(config.health_file).touch()
        await anyio.sleep(HEALTH_INTERVAL_S)
    await anyio.sleep_forever()


def rss_mib(pid: int | None = None) -> float:
    """Resident memory of a process (default: this one) in MiB; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / BYTES_PER_MIB
