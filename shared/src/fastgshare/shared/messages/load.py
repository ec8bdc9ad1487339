"""What gateways publish about traffic: load periodically, demand when a function has no replica to go to."""

import msgspec

from fastgshare.shared.ids import FunctionName, GatewayId


class FunctionLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one function at one gateway since that gateway started; `outstanding` and `held` are now."""

    arrived: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    late: int = 0
    retried: int = 0
    outstanding: int = 0
    held: int = 0
    execute_us: int = 0
    executions: float = 0.0
    queue_us: int = 0


class GatewayLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's heartbeat: one entry per function that it has seen traffic for."""

    gateway: GatewayId
    incarnation: str
    at_us: int
    functions: dict[FunctionName, FunctionLoad]
    version: int = 1
    pid: int = 0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """A function has `held` requests waiting at a gateway and no replica that could take them."""

    function: FunctionName
    gateway: GatewayId
    held: int
    version: int = 1
