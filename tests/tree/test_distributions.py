"""The distributions stay honest: one namespace, declared dependencies, locks that any machine can use."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "shared"
DISTRIBUTIONS = [
    SHARED,
    ROOT / "cli",
    *sorted(path.parent for path in ROOT.glob("services/*/pyproject.toml")),
    ROOT / "simulator",
]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))

each_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
each_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_by(distribution: Path) -> set[str]:
    project = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    specifiers = [*project["dependencies"], *(specifier for extra in extras for specifier in extra)]
    return {canonical(re.split(r"[\[<>=!~; ]", specifier, maxsplit=1)[0]) for specifier in specifiers}


def imported_by(distribution: Path) -> Iterator[tuple[str, str]]:
    """(top-level package, where) of every import outside the standard library and the namespace."""
    for path in sorted((distribution / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                package = name.partition(".")[0]
                if package != "fastgshare" and package not in sys.stdlib_module_names:
                    yield package, f"{path.relative_to(ROOT)}:{node.lineno}"


@each_distribution
def test_the_namespace_belongs_to_no_distribution(distribution: Path) -> None:
    assert (distribution / "src/fastgshare").is_dir()
    assert not (distribution / "src/fastgshare/__init__.py").exists()


@each_distribution
def test_a_distribution_declares_what_it_imports(distribution: Path) -> None:
    declared = declared_by(distribution) | declared_by(SHARED)
    owners = packages_distributions()
    undeclared = [
        f"{package} at {where}"
        for package, where in imported_by(distribution)
        if not declared & {canonical(owner) for owner in owners.get(package, [package])}
    ]
    assert undeclared == []


@each_lock
def test_a_lock_pins_everything_by_hash(lock: Path) -> None:
    requirements = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


@each_lock
def test_a_lock_names_no_index_and_no_path(lock: Path) -> None:
    assert not re.search(r"://|index|find-links|file:|/|\\[^\n]", lock.read_text())


def test_what_runs_is_what_is_tested() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^\S+==.*(?= \\$)", (ROOT / "requirements" / name).read_text(), flags=re.MULTILINE))

    assert pins("run.lock") <= pins("dev.lock")
