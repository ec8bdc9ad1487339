"""The measurement itself: platforms that differ in tracing alone take turns; then violations, console, containers."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from benchmarks.command import finish, measure_platform, parser, say
from benchmarks.otlp_receiver import Receiver, run_receiver
from benchmarks.overhead.identity import row, write_model
from benchmarks.overhead.load import closed_loop
from benchmarks.overhead.systems import platform_call
from benchmarks.platforms import open_own_platform
from benchmarks.targets import machine, misses, shown
from benchmarks.telemetry import composed, paint
from benchmarks.telemetry.figures import ALL, MODES, OFF, SAMPLED, TARGETS, Kept, Round, order, rates, ratio
from benchmarks.telemetry.kept import FLOATS, HOPELESS_MS, look_for_violations
from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import Platform
from fastgshare.client import Client, FunctionDefinition, ModelSource
from fastgshare.client import connect as connect_client

FUNCTION, HOPELESS = "identity", "identity-hopeless"
RATIOS = {SAMPLED: "0.01", ALL: "1"}


class Plan(msgspec.Struct, frozen=True):
    """How long to measure: each mode for `seconds` in each of `rounds`, with so many clients."""

    rounds: int
    seconds: float
    clients: int
    violating_s: float
    visits: int
    compose_patience_s: float


QUICK = Plan(rounds=7, seconds=0.5, clients=16, violating_s=1.0, visits=1, compose_patience_s=15.0)
FULL = Plan(rounds=30, seconds=1.0, clients=16, violating_s=5.0, visits=7, compose_patience_s=120.0)


class Measured(msgspec.Struct, frozen=True):
    """Everything that was found out."""

    rounds: list[Round]
    failures: list[str]
    kept: Kept
    console_first_paint_ms: float | None
    compose_up_s: float | None
    without: dict[str, str]


def main(argv: list[str]) -> int:
    """Measure, print a table and, as the last line, one JSON object; the exit status."""
    options = parser("what traces and metrics cost, and whether violations are kept").parse_args(argv)
    return measure_platform(options, (QUICK, FULL), measure, publish)


async def measure(plan: Plan) -> Measured:
    """All of it, one after the other: nothing runs beside what is timed but idle platforms."""
    failures: list[str] = []
    without: dict[str, str] = {}
    with run_receiver() as receiver, tempfile.TemporaryDirectory(prefix="fastgshare-bench-") as home:
        async with open_scene(Path(home), receiver) as scene:
            rounds: list[Round] = [await take_turns(scene, plan, number, failures) for number in range(-1, plan.rounds)]
            say("violations")
            platform, client = scene[SAMPLED]
            kept = await look_for_violations(
                client, platform.endpoints.nats_url, HOPELESS, plan.violating_s, receiver.trace_ids
            )
            say("console")
            url = f"{scene[OFF][0].endpoints.http_url}/console/"
            painted_ms, why_not = await anyio.to_thread.run_sync(paint.first_paint_ms, url, plan.visits)
            without |= {"console_first_paint_ms": why_not} if why_not else {}
    say("containers")
    up_s, why_not = await anyio.to_thread.run_sync(composed.up_s, plan.compose_patience_s)
    without |= {"compose_up_s": why_not} if why_not else {}
    return Measured(rounds[1:], failures, kept, painted_ms, up_s, without)


async def take_turns(
    scene: dict[str, tuple[Platform, Client]], plan: Plan, number: int, failures: list[str]
) -> dict[str, float]:
    """One round: the rate under each mode, one right after the other. The first, of number -1, warms up."""
    say("warming up" if number < 0 else f"round {number + 1} of {plan.rounds}")
    measured: dict[str, float] = {}
    for mode in order(number):
        call = platform_call(scene[mode][1], FUNCTION, row(FLOATS))
        sample = await closed_loop([call] * plan.clients, plan.seconds)
        measured[mode] = sample.rps
        failures += sample.failures
    return measured


@asynccontextmanager
async def open_scene(home: Path, receiver: Receiver) -> AsyncIterator[dict[str, tuple[Platform, Client]]]:
    """A platform and its client by mode, the same functions on each."""
    async with AsyncExitStack() as stack:
        scene = {}
        for mode in MODES:
            say(f"starting a platform, tracing {mode}")
            config = UpConfig(data_dir=home / mode, nats_port=0, http_port=0)
            platform = await stack.enter_async_context(open_own_platform(config, _settings(mode, receiver)))
            client = await stack.enter_async_context(connect_client(platform.endpoints.nats_url))
            model = ModelSource(file=str(write_model(home / f"{mode}.onnx", FLOATS)))
            await client.deploy(FunctionDefinition(name=FUNCTION, model=model))
            if mode == SAMPLED:
                await client.deploy(FunctionDefinition(name=HOPELESS, model=model, slo_ms=HOPELESS_MS))
            scene[mode] = (platform, client)
        yield scene


def publish(plan: Plan, measured: Measured, check: bool) -> int:
    """Say it all; the exit status."""
    figures: dict[str, object] = {
        "rps_ratio_tracing_off_sampled1pct": round(ratio(measured.rounds, SAMPLED), 3),
        "rps_ratio_all_sampled": round(ratio(measured.rounds, ALL), 3),
        "violations_kept": round(measured.kept.share, 6),
        "console_first_paint_ms": measured.console_first_paint_ms,
        "compose_up_s": measured.compose_up_s,
    }
    missed = misses(TARGETS, figures)
    for key, value in figures.items():
        print(f"{key:<36}{measured.without.get(key) or shown(value):>10}")
    document = {
        **figures,
        "rps": rates(measured.rounds),
        "violations": msgspec.to_builtins(measured.kept),
        "without": measured.without,
        "missed": missed,
        "failures": len(measured.failures),
        "plan": msgspec.to_builtins(plan),
        "machine": machine(),
    }
    return finish(document, missed, [f"failed: {line}" for line in measured.failures], check=check)


def _settings(mode: str, receiver: Receiver) -> Mapping[str, str]:
    """What the services of this platform are told of tracing; what this process was told goes for none of them."""
    if mode == OFF:
        return {"OTEL_SDK_DISABLED": "true", "FASTGSHARE_TRACE_RATIO": "0"}
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "FASTGSHARE_TRACE_RATIO": RATIOS[mode],
    }
