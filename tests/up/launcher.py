"""`fastgshare up` with other programs as its services: `python launcher.py CONFIG_JSON`."""

import sys

import msgspec

from fastgshare.cli.up.command import run
from fastgshare.cli.up.config import UpConfig

if __name__ == "__main__":
    sys.exit(run(msgspec.json.decode(sys.argv[1], type=UpConfig, dec_hook=lambda kind, value: kind(value))))
