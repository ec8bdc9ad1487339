"""The demo's course: start everything, deploy, measure, send, and tell what happened."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec

from examples.demo.books import Ledger, open_ledger
from examples.demo.doors import HttpDoor, NatsDoor, NoWord, open_http
from examples.demo.faults import first_fault
from examples.demo.figures import Stage, Summary, Target
from examples.demo.first import Taste, capacity_line, capacity_of, cost_line, places_of, taste
from examples.demo.inputs import Example, all_examples
from examples.demo.loading import Load, run_load
from examples.demo.machine import cores, facts
from examples.demo.plan import PHASES, Arrival, arrivals
from examples.demo.screen import OnProfile, Screen
from examples.demo.summary import (
    door_figures,
    function_figures,
    notes_on,
    objectives_of,
    phase_figures,
    problems_of,
    spread,
    timeline,
)
from fastgshare.cli.up.config import UpConfig
from fastgshare.cli.up.platform import open_platform
from fastgshare.client import Client, PlatformStatus, connect
from fastgshare.client.location import DATA_DIR_VARIABLE
from fastgshare.client.wheels import CACHE_VARIABLE
from fastgshare.shared.messages import FunctionSpec, Profile, ProfileState
from fastgshare.shared.units import s_to_us

ROOT = Path(__file__).resolve().parents[2]
FUNCTIONS = ("filetype", "ocr", "textdir")
PROFILE_S = 12.0
"""Enough for the points that say most of each; `fastgshare profile` takes its time."""
SCALE_DOWN_S = "6"
"""Sooner than by default, or a load of a minute would end before anything shrinks."""
LEAST_ACCURACY = {"filetype": 0.95, "ocr": 0.98, "textdir": 0.99}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a person can choose. `data_dir` None: one that goes away with the demo."""

    seconds: float
    seed: int
    data_dir: Path | None
    reports: Path


class Stopwatch:
    """Tells and times the parts of the run."""

    def __init__(self, screen: Screen) -> None:
        self.stages: list[Stage] = []
        self._screen = screen

    @contextmanager
    def stage(self, name: str, what: str = "") -> Iterator[None]:
        """One part; `what` is shown while it lasts."""
        begun_s = time.monotonic()
        if what:
            with self._screen.working(what):
                yield
        else:
            yield
        self.stages.append(Stage(name, time.monotonic() - begun_s))


class Scene(msgspec.Struct, frozen=True):
    """What runs, and the ways into it."""

    client: Client
    nats: NatsDoor
    http: HttpDoor
    ledger: Ledger
    examples: Mapping[str, Sequence[Example]]


class Played(msgspec.Struct, frozen=True):
    """What a run leaves: its figures, and what it takes to have the same load again on such `devices`."""

    summary: Summary
    specs: dict[str, FunctionSpec]
    timetable: list[Arrival]
    chunks: int
    memory_mib: int
    devices: int


async def run_demo(options: Options, screen: Screen, hurry: anyio.Event) -> Played:
    """The whole of it. Raises FastGShareError where it cannot go on; `hurry` kills what still runs while stopping."""
    began_at = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    watch = Stopwatch(screen)
    async with AsyncExitStack() as stack:
        data_dir = stack.enter_context(_data_directory(options.data_dir, screen))
        with watch.stage("start", "starting NATS, gateway, scheduler, profiler and node manager"):
            scene = await _open_scene(stack, options, data_dir, screen, hurry)
        screen.say(f"platform ready in {watch.stages[-1].seconds:.1f} s")
        played = await _perform(scene, options, screen, watch)
        with watch.stage("stop", "stopping"):
            await stack.aclose()
    summary = msgspec.structs.replace(played.summary, stages=watch.stages, began_at=began_at)
    return msgspec.structs.replace(played, summary=summary)


@contextmanager
def _data_directory(chosen: Path | None, screen: Screen) -> Iterator[Path]:
    """The chosen directory, or one that goes away unless something went wrong."""
    if chosen is not None:
        yield chosen
        return
    directory = Path(tempfile.mkdtemp(prefix="fastgshare-demo-"))
    try:
        yield directory
    except Exception:
        screen.say(f"the platform's logs are in {directory / 'logs'}")
        raise
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


async def _open_scene(
    stack: AsyncExitStack, options: Options, data_dir: Path, screen: Screen, hurry: anyio.Event
) -> Scene:
    examples = all_examples(ROOT, options.seed)
    os.environ.setdefault("FASTGSHARE_SCALE_DOWN_S", SCALE_DOWN_S)  # what the platform's processes inherit
    config = UpConfig(data_dir=data_dir, nats_port=0, http_port=0)
    platform = await stack.enter_async_context(open_platform(config, screen.say, hurry))
    env = {
        **os.environ,
        DATA_DIR_VARIABLE: str(data_dir),
        CACHE_VARIABLE: os.environ.get(CACHE_VARIABLE) or str(ROOT / ".cache" / "wheels"),
    }
    client = await stack.enter_async_context(connect(platform.endpoints.nats_url, name="demo", env=env))
    ledger = await stack.enter_async_context(open_ledger(client.bus))
    http = await stack.enter_async_context(open_http(platform.endpoints.http_url))
    return Scene(client, NatsDoor(client), http, ledger, examples)


async def _perform(scene: Scene, options: Options, screen: Screen, watch: Stopwatch) -> Played:
    with watch.stage("deploy", f"deploying {', '.join(FUNCTIONS)}"):
        specs = await _deploy(scene.client, screen)
    with watch.stage("profile"):
        problems = await _profile(scene.client, screen)
    status = await scene.client.status()
    profiles = profiles_of(status)
    with watch.stage("first answers"):
        tastes = await _first_answers(scene, status, profiles, screen)
    targets = [Target(name, specs[name].slo_ms, specs[name].slo_percentile, LEAST_ACCURACY[name]) for name in FUNCTIONS]
    costs = {name: tastes[name].cost for name in FUNCTIONS}
    with watch.stage("capacity", "finding out how much this machine can do"):
        capacity, rates = await capacity_of(scene.nats, scene.http, scene.examples, costs, cores(), scene.ledger)
    lines = [*(line for tasted in tastes.values() for line in tasted.lines), capacity_line(capacity, rates)]
    screen.say(f"  {lines[-1]}")
    counts = {name: len(scene.examples[name]) for name in FUNCTIONS}
    timetable = arrivals(PHASES, costs, counts, capacity, options.seconds, options.seed)
    screen.say(f"sending {len(timetable):,} requests in {options.seconds:.0f} s, one in five of them by HTTP")
    with watch.stage("load"):
        load = await run_load(
            scene.client,
            scene.nats,
            scene.http,
            scene.examples,
            scene.ledger,
            targets,
            timetable,
            options.seconds,
            screen,
        )
    with watch.stage("settle", "waiting for the gateway's last word"):
        await scene.ledger.settle()
        status = await scene.client.status()
    summary = _summary(options, targets, load, scene.ledger, status, profiles, lines, problems)
    devices = [device for node in status.nodes for device in node.devices]
    chunks, memory_mib = max(device.chunks for device in devices), max(device.memory_mib for device in devices)
    return Played(summary, specs, timetable, chunks, memory_mib, len(devices))


async def _deploy(client: Client, screen: Screen) -> dict[str, FunctionSpec]:
    specs: dict[str, FunctionSpec] = {}

    async def deploy(function: str) -> None:
        begun_s = time.monotonic()
        specs[function] = await client.deploy(ROOT / "examples" / "functions" / function / "function.yaml")
        model, took_s = specs[function].model, time.monotonic() - begun_s
        screen.say(f"deployed {function} in {took_s:.1f} s: {model.source} ({model.size_bytes / 1e6:.1f} MB)")

    with first_fault():
        async with anyio.create_task_group() as tasks:
            for function in FUNCTIONS:
                tasks.start_soon(deploy, function)
    return specs


async def _profile(client: Client, screen: Screen) -> list[str]:
    """Have every function measured, each for as long as there is time for here; what went wrong with it."""
    problems: list[str] = []

    async def follow(function: str, show: OnProfile) -> None:
        async for progress in client.profile(function, budget_s=PROFILE_S):
            show(progress)
            if progress.state is ProfileState.FAILED:
                problems.append(f"{function} could not be profiled: {progress.reason}")

    with first_fault(), screen.profiling(FUNCTIONS) as show:
        async with anyio.create_task_group() as tasks:
            for function in FUNCTIONS:
                tasks.start_soon(follow, function, show)
    return problems


async def _first_answers(
    scene: Scene, status: PlatformStatus, profiles: Mapping[str, Profile], screen: Screen
) -> dict[str, Taste]:
    replicas = [replica for function in status.functions for replica in function.replicas]
    tastes: dict[str, Taste] = {}
    for function in FUNCTIONS:
        if not places_of(function, replicas):
            raise NoWord(reason=f"{function} has no ready replica")
        tasted = await taste(scene.nats, scene.http, scene.examples[function], chunks_of(status), scene.ledger)
        held = next(replica.slice for replica in replicas if replica.function == function and not replica.loan)
        line = cost_line(function, tasted.cost, profiles.get(function), held)
        tastes[function] = Taste(tasted.cost, [*tasted.lines, line])
        for told in tastes[function].lines:
            screen.say(f"  {told}")
    return tastes


def chunks_of(status: PlatformStatus) -> tuple[frozenset[str], ...]:
    """Every chunk of every device, each a place of its own: replicas move and grow to where there is room."""
    devices = [device for node in status.nodes for device in node.devices]
    return tuple(frozenset({f"{device.device} {chunk}"}) for device in devices for chunk in range(device.chunks))


def profiles_of(status: PlatformStatus) -> dict[str, Profile]:
    """Each function's table for the kind of device that its replicas run on."""
    found = {}
    for function in status.functions:
        kinds = {replica.device_kind for replica in function.replicas}
        tables = [profile for profile in function.profiles if profile.device_kind in kinds]
        if tables:
            found[str(function.spec.name)] = tables[0]
    return found


def _summary(
    options: Options,
    targets: Sequence[Target],
    load: Load,
    ledger: Ledger,
    status: PlatformStatus,
    profiles: Mapping[str, Profile],
    lines: Sequence[str],
    problems: Sequence[str],
) -> Summary:
    by_function = {t.function: [o for o in load.outcomes if o.function == t.function] for t in targets}
    functions = [function_figures(target, by_function[target.function], options.seconds) for target in targets]
    books = ledger.books()
    memory_mib = {f"{ready.service} {ready.instance}": ready.rss_mib for ready in status.services}
    memory_mib |= {device.device: device.rss_mib for node in status.nodes for device in node.devices}
    lag_ms = spread(outcome.lag_us for outcome in load.outcomes)
    busy = load.core_time.cores_busy(0, s_to_us(options.seconds))
    phases = phase_figures(PHASES, targets, load.outcomes, options.seconds, load.core_time.cores_busy)
    return Summary(
        began_at="",
        seed=options.seed,
        load_seconds=options.seconds,
        problems=[*problems, *problems_of(functions, books)],
        notes=notes_on(busy, phases, lag_ms, load.stood_still_us),
        functions=functions,
        objectives=objectives_of(targets, phases),
        phases=phases,
        doors=door_figures(targets, load.outcomes),
        timeline={t.function: timeline(t, by_function[t.function], options.seconds) for t in targets},
        lag_ms=lag_ms,
        books=books,
        replicas=[replica for function in status.functions for replica in function.replicas],
        profiles=dict(profiles),
        first_answers=list(lines),
        stages=[],
        machine=facts(ROOT),
        memory_mib=memory_mib,
        moments=load.moments,
    )
