"""`python -m fastgshare.gateway`: settings from the environment, then serve."""

import os

from fastgshare.gateway.app import SERVICE, serve
from fastgshare.gateway.config import GatewayConfig
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    config = load_config(GatewayConfig, os.environ)
    run_service(SERVICE, lambda: serve(config), config.log_level)
