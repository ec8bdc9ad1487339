"""The typed asynchronous Python client.

Names are loaded when first used: the command line imports this package and must start fast.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgshare.client.connection import Client, connect
    from fastgshare.client.definition import FunctionDefinition, HandlerSource, ModelSource, WheelFile
    from fastgshare.client.errors import (
        DeployFailed,
        DeployTimedOut,
        PlatformNotFound,
        SignatureUnknown,
        SourceUnavailable,
        TableBusy,
        TableFileInvalid,
        TableForeign,
    )
    from fastgshare.client.jobs import JobPending, JobUnknown
    from fastgshare.client.keys import KeyUnknown
    from fastgshare.client.status import PlatformStatus
    from fastgshare.client.values import Result
    from fastgshare.shared.errors import InvalidSpec, RequestRefused
    from fastgshare.shared.registry import FunctionUnknown

__all__ = [
    "Client",
    "DeployFailed",
    "DeployTimedOut",
    "FunctionDefinition",
    "FunctionUnknown",
    "HandlerSource",
    "InvalidSpec",
    "JobPending",
    "JobUnknown",
    "KeyUnknown",
    "ModelSource",
    "PlatformNotFound",
    "PlatformStatus",
    "RequestRefused",
    "Result",
    "SignatureUnknown",
    "SourceUnavailable",
    "TableBusy",
    "TableFileInvalid",
    "TableForeign",
    "WheelFile",
    "connect",
]

_HOME = {
    "Client": "fastgshare.client.connection",
    "DeployFailed": "fastgshare.client.errors",
    "DeployTimedOut": "fastgshare.client.errors",
    "FunctionDefinition": "fastgshare.client.definition",
    "FunctionUnknown": "fastgshare.shared.registry",
    "HandlerSource": "fastgshare.client.definition",
    "JobPending": "fastgshare.client.jobs",
    "JobUnknown": "fastgshare.client.jobs",
    "KeyUnknown": "fastgshare.client.keys",
    "InvalidSpec": "fastgshare.shared.errors",
    "ModelSource": "fastgshare.client.definition",
    "PlatformNotFound": "fastgshare.client.errors",
    "PlatformStatus": "fastgshare.client.status",
    "RequestRefused": "fastgshare.shared.errors",
    "Result": "fastgshare.client.values",
    "SignatureUnknown": "fastgshare.client.errors",
    "SourceUnavailable": "fastgshare.client.errors",
    "TableBusy": "fastgshare.client.errors",
    "TableFileInvalid": "fastgshare.client.errors",
    "TableForeign": "fastgshare.client.errors",
    "WheelFile": "fastgshare.client.definition",
    "connect": "fastgshare.client.connection",
}


if not TYPE_CHECKING:  # a type checker would take it for leave to use any name

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOME[name]), name)
