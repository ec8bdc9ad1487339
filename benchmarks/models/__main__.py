"""`python -m benchmarks.models list`, and `... export NAME --size SIZE --format FORMAT --to DIR [--slo-ms N]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.models.catalog import MODELS, SIZES, parameters
from benchmarks.models.export import DEFAULT_SLO_MS, FORMATS, ExportRefused, export


def main(argv: Sequence[str]) -> int:
    """The exit status."""
    options = _parser().parse_args(argv)
    if options.command == "list":
        for name in MODELS:
            counts = (f"{size} {parameters(name, size) / 1e6:.3f} M" for size in SIZES)
            print(f"{name:12}", *(f"{count:18}" for count in counts))
        return 0
    try:
        written = export(options.name, options.size, options.format, options.to, options.slo_ms)
    except (ExportRefused, OSError) as error:
        print(f"cannot export it: {error}", file=sys.stderr)
        return 1
    print(f"wrote {written}; deploy it with: fastgshare deploy {written}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description="Models for benchmarks.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="names, sizes and numbers of parameters")
    exporting = commands.add_parser("export", help="write a model and a function.yaml that deploys it")
    exporting.add_argument("name", choices=list(MODELS))
    exporting.add_argument("--size", choices=SIZES, default="tiny")
    exporting.add_argument("--format", choices=list(FORMATS), default="torch")
    exporting.add_argument("--to", type=Path, required=True, metavar="DIR", help="made if it is not there")
    exporting.add_argument("--slo-ms", type=float, default=DEFAULT_SLO_MS)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
