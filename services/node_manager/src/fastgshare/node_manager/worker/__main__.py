"""`python -m fastgshare.node_manager.worker --fd N --parent PID`: started by the node manager, never by hand."""

import os
import sys

from fastgshare.node_manager.config import WorkerConfig
from fastgshare.node_manager.ipc.blocking import inherited_socket
from fastgshare.node_manager.worker.app import serve
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    channel, _ = inherited_socket(sys.argv[1:])
    config = load_config(WorkerConfig, os.environ)
    run_service("worker", lambda: serve(config, channel), config.log_level)
