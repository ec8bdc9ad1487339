"""The host's loop: one step at a time, of calls the most urgent that has arrived; ends with the channel.

Before each step it looks what else has arrived, so that a postprocess overtakes every preprocess that waits here:
finished work leaves first. A generator's parts are steps too: streams take turns with each other and with calls, so
that none waits for a whole stream: a stream that began gives its place at the process to the next call.
"""

import heapq
from collections import deque

from fastgshare.node_manager.handler_host.messages import Call, Done, Drop, Failed, FromHost, Load, Next, Part, ToHost
from fastgshare.node_manager.handler_host.note import NoteWriter
from fastgshare.node_manager.handler_host.stages import Outcome, Stages, Stream
from fastgshare.node_manager.ipc.blocking import BlockingChannel
from fastgshare.node_manager.ipc.frames import FrameTooLarge
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode

HostChannel = BlockingChannel[FromHost, ToHost]


class Serving:
    """Calls that wait, and streams that are open: `_ready` are those whose last part was taken."""

    def __init__(self, channel: HostChannel, stages: Stages, note: NoteWriter) -> None:
        self._channel = channel
        self._stages = stages
        self._note = note
        self._waiting: list[tuple[int, int, int, Call]] = []
        self._streams: dict[int, tuple[Call, Stream]] = {}
        self._ready: deque[int] = deque()
        self._was_call = False

    def run(self) -> None:
        """Answer calls until the worker is gone."""
        while (message := self._channel.receive()) is not None:
            self._take(message)
            while self._waiting or self._ready:
                self._step()
                for arrived in self._channel.receive_arrived():
                    self._take(arrived)

    def _take(self, message: ToHost) -> None:
        match message:
            case Call() as call:
                heapq.heappush(self._waiting, (call.stage, call.deadline_us, call.id, call))
            case Next(call_id):
                if call_id in self._streams:
                    self._ready.append(call_id)
            case Drop(call_id):
                self._drop(call_id)
            case Load():
                raise AssertionError("a process holds one handler")

    def _drop(self, call_id: int) -> None:
        known = self._streams.pop(call_id, None)
        if known is not None:
            self._close(*known)
            if call_id in self._ready:
                self._ready.remove(call_id)
        else:
            kept = [entry for entry in self._waiting if entry[-1].id != call_id]
            if len(kept) == len(self._waiting):
                return  # it was answered before this came
            self._waiting = kept
            heapq.heapify(kept)
        self._channel.send(Done(call_id, ()))

    def _step(self) -> None:
        if self._ready and (self._was_call or not self._waiting):
            self._was_call = False
            self._part(*self._streams[self._ready.popleft()])
        else:
            self._was_call = True
            self._call(heapq.heappop(self._waiting)[-1])

    def _call(self, call: Call) -> None:
        late = _out_of_time(call, "waited for the handler")
        if late is not None:
            self._tell(call, late)
            return
        self._note.running(call.id, unix_us())
        outcome = self._stages.run(call)
        self._note.idle()
        if isinstance(outcome, Stream):
            self._streams[call.id] = call, outcome
            self._part(call, outcome)
        else:
            self._tell(call, outcome)

    def _part(self, call: Call, stream: Stream) -> None:
        outcome: Outcome | None = _out_of_time(call, "streamed")
        if outcome is None:
            self._note.running(call.id, unix_us())
            outcome = self._stages.step(stream)
            self._note.idle()
        if isinstance(outcome, tuple):
            outcome = self._send(Part(call.id, outcome), call)
            if outcome is None:
                return
        del self._streams[call.id]
        self._close(call, stream)
        self._tell(call, () if outcome is None else outcome)

    def _close(self, call: Call, stream: Stream) -> None:
        """Runs its author's clean-up, which may hang: its call is told as ended only after it."""
        self._note.running(call.id, unix_us())
        stream.close()
        self._note.idle()

    def _tell(self, call: Call, outcome: Outcome) -> None:
        failure = outcome if isinstance(outcome, ErrorBody) else self._send(Done(call.id, outcome), call)
        if failure is not None:
            self._channel.send(Failed(call.id, failure))

    def _send(self, answer: Done | Part, call: Call) -> ErrorBody | None:
        """Send it, or say why that fails the call instead."""
        try:
            self._channel.send(answer)
        except FrameTooLarge as error:
            text = f"{call.stage.name.lower()} returned too much: {error}"
            return ErrorBody(ErrorCode.HANDLER_FAILED, text)
        return None


def _out_of_time(call: Call, what: str) -> ErrorBody | None:
    if call.deadline_us > unix_us():
        return None
    return ErrorBody(ErrorCode.DEADLINE_EXCEEDED, f"the deadline passed while {call.stage.name.lower()} {what}")
