"""One replica's process from the device's side: its model, its batches, and its end.

Ending an MPS client with work in flight can hang its neighbours, so a process is asked to end and finishes first. One
that does not answer is told to the MPS server, which takes its work off the GPU, before it is killed.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from fastgshare.node_manager.devices.faults import InputUnusable, ModelFault
from fastgshare.node_manager.devices.mps.area import Area, AreaUnusable, make_area
from fastgshare.node_manager.devices.mps.messages import (
    DEVICE_END,
    End,
    Finished,
    FromProcess,
    Load,
    Loaded,
    LoadFailed,
    Run,
    RunFailed,
    ToProcess,
)
from fastgshare.node_manager.devices.ports import Ran
from fastgshare.node_manager.ipc.blocking_child import BlockingChild, ChildEnded, ChildSilent, start_child
from fastgshare.node_manager.ipc.frames import FrameTooLarge
from fastgshare.shared.arrays import Array
from fastgshare.shared.errors import FastGShareError, PayloadInvalid

HOST_MODULE = "fastgshare.node_manager.replica_host"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a process may take, in seconds: to load, for one batch, and to finish when it is asked to end."""

    load_s: float = 120.0
    run_s: float = 30.0
    drain_s: float = 10.0


class ProcessLost(FastGShareError):
    """The process is gone, or had to be ended: field `reason`, in words."""


class ContextLost(ProcessLost):
    """The process itself is well, but the GPU takes nothing from it any more: a fault of its own, or a neighbour's."""


class ReplicaProcess:
    """Made by `start_process`; loaded once, then run. Used by one thread at a time."""

    def __init__(
        self,
        child: BlockingChild[ToProcess, FromProcess],
        area: Area,
        limits: Limits,
        take_off_gpu: Callable[[int], None],
    ) -> None:
        self.pid = child.pid
        self._child = child
        self._area = area
        self._limits = limits
        self._take_off_gpu = take_off_gpu
        self._runs = 0

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._child.is_running

    def load(self, load: Load) -> Loaded:
        """Have the model made; a process that has none is ended. Raises ModelFault."""
        try:
            match self._ask(load, self._limits.load_s, "loading the model"):
                case Loaded() as loaded:
                    return loaded
                case LoadFailed(reason):
                    self._finish()
                    raise ModelFault(reason=reason)
                case other:
                    raise self._lost(f"it answered Load with {type(other).__name__}")
        except ProcessLost as lost:
            raise ModelFault(reason=f"its process was lost while it loaded: {lost.fields['reason']}") from lost

    def run(self, feed: Mapping[str, Array]) -> Ran:
        """One batch.

        Raises:
            ModelFault: the batch failed and the process is as good as before; InputUnusable among them.
            ProcessLost: there is no process any more; ContextLost among them.
        """
        self._runs += 1
        try:
            inputs = self._area.put(feed)
        except AreaUnusable as error:
            raise InputUnusable(reason=error.fields["reason"]) from error
        except ValueError as error:
            raise InputUnusable(reason=str(error)) from error
        answer = self._ask(Run(self._runs, inputs), self._limits.run_s, "a batch")
        match answer:
            case Finished(id=self._runs):
                try:
                    return Ran(self._area.copy(answer.outputs), max(answer.device_us, 0))
                except AreaUnusable as error:
                    raise self._lost(f"its outputs are unusable: {error.fields['reason']}") from error
            case RunFailed(id=self._runs, is_last=True):
                self._finish()
                raise ContextLost(reason=f"it cannot compute any more: {answer.reason}")
            case RunFailed(id=self._runs):
                raise InputUnusable(reason=answer.reason) if answer.is_input else ModelFault(reason=answer.reason)
        raise self._lost(f"it answered batch {self._runs} with {type(answer).__name__}")

    def end(self) -> None:
        """Let it finish, within its limit, and end. Idempotent."""
        if self._child.is_running:
            with suppress(ChildEnded):
                self._child.send(End())
            self._finish()
        self._child.end()
        self._area.close()

    def _ask(self, message: ToProcess, limit_s: float, doing: str) -> FromProcess:
        try:
            self._child.send(message)
            return self._child.receive(limit_s)
        except ChildEnded as ended:
            self._area.close()
            raise ProcessLost(reason=ended.fields["how"]) from ended
        except ChildSilent as silent:
            raise self._lost(f"{doing} took more than {limit_s:g} s") from silent
        except (PayloadInvalid, FrameTooLarge) as error:
            raise self._lost(f"what it said is no message: {error}") from error

    def _finish(self) -> None:
        """It was asked to end, or said that it would."""
        if not self._child.wait(self._limits.drain_s):
            self._take_off_gpu(self.pid)
        self._child.end()
        self._area.close()

    def _lost(self, reason: str) -> ProcessLost:
        """End a process that does not keep to its part."""
        self._take_off_gpu(self.pid)
        self._child.end()
        self._area.close()
        return ProcessLost(reason=reason)


def start_process(
    name: str, env: Mapping[str, str], limits: Limits, take_off_gpu: Callable[[int], None]
) -> ReplicaProcess:
    """A process that waits for what to load. `take_off_gpu` ends the GPU work of a process id. Raises ModelFault."""
    area = make_area()
    try:
        args = ("--area", str(area.fd))
        child = start_child(HOST_MODULE, DEVICE_END, name, args=args, env=env, pass_fds=(area.fd,))
    except OSError as error:
        area.close()
        raise ModelFault(reason=f"no process can be started for it: {error.strerror}") from error
    return ReplicaProcess(child, area, limits, take_off_gpu)
