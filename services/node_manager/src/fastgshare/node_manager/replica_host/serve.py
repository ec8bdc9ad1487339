"""The loop of a replica's process: one batch after the other, an answer to each, until its device says end or is gone.

A batch that fails costs itself; one that leaves the device unusable ends the process, which says so first.
"""

from fastgshare.node_manager.devices.faults import InputUnusable
from fastgshare.node_manager.devices.mps.area import Area, AreaUnusable, end_of
from fastgshare.node_manager.devices.mps.messages import Finished, FromProcess, Run, RunFailed, ToProcess
from fastgshare.node_manager.ipc.blocking import BlockingChannel
from fastgshare.node_manager.replica_host.opening import OpenModel, told

DeviceChannel = BlockingChannel[FromProcess, ToProcess]


def serve(channel: DeviceChannel, area: Area, model: OpenModel) -> None:
    """Answer until told to end, then let the device finish."""
    while isinstance(message := channel.receive(), Run):
        answer = _answer(message, area, model)
        channel.send(answer)
        if isinstance(answer, RunFailed) and answer.is_last:
            return  # nothing in here can be let go of in order any more
    model.close()


def _answer(run: Run, area: Area, model: OpenModel) -> Finished | RunFailed:
    try:
        outputs, device_us = model.run(area.view(run.inputs))
    except Exception as error:
        return RunFailed(run.id, told(error, ""), isinstance(error, InputUnusable), model.is_lost())
    try:
        return Finished(run.id, area.put(outputs, end_of(run.inputs)), device_us)
    except AreaUnusable as error:
        return RunFailed(run.id, f"its outputs: {error.fields['reason']}")
    except ValueError as error:
        return RunFailed(run.id, f"its outputs: {error}")
