"""Keeps children running as `core` decides, until it is told to stop them.

One task a child runs its lives one after the other; beside each life a probe waits until that process serves.
"""

import os
import signal
from collections.abc import Awaitable, Callable, Iterable

import anyio
from anyio.abc import TaskGroup

from fastgshare.cli.up import core
from fastgshare.cli.up.core import ChildState, GiveUp, Phase, Policy
from fastgshare.cli.up.errors import ChildHopeless, NotReadyInTime
from fastgshare.cli.up.logs import Logs, reason_in
from fastgshare.cli.up.process import ChildSpec, Process, describe_ending, spawn
from fastgshare.shared.clock import monotonic_us
from fastgshare.shared.units import us_to_s

HOPELESS_LINES = 20

Probe = Callable[[ChildSpec, int], Awaitable[None]]
Report = Callable[[str], None]


class Supervisor:
    """The children of one platform. `probe(spec, pid)` returns once that process serves."""

    def __init__(self, logs: Logs, report: Report, policy: Policy) -> None:
        self._logs = logs
        self._report = report
        self._policy = policy
        self._states: dict[str, ChildState] = {}
        self._processes: dict[str, Process] = {}
        self._stopping: set[str] = set()
        self._changed = anyio.Event()

    def pid_of(self, name: str) -> int | None:
        """The process that runs now, or None between two lives. Raises KeyError: no such child."""
        process = self._processes[name]
        return process.pid if process.is_running else None

    def pids(self) -> dict[str, int]:
        """Every child that runs."""
        return {name: process.pid for name, process in self._processes.items() if process.is_running}

    def not_ready(self) -> list[str]:
        """Children that do not serve now."""
        return [name for name, state in self._states.items() if state.phase is not Phase.READY]

    def kill(self, name: str) -> int:
        """SIGKILL, as a test or a demonstration wants it: not ready from now on. The pid that was."""
        process = self._processes[name]
        process.send(signal.SIGKILL)
        self._set(name, core.condemned(self._states[name]))
        return process.pid

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until every child serves. Raises NotReadyInTime."""
        try:
            with anyio.fail_after(timeout_s):
                while self.not_ready():
                    await self._changed.wait()
        except TimeoutError:
            late = self.not_ready()
            lines = [f"  {name}: {line}" for name in late for line in self._logs.last_lines(name, 5)]
            raise NotReadyInTime(children=", ".join(late), after_s=timeout_s, last_lines="\n".join(lines)) from None

    def names(self) -> list[str]:
        """Every child that was ever started."""
        return list(self._states)

    def start(self, spec: ChildSpec, probe: Probe, work: TaskGroup) -> None:
        """Keep this child running, by a task in `work`.

        That task raises ChildHopeless when the child keeps dying and never once served.
        """
        self._states[spec.name] = ChildState()
        work.start_soon(self._run, spec, probe)

    async def stop(self, names: Iterable[str], grace_s: float, hurry: anyio.Event) -> None:
        """SIGTERM to these at once, SIGKILL to those still there after `grace_s` or when `hurry` is set."""
        stopping = [name for name in names if name in self._states]
        self._stopping.update(stopping)
        async with anyio.create_task_group() as endings:
            for name in stopping:
                if name in self._processes:
                    endings.start_soon(self._end, name, grace_s, hurry)

    async def _run(self, spec: ChildSpec, probe: Probe) -> None:
        while spec.name not in self._stopping:
            log_begins = self._logs.size(spec.name)
            ending, said = await self._live(spec, probe, log_begins)
            if spec.name not in self._stopping:
                await self._after(spec.name, ending, said, log_begins)

    async def _live(self, spec: ChildSpec, probe: Probe, log_begins: int) -> tuple[str, str]:
        """One life; how it ended, in words, and what the child gave as the reason if it ended by itself."""
        self._set(spec.name, core.started(self._states[spec.name], monotonic_us()))
        log = self._logs.open(spec.name)
        try:
            process = spawn(spec, log)
        except OSError as error:
            return f"could not be started ({error})", ""
        finally:
            os.close(log)
        self._processes[spec.name] = process
        async with anyio.create_task_group() as life:
            life.start_soon(self._watch, spec, process, probe)
            status = await process.ended()
            life.cancel_scope.cancel()
        # Whoever was killed did not see it coming: its last line is about something else.
        reason = reason_in(self._logs.last_lines(spec.name, HOPELESS_LINES, log_begins)) if status > 0 else ""
        return describe_ending(status), reason

    async def _watch(self, spec: ChildSpec, process: Process, probe: Probe) -> None:
        await probe(spec, process.pid)
        if process.is_running and not process.condemned:
            self._set(spec.name, core.became_ready(self._states[spec.name]))

    async def _after(self, name: str, ending: str, said: str, log_begins: int) -> None:
        state, decision = core.exited(self._policy, self._states[name], monotonic_us())
        self._set(name, state)
        if isinstance(decision, GiveUp):
            lines = self._logs.last_lines(name, HOPELESS_LINES, log_begins)
            raise ChildHopeless(
                child=name,
                exits=decision.exits,
                ending=ending,
                log=self._logs.path(name),
                last_lines="\n".join(f"  {line}" for line in lines),
            )
        wait_s = us_to_s(max(0, decision.at_us - monotonic_us()))
        self._report(f"{name} {ending}, starts again in {wait_s:.1f} s{f': {said}' if said else ''}")
        await anyio.sleep(wait_s)

    async def _end(self, name: str, grace_s: float, hurry: anyio.Event) -> None:
        process = self._processes[name]
        process.send(signal.SIGTERM)
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(self._kill_when, hurry, name)
            with anyio.move_on_after(grace_s):
                await process.ended()
            waiting.cancel_scope.cancel()
        if process.is_running:
            self._report(f"{name} did not stop within {grace_s:g} s: killed")
            process.send(signal.SIGKILL)
            await process.ended()

    async def _kill_when(self, hurry: anyio.Event, name: str) -> None:
        await hurry.wait()
        if self._processes[name].is_running:
            self._report(f"{name} killed")
            self._processes[name].send(signal.SIGKILL)

    def _set(self, name: str, state: ChildState) -> None:
        self._states[name] = state
        self._changed.set()
        self._changed = anyio.Event()
