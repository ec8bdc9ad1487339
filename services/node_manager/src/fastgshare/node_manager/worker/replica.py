"""One replica's life in its worker: fetch, load, serve, drain.

    loading → ready → draining → gone, or → failed with the reason

Everything it acquires sits in one exit stack; whatever goes wrong with its model or user code ends this replica only.
"""

import asyncio
import errno
import logging
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.abc

from fastgshare.node_manager.core.batching import WorkQueue
from fastgshare.node_manager.core.slices import share_of
from fastgshare.node_manager.devices.faults import MemoryRefused, ModelFault
from fastgshare.node_manager.devices.ports import Footprint, Lane, StoredModel
from fastgshare.node_manager.protocol import LogLine, ReplicaChanged, ReplicaDrained
from fastgshare.node_manager.worker.handlers import HandlerBroken, open_handler
from fastgshare.node_manager.worker.measuring import Measuring
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.node_manager.worker.runner import Runner
from fastgshare.node_manager.worker.serving import NOT_LOADED, Served, Serving
from fastgshare.shared import subjects
from fastgshare.shared.buckets import StorageUnavailable
from fastgshare.shared.bus import NoAnswer
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ObjectMissing
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Placement, Profile, ReplicaState, Signature
from fastgshare.shared.units import US_PER_MS

FETCH_RETRY_S = 0.5
DRAIN_POLL_S = 0.02
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

logger = logging.getLogger(__name__)


class Replica:
    """A placement being carried out. `run` is its whole life."""

    def __init__(self, placement: Placement, parts: Parts, tasks: anyio.abc.TaskGroup) -> None:
        self.placement = placement
        self.replica = placement.replica
        self._spec = placement.function
        self._parts = parts
        self._tasks = tasks
        self._ending = anyio.Event()
        self._failure = ""
        self._is_open = False
        self._served = NOT_LOADED
        self._footprint = Footprint(0.0, 0.0, False)
        self._load_ms = 0.0
        self._serving = Serving(self._spec.name, self.replica, parts, tasks)
        window_us = parts.config.window_ms * US_PER_MS
        self._runner = Runner(
            self.replica,
            share_of(placement),
            parts.gate,
            WorkQueue(self._spec.max_batch, window_us),
            self._serving.on_finished,
            parts.on_fault,
        )
        self._serving.runner = self._runner

    async def run(self) -> None:
        """Load, serve until told to drain, let go; reports every step."""
        passes = False
        try:
            async with AsyncExitStack() as stack:
                stack.push_async_callback(self._stop_runner)
                started_us = monotonic_us()
                await self._load(stack)
                await self._open_door(stack)
                self._load_ms = (monotonic_us() - started_us) / US_PER_MS
                self._report(ReplicaState.READY)
                self._is_open = True
                await self._ending.wait()
                if not self._failure:
                    self._report(ReplicaState.DRAINING)
                    await self._drain()
        except (ModelFault, HandlerBroken, ObjectMissing, OSError) as fault:
            self._failure = fault.reason if isinstance(fault, ModelFault | HandlerBroken) else str(fault)
            passes = isinstance(fault, MemoryRefused) and fault.passes
        if self._failure:
            logger.warning("replica %s failed: %s", self.replica, self._failure)
            self._report(ReplicaState.FAILED, self._failure, passes)
        else:
            self._parts.report(ReplicaDrained(self.replica))

    def drain(self) -> None:
        """Finish what waits, then end."""
        self._ending.set()
        if not self._is_open:  # it may be waiting for turns to warm up, and nothing ends it before it is up
            self._runner.step_forward()

    def resize(self, placement: Placement) -> None:
        """Hold another slice from now on, without a restart."""
        self._tasks.start_soon(self._resize, placement)

    async def _resize(self, placement: Placement) -> None:
        try:
            with self._parts.changes.one():
                await asyncio.wrap_future(self._runner.resize(share_of(placement), placement.chunks))
        except ModelFault as fault:
            self._on_broken(f"it cannot move to chunks {list(placement.chunks)}: {fault.reason}")
            return
        self.placement = placement
        if self._is_open and not self._ending.is_set():
            self._report(ReplicaState.READY)

    def learn_profile(self, profile: Profile | None) -> None:
        """A table for this replica's model on this device arrived."""
        self._runner.learn_profile(profile)

    @property
    def depth(self) -> int:
        """How many requests have no end yet."""
        return self._serving.depth

    @property
    def drift(self) -> float:
        """How long its recent batches took over what its table says; on loan it serves none."""
        return 0.0 if self.placement.loan else self._runner.drift

    # Loading

    async def _load(self, stack: AsyncExitStack) -> None:
        reference = self._spec.model
        path = await self._fetch(reference.digest)
        model = StoredModel(reference.digest, path, reference.format, reference.factory)
        placement = self.placement
        turn = self._runner.turn
        lane = Lane(self.replica, placement.chunks, self._spec.slice.gpu_mem_mib, self._spec.max_batch, turn)
        with self._parts.changes.one():
            opened = self._runner.start(lambda: self._parts.device.open_session(model, lane))
            session = await asyncio.wrap_future(opened)
        info, self._footprint = session.info, session.footprint
        max_batch = self._spec.max_batch if info.is_batched else 1
        self._runner.learn_profile(self._parts.profile_of(reference.digest))
        self._served = Served(NOT_LOADED.signature, info, max_batch)
        if self._spec.handler is None:
            signature = Signature(inputs=info.inputs, outputs=info.outputs, batched=info.is_batched)
            self._served = Served(signature, info, max_batch)
            return
        bundle = await self._fetch(self._spec.handler.digest)
        handler = await stack.enter_async_context(
            open_handler(
                self._spec.handler,
                bundle,
                self._parts.workdir / self.replica,
                function=self._spec.name,
                model_metadata=info.metadata,
                model_inputs=info.inputs,
                model_outputs=info.outputs,
                on_log=self._on_log,
                on_broken=self._on_broken,
            )
        )
        signature = Signature(inputs=handler.inputs, outputs=handler.outputs, streams=handler.streams)
        self._served = Served(signature, info, max_batch, handler)

    async def _fetch(self, digest: Digest) -> Path:
        while True:
            try:
                return await self._parts.objects.fetch(digest, self._parts.cache)
            except StorageUnavailable as error:  # the bus comes back; a replica does not fail for that
                cause = error.__cause__
                if isinstance(cause, OSError) and cause.errno in DISK_FAULTS:
                    raise cause from error
                logger.info("replica %s waits for the object store: %s", self.replica, error)
                await anyio.sleep(FETCH_RETRY_S)

    async def _open_door(self, stack: AsyncExitStack) -> None:
        bus, served = self._parts.bus, self._served
        self._serving.begin(served)
        requests = await bus.subscribe_prompt(subjects.replica(self.replica), self._serving.on_request)
        stack.push_async_callback(requests.unsubscribe)
        recalls = await bus.subscribe_prompt(subjects.cancel(self.replica), self._serving.on_recall)
        stack.push_async_callback(recalls.unsubscribe)
        measuring = Measuring(
            self._runner,
            lambda: self.placement,
            served.info,
            self._footprint,
            served.max_batch,
            served.handler,
            self._parts,
            self._tasks,
        )
        probes = await bus.subscribe(subjects.measure(self.replica), measuring.on_message)
        stack.push_async_callback(probes.unsubscribe)
        await self._until_open()

    async def _until_open(self) -> None:
        """Wait until the server knows of the subscriptions; while it is away they are kept for its return."""
        while True:
            try:
                return await self._parts.bus.flush()
            except NoAnswer as error:
                logger.info("replica %s waits for the bus: %s", self.replica, error)
                await anyio.sleep(FETCH_RETRY_S)

    async def _stop_runner(self) -> None:
        """Its memory is free before anybody hears that it is gone; a thread that hangs is not waited for."""
        with anyio.move_on_after(self._parts.config.drain_s), self._parts.changes.one():
            await asyncio.wrap_future(self._runner.stop())

    async def _drain(self) -> None:
        """Gateways learn of the draining state and stop sending; late requests are still served."""
        if self.placement.loan:
            return  # nobody sends it any
        quiet_us = self._parts.config.drain_quiet_ms * US_PER_MS
        begun_us = unix_us()
        with anyio.move_on_after(self._parts.config.drain_s):
            while self.depth or unix_us() - max(self._serving.last_arrival_us, begun_us) < quiet_us:
                await anyio.sleep(DRAIN_POLL_S)

    # Telling

    def _report(self, state: ReplicaState, reason: str = "", transient: bool = False) -> None:
        is_ready = state is ReplicaState.READY
        footprint = self._footprint
        self._parts.report(
            ReplicaChanged(
                replica=self.replica,
                state=state,
                reason=reason,
                signature=self._served.signature if is_ready else None,
                max_batch=self._served.max_batch,
                memory_mib=footprint.own_mib if is_ready else 0.0,
                load_ms=self._load_ms,
                weights_mib=footprint.weights_mib,
                weights_reused=footprint.was_loaded,
                placement=self.placement,
                transient=transient,
            )
        )

    def _on_log(self, line: str) -> None:
        self._parts.report(LogLine(self._spec.name, self.replica, line))

    def _on_broken(self, reason: str) -> None:
        self._failure = reason
        self._ending.set()
