"""The description of the gateway's HTTP API, as the gateway itself serves it."""

import msgspec

from fastgshare.gateway.http.openapi import description


def page() -> str:
    """The whole document, JSON."""
    return msgspec.json.format(description(), indent=1).decode()
