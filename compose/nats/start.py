"""Becomes the NATS server, with the users' passwords in its environment and, in a cluster, its routes in a file.

`NATS_ROUTES` names the servers of a cluster, this one included, by host, with spaces between; empty means that there
is one server alone. What one server kept it does not take along into a cluster: the cluster would begin with nothing
and remove it, so a store of that kind is refused.
"""

import json
import os
import socket
import sys
from pathlib import Path

PASSWORDS = Path("/run/credentials/passwords.json")
STORE = Path("/data/jetstream")
META_GROUP = "_meta_"  # what the servers of a cluster agree on; one server alone has no such folder
ROUTES = Path("/tmp/routes.conf")  # the one place that can be written to, and nobody else's
SERVER = "nats-server"


def main() -> None:
    """Does not return."""
    passwords: dict[str, str] = json.loads(PASSWORDS.read_text())
    # What a variable holds is read as configuration, so it is quoted.
    env = {f"NATS_{user.upper()}_PASSWORD": json.dumps(password) for user, password in passwords.items()}
    env["NATS_SERVER_NAME"] = json.dumps(os.environ.get("NATS_SERVER_NAME") or socket.gethostname())
    hosts = os.environ.get("NATS_ROUTES", "").split()
    if hosts and is_of_one_server(STORE):
        sys.exit(
            f"{STORE} was kept by one server alone, and a cluster would start empty and remove it: back up its streams"
            " and restore them in the cluster, or give this server an empty volume"
        )
    if hosts:
        urls = [f"nats-route://route:{passwords['route']}@{host}:6222" for host in hosts]
        ROUTES.write_text(f"routes: {json.dumps(urls)}\n")
    config = "/etc/nats/cluster.conf" if hosts else "/etc/nats/nats.conf"
    os.execvpe(SERVER, [SERVER, "-c", config], {**os.environ, **env})


def is_of_one_server(store: Path) -> bool:
    """Whether there are streams in it, and nothing of a cluster's."""
    streams = any(store.glob("*/streams/*/meta.inf"))
    return streams and not any(store.glob(f"*/*/{META_GROUP}"))


if __name__ == "__main__":
    main()
