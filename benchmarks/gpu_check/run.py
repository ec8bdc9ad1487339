"""`make gpu-check`: what only a GPU can answer. See README.md beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu_check.check import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
