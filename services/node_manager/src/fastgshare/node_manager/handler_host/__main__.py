"""`python -m fastgshare.node_manager.handler_host --fd N --parent PID`: one handler, from load to the channel's end."""

import sys
from pathlib import Path

from fastgshare.node_manager.handler_host.confine import keep_calm, limit_memory, run_on
from fastgshare.node_manager.handler_host.load import HandlerUnusable, load_handler
from fastgshare.node_manager.handler_host.messages import HOST_END, Load, Loaded, LoadFailed
from fastgshare.node_manager.handler_host.note import NoteWriter
from fastgshare.node_manager.handler_host.serve import HostChannel, Serving
from fastgshare.node_manager.handler_host.stages import Stages
from fastgshare.node_manager.ipc.blocking import inherited_socket
from fastgshare.node_manager.ipc.frames import ChannelClosed


def main() -> None:
    """Load what the first message asks for, then serve."""
    sock, _ = inherited_socket(sys.argv[1:])
    keep_calm()
    channel: HostChannel = HostChannel(sock, HOST_END)
    load = channel.receive()
    if not isinstance(load, Load):
        return
    sys.argv = [load.module]
    run_on(load.cpus)
    limit_memory(load.memory_limit_mib)
    note = NoteWriter(Path(load.note))
    try:
        loaded = load_handler(load)
    except HandlerUnusable as error:
        channel.send(LoadFailed(str(error)))
        return
    channel.send(Loaded(loaded.inputs, loaded.outputs, loaded.streams))
    stages = Stages(loaded, Path(load.directory), load.model_inputs, load.memory_limit_mib)
    Serving(channel, stages, note).run()


if __name__ == "__main__":
    try:
        main()
    except ChannelClosed:
        sys.exit(0)  # the worker went first
