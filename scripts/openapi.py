"""Write `docs/reference/openapi.json`, the description of the gateway's HTTP API; a test tells when it is old."""

from pathlib import Path

import msgspec

from fastgshare.gateway.http.openapi import description

FILE = Path(__file__).parents[1] / "docs" / "reference" / "openapi.json"


def content() -> bytes:
    """The file as it should be."""
    return msgspec.json.format(description(), indent=1) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(content())
    print(f"written: {FILE}")
