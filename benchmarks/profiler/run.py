"""`make bench-profiler`: how much of a grid has to be measured to know it. See README.md beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.profiler.bench import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
