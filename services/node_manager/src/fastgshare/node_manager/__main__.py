"""`python -m fastgshare.node_manager`: settings from the environment, then serve."""

import os

from fastgshare.node_manager.app import SERVICE, serve
from fastgshare.node_manager.config import NodeConfig
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    config = load_config(NodeConfig, os.environ)
    run_service(SERVICE, lambda: serve(config), config.log_level)
