"""Where the platform on this machine keeps its state and where it listens.

`fastgshare up` writes `endpoints.json` into the data directory; clients read it. Standard library only,
because every command starts here.
"""

import json
from collections.abc import Mapping
from pathlib import Path

DATA_DIR_VARIABLE = "FASTGSHARE_DATA_DIR"
URL_VARIABLE = "FASTGSHARE_NATS_URL"
PASSWORD_FILE_VARIABLE = "FASTGSHARE_NATS_PASSWORD_FILE"
ENDPOINTS_FILE = "endpoints.json"
DEFAULT_URL = "nats://127.0.0.1:4222"


def data_directory(env: Mapping[str, str]) -> Path:
    """The data directory: `FASTGSHARE_DATA_DIR`, else `fastgshare` in the XDG data home."""
    if chosen := env.get(DATA_DIR_VARIABLE):
        return Path(chosen).expanduser()
    data_home = env.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data_home).expanduser() / "fastgshare"


def endpoints(env: Mapping[str, str]) -> dict[str, str]:
    """What `fastgshare up` wrote: `nats_url`, `http_url` and other texts; empty when there is no such file."""
    try:
        found = json.loads((data_directory(env) / ENDPOINTS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def nats_url(chosen: str | None, env: Mapping[str, str]) -> str:
    """The server: `chosen`, else `FASTGSHARE_NATS_URL`, else what runs here, else NATS's own default."""
    return chosen or env.get(URL_VARIABLE) or endpoints(env).get("nats_url") or DEFAULT_URL
