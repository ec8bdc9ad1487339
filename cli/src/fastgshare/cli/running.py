"""How every command talks to a platform and how it ends.

Exit status 0: done. 1: the platform refused or could not. 2: what was asked for makes no sense. Expected
conditions are one line on standard error, never a traceback.
"""

import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import anyio
import typer

from fastgshare.client.connection import Client, connect
from fastgshare.client.definition import FunctionDefinition
from fastgshare.client.errors import PlatformNotFound, SourceUnavailable
from fastgshare.client.location import URL_VARIABLE, nats_url
from fastgshare.client.specfile import read_definition
from fastgshare.shared.access import read_access
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.errors import FastGShareError, InvalidSpec, RequestRefused
from fastgshare.shared.registry import FunctionUnknown
from fastgshare.shared.units import ms_to_us, us_to_ms, us_to_s

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
CONNECT_TIMEOUT_S = 3.0
NATS_PORT = 4222
NATS_SCHEMES = ("nats", "tls", "ws", "wss")
_LOOK = "see `fastgshare status`"

Url = Annotated[
    str | None,
    typer.Option("--url", envvar=URL_VARIABLE, help="The platform's NATS server; default: the one on this machine."),
]


class Usage(FastGShareError):
    """What was asked for makes no sense: field `problem`."""

    def __str__(self) -> str:
        return str(self.fields["problem"])


def with_client(url: str | None, act: Callable[[Client], Awaitable[None]]) -> None:
    """Connect and `act`; what goes wrong ends the command as `reported` does."""
    # The connection's own troubles end up in what the command reports.
    logging.getLogger("fastgshare").addHandler(logging.NullHandler())
    logging.getLogger("fastgshare").propagate = False

    async def main() -> None:
        await _probe(nats_url(url, os.environ))
        async with connect(url, name="cli", connect_timeout_s=CONNECT_TIMEOUT_S) as client:
            try:
                await act(client)
            except SystemExit as ended:  # rich's answer to a pipe that nobody reads; a task group would wrap it
                raise BrokenPipeError from ended
            except FunctionUnknown as error:
                name = str(error.fields["function"])
                known = [str(spec.name) for spec in await client.functions()]
                raise FunctionUnknown(function=name, similar=get_close_matches(name, known, 1)) from error

    with reported():
        anyio.run(main)


async def _probe(url: str) -> None:
    """Fail at once where nothing listens: a person waits here, while a program may outlast a server's restart."""
    for server in [_server(part) for part in url.split(",")]:
        with suppress(OSError), anyio.fail_after(CONNECT_TIMEOUT_S):
            stream = await anyio.connect_tcp(server.hostname or "", server.port or NATS_PORT)
            await stream.aclose()
            return
    servers = ",".join(read_access(url).servers)
    raise PlatformNotFound(url=servers, reason="nothing listens there")


def _server(url: str) -> SplitResult:
    """A URL, or HOST:PORT as NATS's own tools take it as well. Raises Usage."""
    try:
        server = urlsplit(url if "://" in url else f"nats://{url}")
        if server.hostname and server.scheme in NATS_SCHEMES and (server.port or "://" in url):
            return server
    except ValueError:  # the port is no number
        pass
    raise Usage(problem=f"'{url}' is not a NATS URL: expected nats://HOST:PORT")


def in_ms(took_us: float) -> str:
    """Milliseconds with about three digits that mean something."""
    took_ms = us_to_ms(took_us)
    return f"{took_ms:.{1 if took_ms >= 10 else 2 if took_ms >= 1 else 3}f}"


@contextmanager
def reported() -> Iterator[None]:
    """Turn expected conditions into a line for a person.

    Raises:
        typer.Exit: with the status that fits.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has had enough of it; the interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(EXIT_FAILED) from None
    except FastGShareError as error:
        complain(explain(error))
        mine = isinstance(error, Usage | InvalidSpec | SourceUnavailable)
        raise typer.Exit(EXIT_USAGE if mine else EXIT_FAILED) from None


def read_checked(file: Path) -> FunctionDefinition:
    """The definition in a YAML file; what is wrong with it names the file. Raises InvalidSpec."""
    try:
        return read_definition(file)
    except InvalidSpec as error:
        raise InvalidSpec([f"{file}: {problem}" for problem in error.problems]) from error


def say(line: str) -> None:
    """Tell a person what is going on: standard error, so that output can be piped."""
    print(line, file=sys.stderr, flush=True)


def complain(problem: str) -> None:
    """Say why it did not work, in one line."""
    say(f"fastgshare: {problem}")


def explain(error: FastGShareError) -> str:
    """One line for a person: what happened and what to do."""
    match error:
        case RequestRefused(body=body):
            again = f"; try again in {us_to_s(ms_to_us(body.retry_after_ms)):g} s" if body.retry_after_ms else ""
            return f"refused ({body.code.value}): {body.message}{again}"
        case FunctionUnknown():
            similar = error.fields.get("similar")
            what_to_do = f"did you mean '{similar[0]}'?" if isinstance(similar, list) and similar else _LOOK
            return f"no function '{error.fields['function']}': {what_to_do}"
        case StorageUnavailable():
            return (
                f"the platform's storage did not answer ({error.fields['bucket']}: {error.fields['reason']}): "
                "is `fastgshare up` ready?"
            )
        case _:
            return " ".join(str(error).split())  # reasons from libraries have line breaks
