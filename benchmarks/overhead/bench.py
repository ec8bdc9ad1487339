"""The measurement itself: brings everything up once, then takes turns between systems, round after round."""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.command import finish, measure_platform, parser, say
from benchmarks.overhead import machine
from benchmarks.overhead.figures import Case, Round, absolutes, cpu_us_per_request, misses, ratios, table
from benchmarks.overhead.identity import row, write_model
from benchmarks.overhead.load import closed_loop
from benchmarks.overhead.partners import fastapi_partner, raw_partner
from benchmarks.overhead.systems import Clients, all_share, over_http, platform_call, raw_call
from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import open_platform
from fastgshare.client import FunctionDefinition, ModelSource
from fastgshare.client import connect as connect_client

SMALL, LARGE = "identity", "identity-large"
FLOATS = {SMALL: 16, LARGE: 600 * 1024 // 4}
CLIENTS = (1, 8, 64)
TENSOR_CLIENTS = (1, 8)
CASES = [
    *(Case("nats", "raw", clients) for clients in CLIENTS),
    *(Case("http", "fastapi", clients) for clients in CLIENTS),
    *(Case("tensor", "raw", clients) for clients in TENSOR_CLIENTS),
]


class Plan(msgspec.Struct, frozen=True):
    """How long to measure: each system of each case for `seconds` in each of `rounds`."""

    rounds: int
    seconds: float
    warm_up_s: float


QUICK = Plan(rounds=3, seconds=0.4, warm_up_s=0.2)
FULL = Plan(rounds=9, seconds=1.0, warm_up_s=1.0)


class Scene(msgspec.Struct):
    """Everything that runs, and its clients by kind and system."""

    pids: dict[str, int]
    idle_rss_mib: dict[str, float]
    clients: dict[tuple[str, str], Clients]


class Measured(NamedTuple):
    """All rounds of all cases, and memory before and after, by process."""

    rounds: dict[Case, list[Round]]
    memory: dict[str, dict[str, float]]


def main(argv: list[str]) -> int:
    """Measure, print a table and, as the last line, one JSON object; the exit status."""
    options = parser("what the platform costs over the bare bus").parse_args(argv)
    return measure_platform(options, (QUICK, FULL), measure, publish)


async def measure(plan: Plan) -> Measured:
    """All rounds of all cases, and memory before and after."""
    async with open_scene() as scene:
        for case in CASES:
            await take_turns(scene, case, plan.warm_up_s, platform_first=False)
        rounds: dict[Case, list[Round]] = {case: [] for case in CASES}
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            for case in CASES:
                rounds[case].append(await take_turns(scene, case, plan.seconds, bool(number % 2)))
        loaded = machine.resident_mib(scene.pids)
        return Measured(rounds, {"idle_rss_mib": scene.idle_rss_mib, "rss_after_load_mib": loaded})


async def take_turns(scene: Scene, case: Case, seconds: float, platform_first: bool) -> Round:
    """Both systems, one right after the other; who begins changes from round to round."""
    systems = ["platform", case.baseline] if platform_first else [case.baseline, "platform"]
    samples, spent_us = {}, {}
    for system in systems:
        async with scene.clients[case.kind, system](case.clients) as calls:
            before_us = machine.cpu_us(scene.pids)
            samples[system] = await closed_loop(calls, seconds)
            after_us = machine.cpu_us(scene.pids)
        spent_us[system] = {name: after_us[name] - before_us[name] for name in after_us}
    return Round(samples[case.baseline], samples["platform"], spent_us["platform"])


@asynccontextmanager
async def open_scene() -> AsyncIterator[Scene]:
    """The platform with both functions deployed, its partners, and all connections, in a folder that goes away."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fastgshare-bench-")))
        say("starting the platform")
        config = UpConfig(data_dir=home / "data", nats_port=0, http_port=0)
        running = await stack.enter_async_context(open_platform(config, say))
        pids = await machine.pids_of(running)
        idle_rss_mib = machine.resident_mib(pids)
        nats_url = running.endpoints.nats_url
        client = await stack.enter_async_context(connect_client(nats_url))
        say("deploying")
        for function, floats in FLOATS.items():
            model = write_model(home / f"{function}.onnx", floats)
            await client.deploy(FunctionDefinition(name=function, model=ModelSource(file=str(model))))
        raw = await stack.enter_async_context(raw_partner(nats_url, home / "responder.log"))
        fastapi_port = await stack.enter_async_context(fastapi_partner(home / "fastapi.log"))
        platform_port = int(running.endpoints.http_url.rpartition(":")[2])
        small, large = row(FLOATS[SMALL]), row(FLOATS[LARGE])
        clients = {
            ("nats", "raw"): all_share(raw_call(raw, small)),
            ("nats", "platform"): all_share(platform_call(client, SMALL, small)),
            ("tensor", "raw"): all_share(raw_call(raw, large)),
            ("tensor", "platform"): all_share(platform_call(client, LARGE, large)),
            ("http", "fastapi"): over_http(fastapi_port, SMALL, small),
            ("http", "platform"): over_http(platform_port, SMALL, small),
        }
        yield Scene({"client": os.getpid(), **pids}, idle_rss_mib, clients)


def publish(plan: Plan, measured: Measured, check: bool) -> int:
    """Say it all; the exit status."""
    rounds, memory = measured
    figures = {key: round(value, 3) for case in CASES for key, value in ratios(case, rounds[case]).items()}
    found = {case.name: absolutes(case, rounds[case]) for case in CASES}
    spent = {case.name: cpu_us_per_request(rounds[case]) for case in CASES}
    failures = [
        f"failed: {case.name}: {failure}"
        for case in CASES
        for measured_round in rounds[case]
        for sample in (measured_round.baseline, measured_round.platform)
        for failure in sample.failures
    ]
    missed = misses(figures, memory["idle_rss_mib"])
    print(table(found, figures))
    print("CPU us/request", *(f"\n  {name:<11}{_listed(cell)}" for name, cell in spent.items()), sep="")
    print(f"idle MiB\n  {'':<11}{_listed(memory['idle_rss_mib'])}")
    document = {
        **figures,
        **memory,
        "measured": found,
        "cpu_us_per_request": spent,
        "missed": missed,
        "failures": len(failures),
        "plan": msgspec.to_builtins(plan),
        "machine": machine.facts(),
    }
    return finish(document, missed, failures, check=check)


def _listed(values: dict[str, float]) -> str:
    return "".join(f"{f'{name} {value:.0f}':<18}" for name, value in values.items())
