"""`python -m fastgshare.scheduler`: settings from the environment, then serve."""

import os

from fastgshare.scheduler.app import SERVICE, serve
from fastgshare.scheduler.config import SchedulerConfig
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    config = load_config(SchedulerConfig, os.environ)
    run_service(SERVICE, lambda: serve(config), config.log_level)
