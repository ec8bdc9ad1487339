"""Ports that a server can keep over its restarts.

The kernel hands out ports of its ephemeral range to anybody's outgoing connection, a server that is down for
a moment could lose one of those: free ports are sought below that range.
"""

import random
import socket
from collections.abc import Collection
from pathlib import Path

HOST = "127.0.0.1"
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_240
_DEFAULT_EPHEMERAL = 32_768
_TRIES = 200


def is_free(port: int, host: str = HOST) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what is only in TIME_WAIT is free
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port(preferred: int, taken: Collection[int] = (), host: str = HOST) -> int:
    """`preferred` if it is free and not `taken`, else another (0: any). Raises OSError when there is none."""
    if preferred and preferred not in taken and is_free(preferred, host):
        return preferred
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, _ephemeral_start())
        if port not in taken and is_free(port, host):
            return port
    raise OSError(f"no free port on {host}")


def _ephemeral_start() -> int:
    try:
        start = int(_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_EPHEMERAL
    return start if start > _LOWEST + _TRIES else _DEFAULT_EPHEMERAL
