"""A connection to a platform, and everything a user can do through it."""

import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
from msgspec.structs import replace

from fastgshare.client import logs, profiling
from fastgshare.client.bundle import assemble, store
from fastgshare.client.definition import FunctionDefinition
from fastgshare.client.deployment import Watch
from fastgshare.client.errors import DeployFailed, PlatformNotFound, TableForeign
from fastgshare.client.inbox import Inbox
from fastgshare.client.inference import Inference
from fastgshare.client.jobs import Jobs
from fastgshare.client.keys import Keys
from fastgshare.client.large import LargeTensors
from fastgshare.client.location import PASSWORD_FILE_VARIABLE, nats_url
from fastgshare.client.quotas import with_quotas
from fastgshare.client.rollout import Broken, is_replica_of, judge, wanted_replicas
from fastgshare.client.shortage import Before, told_before
from fastgshare.client.specfile import read_definition
from fastgshare.client.status import PlatformStatus, look
from fastgshare.client.telling import Telling, told_by
from fastgshare.client.values import Result, Value, to_request, to_result
from fastgshare.client.wheels import Wheels, wheels_from
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus, BusConfig, open_bus
from fastgshare.shared.errors import BusUnavailable
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import (
    Autoscale,
    Event,
    FunctionSpec,
    InferReply,
    InferRequest,
    Profile,
    ProfileProgress,
    ProfileRequest,
    ProfileState,
    ReplicaState,
    ReplicaStatus,
    Signature,
    Slice,
)
from fastgshare.shared.objects import Objects
from fastgshare.shared.registry import FunctionUnknown, Registry
from fastgshare.shared.tracing import TraceContext

DEFAULT_TIMEOUT_S = 10.0
DEPLOY_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 5.0


class Client:
    """One connection's worth of the platform. Made by `connect`; safe for many tasks at once."""

    def __init__(self, bus: Bus, url: str, inference: Inference, wheels: Wheels) -> None:
        self.bus = bus
        self.url = url
        self._inference = inference
        self._wheels = wheels
        self.keys = Keys(bus)
        self.jobs = Jobs(bus)
        self._registry = Registry(bus)

    async def invoke(
        self,
        function: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        trace: TraceContext | None = None,
    ) -> Result:
        """Call a function with arrays by name (`outputs`: those wanted; empty: all) and await its answer.

        Raises:
            RequestRefused: the platform refused it, or nobody answered within `timeout_s`; its body says why.
            ValueError: an input has a numpy type that no tensor datatype stands for, or `timeout_s` is not above 0.
        """
        request = to_request(inputs, outputs)
        return to_result(await self._inference.invoke(FunctionName(function), request, timeout_s, trace))

    async def submit(self, function: str, inputs: Mapping[str, Value], **options: Any) -> str:
        """Queue a call whose answer is fetched later; the job's id. Options and faults are those of `jobs.submit`."""
        return (await self.jobs.submit(function, inputs, **options)).job

    async def result(self, job: str, *, wait_s: float = 0.0) -> Result:
        """The answer of a job, awaited for up to `wait_s`. Raises as `jobs.result`."""
        return await self.jobs.result(job, wait_s=wait_s)

    async def invoke_tensors(
        self,
        function: str,
        request: InferRequest,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        trace: TraceContext | None = None,
    ) -> InferReply:
        """`invoke` on tensors as they travel, without numpy; the reply's outputs are inline."""
        return await self._inference.invoke(FunctionName(function), request, timeout_s, trace)

    async def invoke_stream(
        self,
        function: str,
        inputs: Mapping[str, Value],
        *,
        outputs: Iterable[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        trace: TraceContext | None = None,
    ) -> AsyncGenerator[Result, None]:
        """Call a function that answers in parts, and have each as it comes; of any other, its one answer.

        `timeout_s` is for all of them. Leave the loop early inside `contextlib.aclosing`: that cancels the rest.
        Raises as `invoke`, in the middle too.
        """
        request = to_request(inputs, outputs)
        async with aclosing(self._inference.stream(FunctionName(function), request, timeout_s, trace)) as replies:
            async for reply in replies:
                if reply.more or reply.outputs:  # a stream's end has none
                    yield to_result(reply)

    async def deploy(
        self,
        source: FunctionSpec | FunctionDefinition | Path | str,
        *,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        say: Callable[[str], None] | None = None,
    ) -> FunctionSpec:
        """Deploy a YAML file, a definition (paths relative to the working directory), or a spec as stored.

        Deploying over an existing function brings its successor up beside it; the old one serves until then.
        `say` is told each step. With `wait`, returns once the wanted replicas are ready.

        Raises:
            InvalidSpec, SourceUnavailable: it cannot be used; nothing was changed.
            DeployFailed: it cannot run; what served before goes on.
            DeployTimedOut: it is stored, but was not ready within `timeout_s`.
            StorageUnavailable: JetStream did not answer.
        """
        tell = say or _say_nothing
        stored = await self._stored(source, tell)
        before = await told_before(self.bus, stored.name)
        spec = await self._registry.put(stored)
        return await self._settle(spec, before, wait, timeout_s, tell)

    async def update(
        self,
        function: str,
        *,
        slo_ms: float | None = None,
        slo_percentile: float | None = None,
        max_batch: int | None = None,
        slice: Slice | None = None,  # noqa: A002  # the field's name
        quota_request: float | None = None,
        quota_limit: float | None = None,
        replicas: int | None = None,
        autoscale: Autoscale | None = None,
        labels: dict[str, str] | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        say: Callable[[str], None] | None = None,
    ) -> FunctionSpec:
        """Change what is given and keep the rest; `replicas` and `autoscale` replace each other.

        Quotas, like the number of replicas, are taken on by replicas that run; other changes are a new generation.
        Raises as `deploy`, FunctionUnknown, and InvalidSpec for a `quota_request` that the scheduler chooses, or a
        `quota_limit` below the one that stands.
        """
        given: dict[str, Any] = {
            "slo_ms": slo_ms,
            "slo_percentile": slo_percentile,
            "max_batch": max_batch,
            "slice": slice,
            "labels": labels,
        }
        changes = {field: value for field, value in given.items() if value is not None}
        if replicas is not None or autoscale is not None:
            changes |= {"replicas": replicas, "autoscale": autoscale}
        before = await told_before(self.bus, FunctionName(function))

        def changed(old: FunctionSpec) -> FunctionSpec:
            return with_quotas(replace(old, **changes), quota_request, quota_limit)

        spec = await self._registry.change(FunctionName(function), changed)
        return await self._settle(spec, before, wait, timeout_s, say or _say_nothing)

    async def scale(
        self,
        function: str,
        replicas: int,
        *,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        say: Callable[[str], None] | None = None,
    ) -> FunctionSpec:
        """Hold exactly this many replicas from now on. Raises as `update`."""
        return await self.update(function, replicas=replicas, wait=wait, timeout_s=timeout_s, say=say)

    async def delete(self, function: str) -> None:
        """Remove a function; its replicas finish what they have. Raises FunctionUnknown."""
        await self._registry.delete(FunctionName(function))

    async def functions(self) -> list[FunctionSpec]:
        """Everything deployed, by name. Raises StorageUnavailable."""
        specs = await self._registry.list()
        return [specs[name] for name in sorted(specs)]

    async def replicas(self) -> list[ReplicaStatus]:
        """Every replica as its node reports it, those on loan too. Raises StorageUnavailable."""
        found = await Bucket(self.bus, subjects.REPLICAS, ReplicaStatus).list()
        return [found[key] for key in sorted(found)]

    async def signature(self, function: str, *, wait_s: float = 0.0) -> Signature | None:
        """What a function takes and gives, by its newest replica that told; None before any has loaded.

        With `wait_s` that is awaited, and None means that no replica is to be there before the function is called.
        Raises StorageUnavailable, and with `wait_s`:
            FunctionUnknown.
            DeployFailed: it cannot run.
            SignatureUnknown: no replica told within `wait_s`.
        """
        signature = told_by(function, await self.replicas())
        if signature is not None or not wait_s:
            return signature
        spec = await self._registry.get(FunctionName(function))
        if spec is None:
            raise FunctionUnknown(function=function)
        return await Telling(self.bus, spec).until_told(wait_s)

    async def profiles(self, function: str) -> list[Profile]:
        """The tables of a function's model, one a kind of device. Raises FunctionUnknown, StorageUnavailable."""
        spec = await self._registry.get(FunctionName(function))
        if spec is None:
            raise FunctionUnknown(function=function)
        found = await Bucket(self.bus, subjects.PROFILES, Profile).list(subjects.profile_keys(spec.model.digest))
        return [found[key] for key in sorted(found)]

    async def status(self) -> PlatformStatus:
        """Who answers, which nodes beat, and how every function does. Raises StorageUnavailable."""
        return await look(self.bus, self.url)

    def logs(self, function: str, *, follow: bool = False) -> AsyncIterator[Event]:
        """The events about a function, oldest first; with `follow`, those to come as well, for ever."""
        read = logs.all_events if follow else logs.kept_events
        return read(self.bus, FunctionName(function))

    async def profile(
        self, function: str, *, again: bool = False, grid: bool = False, budget_s: float = 0.0
    ) -> AsyncGenerator[ProfileProgress, None]:
        """Have a function measured (`again`: even if it was), and follow it to a complete or failed table.

        `grid`: every point of the axes, instead of those that tell most; `budget_s` bounds the time spent on measuring,
        0: no bound. Who stops following cancels nothing.
        Raises:
            FunctionUnknown, StorageUnavailable.
            DeployFailed: its newest generation cannot run, so there is nothing to measure.
            RequestRefused: no profiler answered for half a minute.
        """
        measured = {table.state for table in await self.profiles(function)}  # raises FunctionUnknown
        if again or ProfileState.COMPLETE not in measured:
            await self._refuse_broken(FunctionName(function))
        request = ProfileRequest(function=function, again=again, grid=grid, budget_s=budget_s)
        async with aclosing(profiling.profile(self.bus, request)) as reports:
            async for progress in reports:
                yield progress

    async def import_profile(self, function: str, profile: Profile, *, force: bool = False) -> Profile:
        """Make a table that was measured elsewhere the one of this function's model; as it is stored, complete.

        `profile` names its device's kind, and says in `source` where it came from. `force`: even if it was measured
        with another model.
        Raises:
            FunctionUnknown, StorageUnavailable.
            TableForeign: it is of another model.
            TableBusy: a profiler measures that table now.
        """
        spec = await self._registry.get(FunctionName(function))
        if spec is None:
            raise FunctionUnknown(function=function)
        if profile.model_digest not in ("", spec.model.digest) and not force:
            raise TableForeign(what="model", found=profile.model_digest, expected=spec.model.digest)
        table = replace(profile, model_digest=spec.model.digest, source=profile.source or "imported")
        return await profiling.import_table(self.bus, FunctionName(function), table)

    async def drop_profile(self, function: str, device_kind: str) -> bool:
        """Remove the table of a function's model on a kind of device; whether there was one.

        A profiler that has such a device measures it anew by itself.
        Raises:
            FunctionUnknown, StorageUnavailable.
            TableBusy: as for an import.
        """
        spec = await self._registry.get(FunctionName(function))
        if spec is None:
            raise FunctionUnknown(function=function)
        return await profiling.drop_table(self.bus, FunctionName(function), spec.model.digest, device_kind)

    async def _refuse_broken(self, function: FunctionName) -> None:
        spec = await self._registry.get(function)
        if spec is None:
            return
        replicas = await self.replicas()
        own = [s for s in replicas if is_replica_of(function, s) and s.generation == spec.generation]
        verdict = judge(spec, replicas)
        if isinstance(verdict, Broken) and all(status.state is ReplicaState.FAILED for status in own):
            fields = {"generation": spec.generation, "reason": verdict.reason, "serving": verdict.serving}
            raise DeployFailed(function=function, **fields)

    async def _stored(
        self, source: FunctionSpec | FunctionDefinition | Path | str, say: Callable[[str], None]
    ) -> FunctionSpec:
        if isinstance(source, FunctionSpec):
            return source
        directory = Path()
        if isinstance(source, Path | str):
            directory = Path(source).parent
            source = await anyio.to_thread.run_sync(read_definition, Path(source))
        model = source.model
        say(f"getting {model.wheel or model.file}")
        with tempfile.TemporaryDirectory(prefix="fastgshare-deploy-") as scratch:
            bundle = await anyio.to_thread.run_sync(assemble, source, directory, Path(scratch), self._wheels)
            say("storing model and code")
            return await store(bundle, Objects(self.bus))

    async def _settle(
        self, spec: FunctionSpec, before: Before, wait: bool, timeout_s: float, say: Callable[[str], None]
    ) -> FunctionSpec:
        if wait:
            say(f"generation {spec.generation}: waiting for {wanted_replicas(spec)} ready")
            await Watch(self.bus, spec, before, say).until_ready(timeout_s)
        return spec


@asynccontextmanager
async def connect(
    url: str | None = None,
    *,
    name: str = "client",
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    env: Mapping[str, str] = os.environ,
) -> AsyncGenerator[Client]:
    """Connect to the platform at `url`, or at `FASTGSHARE_NATS_URL`, or to the one that runs on this machine.

    Where the URL names a user, its password stands there too or in the file that `FASTGSHARE_NATS_PASSWORD_FILE` names.

    Raises:
        PlatformNotFound: nobody answers there.
    """
    chosen = nats_url(url, env)
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        bus = await _open_bus(stack, BusConfig(chosen, name, connect_timeout_s, env.get(PASSWORD_FILE_VARIABLE, "")))
        inbox = Inbox(bus)
        await inbox.open()
        stack.push_async_callback(inbox.close)
        async with anyio.create_task_group() as tasks:
            large = LargeTensors(bus, tasks)
            try:
                yield Client(bus, chosen, Inference(bus, inbox, large), wheels_from(env))
            except Exception as error:  # raised again outside, where no group wraps it
                failure = error
            finally:
                large.close()
                tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _open_bus(stack: AsyncExitStack, config: BusConfig) -> Bus:
    try:
        return await stack.enter_async_context(open_bus(config))
    except BusUnavailable as error:
        reason = str(error.fields["reason"])
        raise PlatformNotFound(url=error.fields["url"], reason=reason) from error


def _say_nothing(_: str) -> None:
    return
