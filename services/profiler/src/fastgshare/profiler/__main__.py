"""`python -m fastgshare.profiler`: settings from the environment, then serve.

Linear algebra has one thread unless told otherwise: matrices of some hundred rows gain nothing from more (at 210 points
a survey took 94 ms of one core's time with one thread, 350 to 500 ms with two), and threads that spin while they wait
would take cores from what is measured on them.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when numpy is imported

from fastgshare.profiler.app import SERVICE, serve
from fastgshare.profiler.config import ProfilerConfig
from fastgshare.shared.config import load_config
from fastgshare.shared.service import run_service

if __name__ == "__main__":
    config = load_config(ProfilerConfig, os.environ)
    run_service(SERVICE, lambda: serve(config), config.log_level)
