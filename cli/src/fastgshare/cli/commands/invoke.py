"""`fastgshare invoke`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from fastgshare.cli.inputs import parse_file, parse_input, parse_json, to_json, to_line
from fastgshare.cli.running import Url, Usage, in_ms, reported, say, with_client
from fastgshare.client.connection import DEFAULT_TIMEOUT_S, Client
from fastgshare.client.values import Result, Value
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.errors import RequestRefused
from fastgshare.shared.messages import Signature
from fastgshare.shared.registry import FunctionUnknown
from fastgshare.shared.tracing import new_trace

STDIN = "-"


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
    timeout: Annotated[float, typer.Option(min=0, help="Seconds until it must be answered.")] = DEFAULT_TIMEOUT_S,
    url: Url = None,
) -> None:
    """Call a function with tensors, a file or JSON, and print its answer."""

    async def act(client: Client) -> None:
        signature = await client.signature(function)
        if signature is None and function not in {spec.name for spec in await client.functions()}:
            raise FunctionUnknown(function=function)
        tensors, outputs = _parse(function, signature, inputs or [], file, text)
        start_us = monotonic_us()
        span = new_trace(sampled=True) if trace else None
        try:
            result = await client.invoke(function, tensors, outputs=outputs, timeout_s=timeout, trace=span)
        except RequestRefused:
            if span is not None:
                say(f"trace {span.trace_id}: `fastgshare trace {span.trace_id}` shows it")
            raise
        if output_json:
            print(json.dumps(to_json(function, result)))
        else:
            _show(result, monotonic_us() - start_us)
        if span is not None:
            request = request_of(result)
            say(f"request {request}, trace {span.trace_id}: `fastgshare trace {request}` shows it")

    with reported():
        if sum(given is not None and given != [] for given in (inputs, file, json_text)) != 1:
            raise Usage(problem="give exactly one of --input (repeatable), --file and --json")
        if not timeout > 0:
            raise Usage(problem=f"--timeout is {timeout:g}, expected above 0")
        text = sys.stdin.read() if json_text == STDIN else json_text
        with_client(url, act)


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


def _show(result: Result, took_us: int) -> None:
    for name, array in result.outputs.items():
        print(to_line(name, array))
    timing = result.timing
    parts = f"{in_ms(took_us)} ms"
    if timing is not None:
        times = {"queue": timing.queue_us, "handler": timing.handler_us, "run": timing.execute_us}
        parts += f" ({', '.join(f'{name} {in_ms(us)}' for name, us in times.items())}, batch {timing.batch})"
    say(f"{result.replica} in {parts}")
