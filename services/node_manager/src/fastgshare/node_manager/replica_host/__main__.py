"""`python -m fastgshare.node_manager.replica_host --fd N --parent PID --area N`: one model, from load to the end."""

import argparse
import os
import sys

from fastgshare.node_manager.devices.mps.area import Area
from fastgshare.node_manager.devices.mps.messages import PROCESS_END, Load, Loaded, LoadFailed
from fastgshare.node_manager.handler_host.confine import keep_calm, run_on
from fastgshare.node_manager.ipc.blocking import BlockingChannel, inherited_socket
from fastgshare.node_manager.ipc.frames import ChannelClosed
from fastgshare.node_manager.replica_host.opening import ModelUnusable, open_model
from fastgshare.node_manager.replica_host.serve import DeviceChannel, serve


def main() -> None:
    """Load what the first message asks for, then serve."""
    sock, own = inherited_socket(sys.argv[1:])
    keep_calm()
    parser = argparse.ArgumentParser()
    parser.add_argument("--area", type=int, required=True, help="the inherited shared memory")
    area = Area(parser.parse_args(own).area)
    os.set_inheritable(area.fd, False)
    channel: DeviceChannel = BlockingChannel(sock, PROCESS_END)
    load = channel.receive()
    if not isinstance(load, Load):
        return
    run_on(load.cores)
    try:
        model = open_model(load)
    except ModelUnusable as error:
        channel.send(LoadFailed(str(error)))
        return
    channel.send(Loaded(model.info, model.weights_mib, model.allocated_mib()))
    serve(channel, area, model)


if __name__ == "__main__":
    try:
        main()
    except ChannelClosed:
        sys.exit(0)  # the device went first
