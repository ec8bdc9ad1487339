"""Tables to files and from files: what stands now, and what was measured elsewhere."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fastgshare.cli.commands.profile.figures import day
from fastgshare.cli.running import Usage, say
from fastgshare.client.connection import Client
from fastgshare.client.errors import TableFileInvalid, TableForeign
from fastgshare.client.tablefiles import FORMATS, MAX_FILE_BYTES, TableRead, read_table, write_table
from fastgshare.shared import subjects
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody, ErrorCode, RequestRefused
from fastgshare.shared.messages import Profile, ProfileState
from fastgshare.shared.units import BYTES_PER_MIB


def check_place(file: Path) -> None:
    """Raises Usage where there is no directory to write the file into."""
    if not file.parent.is_dir():
        raise Usage(problem=f"{file}: cannot write it: there is no directory {file.parent}")


def save(profile: Profile, directory: Path) -> None:
    """Under the name by which the `sim` device finds it. Raises Usage."""
    path = directory / f"{subjects.profile_key(profile.model_digest, profile.device_kind)}.json"
    with _written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, msgspec.json.format(msgspec.json.encode(profile)))


def export(profile: Profile, file: Path) -> None:
    """As CSV or JSON, by the file's name. Raises Usage."""
    if profile.state is not ProfileState.COMPLETE:
        say(f"{file}: the table is {profile.state.value}, and --import takes only complete ones")
    _write(file, write_table(profile, checked_suffix(file)))


def checked_suffix(file: Path) -> str:
    """How the file's name ends. Raises Usage where that is no kind of table."""
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        raise Usage(problem=f"{file}: expected a name that ends in {' or '.join(FORMATS)}")
    return suffix


async def take_in(client: Client, function: str, file: Path, kind: str | None, model: str, force: bool) -> None:
    """Store a file's table as that of the function's model on this kind of device.

    Raises:
        Usage: the file, or what it is a table of, cannot be used; nothing was stored.
        TableBusy, FunctionUnknown, StorageUnavailable.
    """
    read = _read(file, model)
    for note in read.notes:
        say(f"{file}: {note}")
    table = read.profile
    if kind is not None and table.device_kind not in ("", kind) and not force:
        raise Usage(
            problem=f"{file}: it was measured on {table.device_kind}, not on {kind}; --force takes it all the same"
        )
    table = replace(table, device_kind=kind or table.device_kind, source=_source(file, table.source))
    if not table.device_kind:
        raise Usage(problem=f"{file}: it does not tell the kind of device it was measured on: name one with --kind")
    if not table.model_digest:
        say(f"{file}: it does not tell the model it was measured with; taken to be that of '{function}'")
    try:
        stored = await client.import_profile(function, table, force=force)
    except TableForeign as error:
        raise Usage(problem=f"{file}: {error}; --force takes it all the same") from error
    points = _count(len(stored.points), "measured point")
    say(f"table of '{function}' on {stored.device_kind} stored: {points}, version {stored.table_version}")
    await _warn_of_strange(client, stored.device_kind)


async def drop(client: Client, function: str, table: Profile) -> None:
    """Remove a function's table, and say who else loses it and who measures it anew. Raises TableBusy."""
    await client.drop_profile(function, table.device_kind)
    points = _count(len(table.points), "measured point")
    say(f"table of '{function}' on {table.device_kind} removed: {points}, version {table.table_version}")
    others = [
        spec.name
        for spec in await client.functions()
        if spec.model.digest == table.model_digest and spec.name != function
    ]
    if others:
        say(f"it was that of {', '.join(sorted(others))} too, of the same model")
    kinds = await kinds_here(client)
    if table.device_kind in kinds:
        say("the profiler measures it anew by itself")
    else:
        say(f"no device here is a {table.device_kind} now: the profiler measures it anew by itself when one is")


async def kinds_here(client: Client) -> list[str]:
    """The kinds of the devices that beat."""
    return sorted({device.kind for node in (await client.status()).nodes for device in node.devices})


def only_one(tables: Sequence[Profile], function: str) -> Profile:
    """The table meant where one is. Raises Usage where there are several, RequestRefused where there is none."""
    if not tables:
        text = f"no table of '{function}' yet: `fastgshare profile {function}` measures it"
        raise RequestRefused(ErrorBody(ErrorCode.NOT_FOUND, text))
    if len(tables) > 1:
        kinds = ", ".join(table.device_kind for table in tables)
        raise Usage(problem=f"'{function}' has tables of several kinds of device ({kinds}): choose one with --kind")
    return tables[0]


async def _warn_of_strange(client: Client, kind: str) -> None:
    """A kind that no device has is a slip of the keyboard as often as a device that is yet to come."""
    kinds = await kinds_here(client)
    if kind not in kinds:
        have = ", ".join(kinds) or "none"
        say(f"no device here is a {kind} now (there: {have}); the table waits for one")


def _read(file: Path, model: str) -> TableRead:
    suffix = checked_suffix(file)
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            limit_mib = MAX_FILE_BYTES // BYTES_PER_MIB
            raise Usage(problem=f"{file}: it has {size / BYTES_PER_MIB:.1f} MiB, expected at most {limit_mib}")
        return read_table(file.read_bytes(), suffix, model=model)
    except OSError as error:
        raise Usage(problem=f"{file}: cannot read it: {error.strerror or error}") from None
    except TableFileInvalid as error:
        raise Usage(problem=f"{file}: {error}") from None


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _source(file: Path, before: str) -> str:
    text = f"imported from {file.name} on {day(unix_us())}"
    return f"{text} ({before})" if before else text


def _write(path: Path, content: bytes) -> None:
    with _written(path):
        path.write_bytes(content)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Usage(problem=f"{path}: cannot write it: {error.strerror or error}") from None
    say(f"written {path}")
