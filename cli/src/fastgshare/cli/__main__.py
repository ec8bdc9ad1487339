"""`fastgshare` and `python -m fastgshare.cli`."""

from fastgshare.cli.app import app


def main() -> None:
    """Run the command line."""
    app(prog_name="fastgshare")


if __name__ == "__main__":
    main()
