"""`scripts/setup.sh` on machines that lack something: it names the remedy and never blocks its next try."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A Python as the script sees one. It lacks what files beside it name, makes environments whose interpreter is
# itself, and writes down what pip is asked.
FAKE_PYTHON = """#!/usr/bin/env bash
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
case "$*" in
    --version) echo "Python 3.11.2" ;;
    *"print("*) echo "3.11" ;;
    *version_info*) [[ ! -e $here/too-old ]] ;;
    *ensurepip*) [[ ! -e $here/no-ensurepip ]] ;;
    "-m venv "*) mkdir -p "$3/bin" && ln -s "$here/python3" "$3/bin/python" && touch "$3/with-pip" ;;
    "-m pip --version") [[ -e .venv/with-pip ]] ;;
    "-m pip "*) echo "$*" >>"$here/pip-calls"; [[ ! -e $here/no-index ]] ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Machine:
    """A copy of the script with a PATH that holds a fake Python and the few programs the script uses."""

    def __init__(self, home: Path) -> None:
        self.tree = home / "tree"
        self.bin = home / "bin"
        self.venv = self.tree / ".venv"
        (self.tree / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts/setup.sh", self.tree / "scripts/setup.sh")
        self.bin.mkdir()
        for program in ("bash", "dirname", "env", "ln", "mkdir", "readlink", "rm", "touch"):
            found = shutil.which(program)
            assert found, program
            (self.bin / program).symlink_to(found)

    def install_python(self) -> None:
        python = self.bin / "python3"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)

    def lacks(self, what: str) -> None:
        (self.bin / what).touch()

    def has_again(self, what: str) -> None:
        (self.bin / what).unlink()

    def set_up(self) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
        return subprocess.run(
            [self.tree / "scripts/setup.sh"],
            env=environment | {"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def pip_calls(self) -> list[str]:
        return (self.bin / "pip-calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_installs_the_lock_by_hash_and_then_the_tree(machine: Machine) -> None:
    machine.install_python()
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    locked, tree = machine.pip_calls()
    assert "--require-hashes --requirement requirements/dev.lock" in locked
    assert "--no-deps --no-build-isolation" in tree
    assert tree.count("--editable") == 7


def test_a_machine_without_python_is_told_what_brings_it(machine: Machine) -> None:
    result = machine.set_up()
    assert result.returncode == 1
    assert "sudo apt-get install python3 python3-venv" in result.stderr


def test_an_old_python_counts_as_none(machine: Machine) -> None:
    machine.install_python()
    machine.lacks("too-old")
    result = machine.set_up()
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed" in result.stderr


def test_a_python_without_ensurepip_is_told_what_brings_it(machine: Machine) -> None:
    machine.install_python()
    machine.lacks("no-ensurepip")
    result = machine.set_up()
    assert result.returncode == 1
    assert "sudo apt-get install python3-venv" in result.stderr
    assert not machine.venv.exists()


def test_an_environment_left_half_made_is_made_again(machine: Machine) -> None:
    machine.install_python()
    (machine.venv / "bin").mkdir(parents=True)
    (machine.venv / "bin/python").symlink_to(machine.bin / "python3")
    (machine.venv / "left-over").touch()
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert not (machine.venv / "left-over").exists()


def test_an_unreachable_index_is_explained_and_does_not_block_the_next_try(machine: Machine) -> None:
    machine.install_python()
    machine.lacks("no-index")
    result = machine.set_up()
    assert result.returncode == 1
    assert "could not reach its package index" in result.stderr
    machine.has_again("no-index")
    assert machine.set_up().returncode == 0
