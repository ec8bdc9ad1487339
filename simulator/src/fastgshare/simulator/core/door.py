"""One gateway in virtual time: its own core, and what its adapters do around it (`adapters/feed.py`, `dispatcher.py`).

Intervals are its defaults. A request that is sent where nobody listens comes back as the server says so, and is tried
elsewhere; everything else about losses the core learns from statuses and from silent nodes, as it does in earnest.
"""

from collections.abc import Callable, Iterable, Mapping

from fastgshare.gateway.core.gatekeeper import Gatekeeper, Limits
from fastgshare.gateway.core.tickets import Action, Dispatch, RaiseDemand, Recall, Refuse
from fastgshare.scheduler.core.events import DemandRaised, Event, LoadReported
from fastgshare.shared.ids import GatewayId, NodeId, ReplicaId
from fastgshare.shared.messages import INFER_VERSION, DoneNotice, InferRequest, ReplicaStatus
from fastgshare.shared.units import US_PER_MS
from fastgshare.simulator.core.replica import Replica
from fastgshare.simulator.core.scene import Scene
from fastgshare.simulator.core.tally import Call

TICK_US = 50 * US_PER_MS
LOAD_US = 500 * US_PER_MS
INCARNATION = "simulated"
NO_INPUTS = InferRequest(INFER_VERSION, ())
"""No replica tells a signature, so inputs are not looked at: a request is one input."""


class Door:
    """`board` has the replicas that listen; `tell` carries facts to the scheduler."""

    def __init__(
        self, number: int, scene: Scene, board: Mapping[ReplicaId, Replica], tell: Callable[[Event], None]
    ) -> None:
        self.gateway = GatewayId(f"gateway-{number}")
        self.keeper = Gatekeeper(Limits())
        self._scene = scene
        self._agenda = scene.agenda
        self._board = board
        self._tell = tell

    def open(self) -> None:
        """Functions and tables are known; ticks and reports begin."""
        for plan in self._scene.run.functions:
            self.keeper.function_defined(plan.spec)
        for profile in self._scene.run.tables.values():
            self.keeper.profile_known(profile)
        self._tick(None)
        self._report(None)

    def take(self, call: Call) -> None:
        """A request arrives."""
        action = self.keeper.admit(call, NO_INPUTS, self._agenda.now_us)
        if type(action) is Dispatch:
            self._agenda.post(self._send, action)
            return
        if action is not None:
            self._perform((action,))
        if call.replica is None and not call.is_over:
            call.tally.held(call.sent_us)

    def completed(self, notice: DoneNotice) -> None:
        """A worker's notice arrives."""
        self.keeper.completed(notice, self._agenda.now_us)

    def status(self, status: ReplicaStatus) -> None:
        """A replica's status arrives."""
        self._perform(self.keeper.replica_reported(status, self._agenda.now_us))

    def removed(self, replica: ReplicaId) -> None:
        """A replica is gone."""
        self._perform(self.keeper.replica_removed(replica, self._agenda.now_us))

    def node_seen(self, node: NodeId, depth: Mapping[ReplicaId, int]) -> None:
        """A heartbeat arrives."""
        self.keeper.node_seen(node, self._agenda.now_us, depth)

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Dispatch(ticket):
                    assert isinstance(ticket, Call)
                    ticket.tally.warm(self._agenda.now_us)
                    self._agenda.post(self._send, action)
                case Refuse(ticket):
                    assert isinstance(ticket, Call)
                    ticket.tally.refuse(ticket)
                case RaiseDemand(function, held):
                    demand = DemandRaised(function, self.gateway, held)
                    self._agenda.at(self._agenda.now_us + self._scene.run.hops.control_us, self._tell, demand)
                case Recall():
                    pass  # who is silent here is gone, with all that was sent there
                case _:
                    raise TypeError(f"a gateway that never stops hands nothing back: {action!r}")

    def _send(self, dispatch: Dispatch) -> None:
        replica = self._board.get(dispatch.replica)
        if replica is not None:
            replica.take(dispatch)
        else:
            self._agenda.post(self._returned, dispatch)

    def _returned(self, dispatch: Dispatch) -> None:
        self._perform(self.keeper.nobody_there(dispatch.ticket.request_id, self._agenda.now_us))

    def _tick(self, _about: None) -> None:
        self._perform(self.keeper.tick(self._agenda.now_us, connected=True))
        self._agenda.at(self._agenda.now_us + TICK_US, self._tick, None)

    def _report(self, _about: None) -> None:
        now_us = self._agenda.now_us
        load = LoadReported(self.gateway, INCARNATION, self.keeper.loads())
        self._agenda.at(now_us + self._scene.run.hops.control_us, self._tell, load)
        self._agenda.at(now_us + LOAD_US, self._report, None)
