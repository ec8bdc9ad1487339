"""A stand-in for `nvidia-cuda-mps-control`: a script on the PATH that writes down what it was told."""

import shlex
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """#!/bin/sh
here={here}
running=$CUDA_MPS_PIPE_DIRECTORY/running
command=$1
[ -n "$command" ] || read -r command
echo "$command" >>$here/told
env >>$here/environments
echo >>$here/environments
[ ! -e $here/hang ] || exec sleep 3600
case $command in
    -d)
        [ ! -e $here/broken ] || {{ echo "cannot create the pipes"; exit 1; }}
        touch "$running" ;;
    *) [ -e "$running" ] || {{ echo "Cannot find MPS control daemon process"; exit 0; }} ;;
esac
case $command in
    quit) rm "$running" ;;
    get_server_list) echo 4711 ;;
    get_server_status*) if [ -e $here/fault ]; then echo FAULT; else echo ACTIVE; fi ;;
esac
"""


@dataclass(frozen=True)
class FakeControl:
    """`says` makes it misbehave: a file called hang, broken or fault."""

    directory: Path

    def told(self) -> list[str]:
        """The commands, in order."""
        return self._read("told").splitlines()

    def environments(self) -> list[dict[str, str]]:
        """The environments of the commands."""
        blocks = self._read("environments").split("\n\n")
        return [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]

    def says(self, what: str) -> None:
        (self.directory / what).touch()

    def says_no_more(self, what: str) -> None:
        (self.directory / what).unlink()

    def _read(self, name: str) -> str:
        path = self.directory / name
        return path.read_text() if path.exists() else ""


def fake_control(directory: Path) -> FakeControl:
    """Put the script into `directory`."""
    script = directory / "nvidia-cuda-mps-control"
    script.write_text(SCRIPT.format(here=shlex.quote(str(directory))))
    script.chmod(0o755)
    return FakeControl(directory)
