"""`make bench-scheduler`: objectives met with the fewest devices, and how true the simulator is. See README.md."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.scheduler.bench import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
