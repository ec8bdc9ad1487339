"""A replica's user code, in a process of its own, as the worker sees it: two coroutines that always answer.

What goes wrong with one call is that call's answer. A process that dies or hangs is replaced, and the calls it had not
begun go to the next one; one that dies again and again without finishing a call is reported as broken. Decisions are
`core.handler_calls`; what runs over there is `handler_host`.
"""

import asyncio
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import msgspec
from anyio import to_thread

from fastgshare.node_manager.bundle import BundleInvalid, unpack_bundle
from fastgshare.node_manager.core.handler_calls import STREAMS, HandlerCall, HandlerCalls, Running, Stage
from fastgshare.node_manager.handler_host.messages import Call, Done, Drop, Failed, Load, Next, Part
from fastgshare.node_manager.handler_host.note import prepare_note, read_note
from fastgshare.node_manager.ipc.frames import ChannelClosed, FrameTooLarge
from fastgshare.node_manager.worker.handler_process import STACK_DUMP_S, HostChild, end_of, make_handler, open_host
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, FastGShareError, PayloadInvalid
from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import HandlerRef, Tensor
from fastgshare.shared.units import US_PER_S, s_to_us

Answer = tuple[Tensor, ...] | ErrorBody
OnPart = Callable[[tuple[Tensor, ...]], Awaitable[None]]

TIMER_SLACK_US = 1000  # timers fire up to a millisecond early


class HandlerBroken(FastGShareError):
    """User code that does not load: field `reason`, in words for its author."""

    @property
    def reason(self) -> str:
        """The reason, in one line."""
        return " ".join(str(self.fields["reason"]).split())


class HandlerLimits(msgspec.Struct, frozen=True):
    """Bounds of one handler.

    `load_s`: from the process's start until its class is made. `hang_s`: a call counts as hung when its deadline has
    passed and it has run this long. Of each stage, `outstanding` calls are with the process (it runs one at a time)
    and `waiting` wait here; beside those, `streams` that sent a part already may be open. A process that finished a
    call or lived for `steady_s` is replaced at once; after one that
    did neither comes a pause, `backoff_s` doubled for each in a row up to `backoff_max_s`, and `deaths` of those in a
    row are too many.
    """

    load_s: float = 30.0
    hang_s: float = 2.0
    outstanding: int = 4
    streams: int = STREAMS
    waiting: int = 1024
    backoff_s: float = 0.1
    backoff_max_s: float = 5.0
    deaths: int = 3
    steady_s: float = 60.0


DEFAULT_LIMITS = HandlerLimits()


class Handler:
    """User code that is loaded and answers. Made by `open_handler`.

    `inputs` and `outputs` are what its author declared, `streams` whether it answers in parts; `completed` counts calls
    that its processes were through with, `restarts` the processes that were replaced.
    """

    def __init__(
        self,
        load: Load,
        limits: HandlerLimits,
        on_log: Callable[[str], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = ()
        self.outputs: tuple[TensorSpec, ...] = ()
        self.streams = False
        self.completed = 0
        self.restarts = 0
        self._load = load
        self._note = Path(load.note)
        self._limits = limits
        self._on_log = on_log
        self._on_broken = on_broken
        self._calls = HandlerCalls(limits.outstanding, limits.waiting, s_to_us(limits.hang_s), limits.streams)
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[Answer | Part]] = {}
        self._host: HostChild | None = None
        self._closed: ErrorBody | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at_us = 0
        self._hung = ""
        self._loaded: asyncio.Future[str | None] = self._loop.create_future()

    @property
    def pid(self) -> int | None:
        """The process that serves now; None while it is being replaced."""
        return None if self._host is None else self._host.pid

    async def preprocess(self, tensors: tuple[Tensor, ...], deadline_us: int) -> Answer:
        """A request's inputs to model inputs that share a leading batch axis. Answers by the deadline."""
        return await self._call(Stage.PREPROCESS, tensors, deadline_us)

    async def postprocess(self, tensors: tuple[Tensor, ...], deadline_us: int, on_part: OnPart | None = None) -> Answer:
        """A request's model outputs to the declared outputs. Answers by the deadline.

        One that streams gives its parts to `on_part`, each awaited before the next is made, and then answers without
        tensors. Cancelled, or where `on_part` raises, it makes no more.
        """
        return await self._call(Stage.POSTPROCESS, tensors, deadline_us, on_part)

    # Calls

    async def _call(
        self, stage: Stage, tensors: tuple[Tensor, ...], deadline_us: int, on_part: OnPart | None = None
    ) -> Answer:
        if self._closed is not None:
            return self._closed
        call = self._calls.admit(stage, tensors, deadline_us, unix_us())
        if isinstance(call, ErrorBody):
            return call
        answer: asyncio.Future[Answer | Part] = self._loop.create_future()
        self._answers[call.id] = answer
        self._send_waiting()
        self._wake_by(deadline_us)
        try:
            while isinstance(given := await answer, Part):
                answer = self._answers[call.id] = self._loop.create_future()
                if on_part is not None:
                    await on_part(given.tensors)
                self._tell(Next(call.id))
            return given
        finally:
            del self._answers[call.id]
            if self._calls.give_up(call):
                self._tell(Drop(call.id))

    def _tell(self, message: Next | Drop) -> None:
        if self._host is not None:
            with suppress(ChannelClosed):  # `_live` is about to notice
                self._host.channel.send_nowait(message)

    def _send_waiting(self) -> None:
        while self._host is not None and (call := self._calls.take()) is not None:
            try:
                self._host.channel.send_nowait(Call(call.id, call.stage, call.deadline_us, call.tensors))
            except ChannelClosed:
                self._host = None  # `_live` is about to notice, and counts what was with it
            except FrameTooLarge as error:
                self._calls.finished(call.id)
                self._resolve(call, ErrorBody(ErrorCode.TOO_LARGE, f"for the handler's process: {error}"))

    def _take_part(self, part: Part) -> None:
        call = self._calls.began(part.id)
        self._send_waiting()  # it gave its place back
        answer = self._answers.get(part.id)
        if call is not None and answer is not None and not answer.done():
            answer.set_result(part)
        else:
            self._tell(Drop(part.id))

    def _finish(self, call_id: int, result: Answer) -> None:
        self.completed += 1
        call = self._calls.finished(call_id)
        self._send_waiting()
        if call is not None:
            self._resolve(call, result)

    def _resolve(self, call: HandlerCall, result: Answer) -> None:
        answer = self._answers.get(call.id)
        if answer is not None and not answer.done():
            answer.set_result(result)

    # Time

    def _wake_by(self, at_us: int) -> None:
        if self._timer is not None:
            if self._wake_at_us <= at_us:
                return
            self._timer.cancel()
        self._wake_at_us = at_us
        delay_us = max(at_us - unix_us(), 0) + TIMER_SLACK_US
        self._timer = self._loop.call_later(delay_us / US_PER_S, self._look)

    def _look(self) -> None:
        self._timer = None
        ruling = self._calls.look(unix_us(), self._running())
        for call, error in ruling.expired:
            self._resolve(call, error)
        if ruling.hung is not None and self._host is not None:
            self._end_hung(self._host, ruling.hung)
        if ruling.wake_at_us is not None:
            self._wake_by(ruling.wake_at_us)

    def _end_hung(self, host: HostChild, call: HandlerCall) -> None:
        self._hung = f"ended because {call.what} hung past its deadline"
        self._on_log(f"[the handler's process is {self._hung}; its stack follows]")
        self._host = None
        host.send_signal(signal.SIGABRT)
        self._loop.call_later(STACK_DUMP_S, host.kill)

    def _running(self) -> Running:
        return Running(*read_note(self._note))

    # Processes

    async def run(self) -> None:
        """Keep a process serving until cancelled, or until it is broken."""
        fruitless = 0
        while True:
            completed_before, began_us = self.completed, monotonic_us()
            how = await self._live()
            if not self._loaded.done():
                self._loaded.set_result(how)
                return
            was_steady = monotonic_us() - began_us >= s_to_us(self._limits.steady_s)
            fruitless = 0 if was_steady or self.completed > completed_before else fruitless + 1
            if fruitless >= self._limits.deaths:
                self._break(f"the handler's process ended {fruitless} times without finishing a call, last: {how}")
                return
            self._on_log(f"[the handler's process is replaced: {how}]")
            self.restarts += 1
            if fruitless:
                pause_s = self._limits.backoff_s * 2 ** (fruitless - 1)
                await anyio.sleep(min(pause_s, self._limits.backoff_max_s))

    async def loaded(self) -> None:
        """Wait for the first process. Raises HandlerBroken."""
        problem = await self._loaded
        if problem is not None:
            raise HandlerBroken(reason=problem)

    def close(self, error: ErrorBody) -> None:
        """Answer what waits and whatever still comes with `error`."""
        self._closed = error
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls.close():
            self._resolve(call, error)

    def _break(self, reason: str) -> None:
        self.close(ErrorBody(ErrorCode.HANDLER_FAILED, reason))
        self._on_broken(reason)

    async def _live(self) -> str:
        """One process, from start to end; how it ended."""
        try:
            prepare_note(self._note)
            async with open_host(self._on_log) as host:
                made = await make_handler(host, self._load, self._limits.load_s)
                if isinstance(made, str):
                    return made
                self.inputs, self.outputs, self.streams = made.inputs, made.outputs, made.streams
                if not self._loaded.done():
                    self._loaded.set_result(None)
                how = await self._serve(host)
        except OSError as error:
            return f"its process cannot be started: {error}"
        for call, refusal in self._calls.lost(how, self._running()):
            self._resolve(call, refusal)
        return how

    async def _serve(self, host: HostChild) -> str:
        """Take answers until the process ends; how it ended."""
        self._host, self._hung = host, ""
        self._send_waiting()
        try:
            while (message := await host.channel.receive()) is not None:
                match message:
                    case Part() as part:
                        self._take_part(part)
                    case Done(call_id, tensors):
                        self._finish(call_id, tensors)
                    case Failed(call_id, error):
                        self._finish(call_id, error)
                    case _:
                        return f"it sent {type(message).__name__} while serving"
        except (PayloadInvalid, FrameTooLarge) as error:
            return f"it sent what cannot be read: {error}"
        finally:
            self._host = None
        return self._hung or await end_of(host)


@asynccontextmanager
async def open_handler(
    handler: HandlerRef,
    bundle: Path,
    workdir: Path,
    *,
    function: FunctionName,
    model_metadata: dict[str, str],
    model_inputs: tuple[TensorSpec, ...],
    model_outputs: tuple[TensorSpec, ...],
    on_log: Callable[[str], None],
    on_broken: Callable[[str], None],
    limits: HandlerLimits = DEFAULT_LIMITS,
    cpus: Collection[int] | None = None,
) -> AsyncIterator[Handler]:
    """User code from its zip to a process that answers; unpacked below `workdir`, which is cleared again.

    `on_log` gets each line that the user's code prints, `on_broken` the reason when it turns out to be of no use:
    its calls are refused from then on. `cpus` are the processors it may run on. Open it in the task that closes it.

    Raises:
        HandlerBroken: the bundle cannot be unpacked, or the class cannot be made.
    """
    async with _unpacked(bundle, workdir) as (directory, note):
        load = Load(
            directory=str(directory),
            note=str(note),
            module=handler.module,
            class_name=handler.class_name,
            function=function,
            memory_limit_mib=handler.memory_limit_mib,
            model_metadata=model_metadata,
            model_inputs=model_inputs,
            model_outputs=model_outputs,
            cpus=tuple(cpus or ()),
        )
        opened = Handler(load, limits, on_log, on_broken)
        fault: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.run)
            try:
                await opened.loaded()
                yield opened
            except Exception as error:
                fault = error  # raised below, as it is and not in a group
            finally:
                opened.close(ErrorBody(ErrorCode.UNAVAILABLE, "the replica is stopping"))
                tasks.cancel_scope.cancel()
        if fault is not None:
            raise fault


@asynccontextmanager
async def _unpacked(bundle: Path, workdir: Path) -> AsyncIterator[tuple[Path, Path]]:
    """A directory with the bundle's files, and a place beside it for the note."""
    room = workdir.resolve() / f"handler-{secrets.token_hex(4)}"
    directory = room / "bundle"
    try:
        try:
            await to_thread.run_sync(unpack_bundle, bundle, directory)
        except BundleInvalid as error:
            raise HandlerBroken(reason=f"the bundle {error.fields['reason']}") from error
        yield directory, room / "note"
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_clear, room)


def _clear(room: Path) -> None:
    shutil.rmtree(room, ignore_errors=True)
    with suppress(OSError):
        room.parent.rmdir()  # nobody else's handler is in there
