"""`fastgshare result`."""

import json
from typing import Annotated

import typer

from fastgshare.cli.inputs import to_json, to_line
from fastgshare.cli.running import Url, Usage, in_ms, reported, say, with_client
from fastgshare.client.connection import Client
from fastgshare.shared.messages import JobRecord

_WAIT_S = 24 * 3600.0


def result(
    job: Annotated[str, typer.Argument(help="What `invoke --async` printed.")],
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = _WAIT_S,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="End it instead; of one that has ended, forget a large result.")
    ] = False,
    output_json: Annotated[bool, typer.Option("--output-json", help="Print the answer as JSON.")] = False,
    url: Url = None,
) -> None:
    """Print the answer of an asynchronous call; status 1 while there is none."""

    async def act(client: Client) -> None:
        if cancel:
            print(f"{job} {(await client.jobs.cancel(job)).state}")
            return
        found = await client.jobs.result(job, wait_s=timeout if wait else 0.0)
        if output_json:
            print(json.dumps(to_json(job.partition(".")[0], found)))
            return
        for name, array in found.outputs.items():
            print(to_line(name, array))
        say(_story(await client.jobs.look(job)))

    with reported():
        if cancel and wait:
            raise Usage(problem="give one of --wait and --cancel")
        with_client(url, act)


def _story(record: JobRecord) -> str:
    waited = in_ms(record.started_us - record.submitted_us)
    return f"waited {waited} ms, ran {in_ms(record.ended_us - record.started_us)} ms on {record.gateway}"
