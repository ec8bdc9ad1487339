"""`fastgshare invoke`."""

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.inputs import parse_file, parse_input, parse_json, to_json, to_line
from fastgshare.cli.running import Url, Usage, in_ms, reported, say, with_client
from fastgshare.client.connection import DEFAULT_TIMEOUT_S, Client
from fastgshare.client.errors import SignatureUnknown
from fastgshare.client.jobs import DEFAULT_TIME_S
from fastgshare.client.values import Result, Value
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import RequestRefused
from fastgshare.shared.messages import Signature
from fastgshare.shared.tracing import TraceContext, new_trace
from fastgshare.shared.units import us_to_s

STDIN = "-"
LEAST_TIME_S = 0.001


def invoke(
    function: Annotated[str, typer.Argument(help="Its name.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="name=JSON, name=@file[.npy|.npz]; repeatable."),
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The only input, or an .npz with inputs by name.")] = None,
    json_text: Annotated[
        str | None, typer.Option("--json", help='A request as {"inputs": [...]}, or - for standard input.')
    ] = None,
    output_json: Annotated[bool, typer.Option("--output-json", help="Print the answer as JSON.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Keep its trace, and tell the ids to find it by.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds until it must be answered: 10, with --async 3600.")
    ] = None,
    asynchronous: Annotated[
        bool, typer.Option("--async", help="Queue it, and print the id that `fastgshare result` takes.")
    ] = False,
    url: Url = None,
) -> None:
    """Call a function with tensors, a file or JSON, and print its answer; one in parts as they come."""

    async def act(client: Client) -> None:
        start_us = monotonic_us()
        signature = await _signature(client, function, timeout or DEFAULT_TIMEOUT_S, asynchronous and file is None)
        tensors, outputs = _parse(function, signature, inputs or [], file, text)
        if asynchronous:
            print(await client.submit(function, tensors, outputs=outputs, time_s=timeout or DEFAULT_TIME_S))
            return
        span = new_trace(sampled=True) if trace else None
        time_s = max(LEAST_TIME_S, (timeout or DEFAULT_TIMEOUT_S) - us_to_s(monotonic_us() - start_us))
        try:
            request = await _call(client, function, signature, tensors, outputs, time_s, span, output_json)
        except RequestRefused:
            if span is not None:
                say(f"trace {span.trace_id}: `fastgshare trace {span.trace_id}` shows it")
            raise
        if span is not None:
            say(f"request {request}, trace {span.trace_id}: `fastgshare trace {request}` shows it")

    with reported():
        if sum(given is not None and given != [] for given in (inputs, file, json_text)) != 1:
            raise Usage(problem="give exactly one of --input (repeatable), --file and --json")
        if timeout is not None and not timeout > 0:
            raise Usage(problem=f"--timeout is {timeout:g}, expected above 0")
        text = sys.stdin.read() if json_text == STDIN else json_text
        with_client(url, act)


async def _signature(client: Client, function: str, time_s: float, may_do_without: bool) -> Signature | None:
    """What it takes, awaited: right after a start of the platform no replica has told. A job may wait in its queue."""
    try:
        return await client.signature(function, wait_s=min(time_s, DEFAULT_TIMEOUT_S) if may_do_without else time_s)
    except SignatureUnknown:
        if may_do_without:
            return None
        raise


async def _call(
    client: Client,
    function: str,
    signature: Signature | None,
    tensors: dict[str, Value],
    outputs: list[str],
    timeout_s: float,
    span: TraceContext | None,
    as_json: bool,
) -> str:
    """Print what comes, all of it; the request's id."""
    start_us = monotonic_us()
    if signature is None or not signature.streams:
        result = await client.invoke(function, tensors, outputs=outputs, timeout_s=timeout_s, trace=span)
        _tell(function, result, monotonic_us() - start_us, as_json)
        return request_of(result)
    request = ""
    stream = client.invoke_stream(function, tensors, outputs=outputs, timeout_s=timeout_s, trace=span)
    async with aclosing(stream) as parts:
        async for part in parts:
            request = request_of(part) or request
            _tell(function, part, monotonic_us() - start_us, as_json)
    return request


def request_of(result: Result) -> str:
    """The request that an answer is to; its trace's id finds it where that is not told."""
    return (result.attempt or "").rpartition(".")[0]


def _parse(
    function: str, signature: Signature | None, inputs: list[str], file: Path | None, text: str | None
) -> tuple[dict[str, Value], list[str]]:
    if text is not None:
        return parse_json(text, signature)
    if file is not None:
        return parse_file(file, function, signature), []
    return dict(parse_input(option, signature) for option in inputs), []


def _tell(function: str, result: Result, took_us: int, as_json: bool) -> None:
    if as_json:
        print(json.dumps(to_json(function, result)), flush=True)
    else:
        _show(result, took_us)


def _show(result: Result, took_us: int) -> None:
    for name, array in result.outputs.items():
        print(to_line(name, array))
    timing = result.timing
    parts = f"{in_ms(took_us)} ms"
    if timing is not None:
        times = {"queue": timing.queue_us, "handler": timing.handler_us, "run": timing.execute_us}
        parts += f" ({', '.join(f'{name} {in_ms(us)}' for name, us in times.items())}, batch {timing.batch})"
    say(f"{result.replica} in {parts}")
