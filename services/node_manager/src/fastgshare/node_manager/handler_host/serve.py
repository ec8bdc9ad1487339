"""The host's loop: one call at a time, the most urgent of those that have arrived; ends with the channel.

Before each call it looks what else has arrived, so that a postprocess overtakes every preprocess that waits here:
finished work leaves first.
"""

import heapq

from fastgshare.node_manager.handler_host.messages import Call, Done, Failed, FromHost, Load, ToHost
from fastgshare.node_manager.handler_host.note import NoteWriter
from fastgshare.node_manager.handler_host.stages import Stages
from fastgshare.node_manager.ipc.blocking import BlockingChannel
from fastgshare.node_manager.ipc.frames import FrameTooLarge
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode

HostChannel = BlockingChannel[FromHost, ToHost]


def serve(channel: HostChannel, stages: Stages, note: NoteWriter) -> None:
    """Answer calls until the worker is gone."""
    waiting: list[tuple[int, int, int, Call]] = []
    message = channel.receive()
    while message is not None:
        _answer(channel, stages, note, _call(message))
        for arrived in channel.receive_arrived():
            call = _call(arrived)
            heapq.heappush(waiting, (call.stage, call.deadline_us, call.id, call))
        message = heapq.heappop(waiting)[-1] if waiting else channel.receive()


def _answer(channel: HostChannel, stages: Stages, note: NoteWriter, call: Call) -> None:
    now_us = unix_us()
    if call.deadline_us <= now_us:
        text = f"the deadline passed while {call.stage.name.lower()} waited for the handler"
        channel.send(Failed(call.id, ErrorBody(ErrorCode.DEADLINE_EXCEEDED, text)))
        return
    note.running(call.id, now_us)
    outcome = stages.run(call)
    note.idle()
    if isinstance(outcome, ErrorBody):
        channel.send(Failed(call.id, outcome))
        return
    try:
        channel.send(Done(call.id, outcome))
    except FrameTooLarge as error:
        text = f"{call.stage.name.lower()} returned too much: {error}"
        channel.send(Failed(call.id, ErrorBody(ErrorCode.HANDLER_FAILED, text)))


def _call(message: ToHost) -> Call:
    assert not isinstance(message, Load), "a process holds one handler"
    return message
