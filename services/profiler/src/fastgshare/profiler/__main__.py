"""`python -m fastgshare.profiler`: settings from the environment, then serve."""

import os

from fastgshare.profiler.app import SERVICE, serve
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    config = load_config(ProfilerConfig, os.environ)
    run_service(SERVICE, lambda: serve(config), config.log_level)
