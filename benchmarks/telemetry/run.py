"""`make bench-telemetry`: what seeing costs, and whether nothing is missed. See README.md beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.telemetry.bench import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
