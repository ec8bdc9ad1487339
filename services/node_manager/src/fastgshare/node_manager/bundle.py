"""A function's user code as it is stored (a zip) and as it is run from (a directory of its own).

Nothing is written outside that directory, whatever the archive says, and not more than it may.
"""

import shutil
import stat
import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from fastgshare.shared.errors import FastGShareError
from fastgshare.shared.units import BYTES_PER_MIB

MAX_FILES = 10_000
MAX_UNPACKED_MIB = 1024


class BundleInvalid(FastGShareError):
    """An archive that is not unpacked: field `reason`."""


def unpack_bundle(bundle: Path, directory: Path, limit_mib: float = MAX_UNPACKED_MIB) -> None:
    """Unpack `bundle` into `directory`, which must not exist yet. Raises BundleInvalid; blocks."""
    try:
        with ZipFile(bundle) as archive:
            members = archive.infolist()
            _check(members, limit_mib)
            directory.mkdir(parents=True)
            archive.extractall(directory, members)
    except (BadZipFile, OSError, EOFError, RuntimeError, LZMAError, zlib.error) as error:  # zipfile raises them all
        shutil.rmtree(directory, ignore_errors=True)
        raise BundleInvalid(reason=f"cannot be unpacked: {error}") from error


def _check(members: list[ZipInfo], limit_mib: float) -> None:
    if len(members) > MAX_FILES:
        raise BundleInvalid(reason=f"holds {len(members)} files, at most {MAX_FILES} are unpacked")
    size_mib = sum(member.file_size for member in members) / BYTES_PER_MIB  # zipfile reads no more than this says
    if size_mib > limit_mib:
        raise BundleInvalid(reason=f"unpacks to {size_mib:.0f} MiB, at most {limit_mib:.0f} MiB are unpacked")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
            raise BundleInvalid(reason=f"'{member.filename}' points out of the bundle")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BundleInvalid(reason=f"'{member.filename}' is a symbolic link")
