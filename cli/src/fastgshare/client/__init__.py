"""The typed asynchronous Python client.

Names are loaded when first used: the command line imports this package and must start fast.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgshare.client.connection import Client as Client
    from fastgshare.client.connection import connect as connect
    from fastgshare.client.definition import FunctionDefinition as FunctionDefinition
    from fastgshare.client.definition import HandlerSource as HandlerSource
    from fastgshare.client.definition import ModelSource as ModelSource
    from fastgshare.client.definition import WheelFile as WheelFile
    from fastgshare.client.errors import DeployFailed as DeployFailed
    from fastgshare.client.errors import DeployTimedOut as DeployTimedOut
    from fastgshare.client.errors import PlatformNotFound as PlatformNotFound
    from fastgshare.client.errors import SourceUnavailable as SourceUnavailable
    from fastgshare.client.status import PlatformStatus as PlatformStatus
    from fastgshare.client.values import Result as Result
    from fastgshare.shared.errors import InvalidSpec as InvalidSpec
    from fastgshare.shared.errors import RequestRefused as RequestRefused
    from fastgshare.shared.registry import FunctionUnknown as FunctionUnknown

_HOME = {
    "Client": "fastgshare.client.connection",
    "DeployFailed": "fastgshare.client.errors",
    "DeployTimedOut": "fastgshare.client.errors",
    "FunctionDefinition": "fastgshare.client.definition",
    "FunctionUnknown": "fastgshare.shared.registry",
    "HandlerSource": "fastgshare.client.definition",
    "InvalidSpec": "fastgshare.shared.errors",
    "ModelSource": "fastgshare.client.definition",
    "PlatformNotFound": "fastgshare.client.errors",
    "PlatformStatus": "fastgshare.client.status",
    "RequestRefused": "fastgshare.shared.errors",
    "Result": "fastgshare.client.values",
    "SourceUnavailable": "fastgshare.client.errors",
    "WheelFile": "fastgshare.client.definition",
    "connect": "fastgshare.client.connection",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
