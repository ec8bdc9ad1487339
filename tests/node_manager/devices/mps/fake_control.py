"""A stand-in for `nvidia-cuda-mps-control`: a script on the PATH that writes down what it was told."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """#!{python} -SE
import json, os, sys, time
told, here = {told!r}, {here!r}
pipes = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
running = os.path.join(pipes, "running")
command = "-d" if "-d" in sys.argv else sys.stdin.read().strip()
with open(told, "a") as file:
    file.write(json.dumps([command, dict(os.environ)]) + "\\n")
def has(name):
    return os.path.exists(os.path.join(here, name))
if has("hang"):
    time.sleep(3600)
if command == "-d":
    if has("broken"):
        sys.exit("cannot create the pipes")
    open(running, "w").close()
elif not os.path.exists(running):
    print("Cannot find MPS control daemon process")
elif command == "quit":
    os.remove(running)
elif command == "get_server_list":
    print(4711)
elif command.startswith("get_server_status"):
    print("FAULT" if has("fault") else "ACTIVE")
"""


@dataclass(frozen=True)
class FakeControl:
    """`says` makes it misbehave: a file called hang, broken or fault."""

    directory: Path

    def told(self) -> list[str]:
        """The commands, in order."""
        return [command for command, _ in self._lines()]

    def environments(self) -> list[dict[str, str]]:
        """The environments of the commands."""
        return [environment for _, environment in self._lines()]

    def says(self, what: str) -> None:
        (self.directory / what).touch()

    def says_no_more(self, what: str) -> None:
        (self.directory / what).unlink()

    def _lines(self) -> list[tuple[str, dict[str, str]]]:
        path = self.directory / "told"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def fake_control(directory: Path) -> FakeControl:
    """Put the script into `directory`."""
    script = directory / "nvidia-cuda-mps-control"
    script.write_text(SCRIPT.format(python=sys.executable, told=str(directory / "told"), here=str(directory)))
    script.chmod(0o755)
    return FakeControl(directory)
