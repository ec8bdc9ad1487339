"""Who may do what on the bus: the least that each user needs, in the names of `subjects` alone.

A user is a kind of service, or a kind of person: `client` invokes, `admin` is the command. Everybody's inboxes begin
with `_INBOX.<user>`, so nobody hears another user's answers. Pure: `users_conf` writes the server's configuration.

What a server of the bus cannot tell apart: who may make a consumer names the subject it delivers to, and who answers
may publish to any inbox. Neither lets a user read what it has no right to.
"""

import json
from collections.abc import Iterable

import msgspec

from fastgshare.shared import subjects
from fastgshare.shared.access import INBOX, inbox_prefix
from fastgshare.shared.ids import DeviceId, FunctionName, GatewayId, NodeId, ReplicaId, RequestId
from fastgshare.shared.storage import BUCKETS, OBJECTS, STREAMS

ANY = "*"
REST = ">"
WRITTEN = "# Written by `make nats-users` from fastgshare.shared.rights.\n"
API = "$JS.API"

Subjects = tuple[str, ...]


class Rights(msgspec.Struct, frozen=True):
    """What a user may publish and subscribe to, without what everybody may."""

    publish: Subjects
    subscribe: Subjects = ()


def read_bucket(*buckets: str) -> Subjects:
    """Get, list and watch."""
    return tuple(right for bucket in buckets for right in _read_stream(f"KV_{bucket}"))


def write_bucket(bucket: str, keys: str = REST) -> Subjects:
    """Put, update and delete."""
    return (f"$KV.{bucket}.{keys}",)


def sweep_bucket(*buckets: str) -> Subjects:
    """Forget old deletions."""
    return tuple(f"{API}.STREAM.PURGE.KV_{bucket}" for bucket in buckets)


def read_objects(*stores: str) -> Subjects:
    """Download models and user code, or large results."""
    return tuple(right for store in stores for right in _read_stream(f"OBJ_{store}"))


def write_objects(*stores: str) -> Subjects:
    """Upload, delete, and take back what went wrong."""
    return tuple(right for store in stores for right in (f"$O.{store}.{REST}", f"{API}.STREAM.PURGE.OBJ_{store}"))


def _read_stream(stream: str) -> Subjects:
    # A stream's information lists its subjects, which bear keys and ids, so it is for its readers.
    return (
        f"{API}.STREAM.INFO.{stream}",
        f"{API}.STREAM.MSG.GET.{stream}",
        f"{API}.DIRECT.GET.{stream}",
        f"{API}.DIRECT.GET.{stream}.{REST}",
        f"{API}.CONSUMER.CREATE.{stream}",
        f"{API}.CONSUMER.CREATE.{stream}.{REST}",
        f"{API}.CONSUMER.INFO.{stream}.{ANY}",
        f"{API}.CONSUMER.DELETE.{stream}.{ANY}",
        f"$JS.FC.{stream}.{REST}",
    )


def pull_stream(*streams: str) -> Subjects:
    """Look at what is kept, one message or as many at a time as one asks for."""
    return tuple(
        right for stream in streams for right in (*_read_stream(stream), f"{API}.CONSUMER.MSG.NEXT.{stream}.{ANY}")
    )


def work_off(stream: str) -> Subjects:
    """Take messages off a work queue and say that they were done."""
    return (
        *pull_stream(stream),
        f"{API}.CONSUMER.DURABLE.CREATE.{stream}.{ANY}",
        f"$JS.ACK.{stream}.{REST}",
    )


EVERYBODY = (f"{API}.INFO", f"{API}.STREAM.NAMES")
"""What streams there are, by name: `ensure_storage` looks whether everything stands."""

SERVES = (f"{INBOX}.{REST}", subjects.EVENT_ALL)
"""Of those whom others ask: answers, and what happened."""

_FUNCTION = FunctionName(ANY)
_REPLICA = ReplicaId(ANY)
_GATEWAY = GatewayId(ANY)
_NODE = NodeId(ANY)
_REQUEST = RequestId(ANY)

CALLS = (subjects.invoke(_FUNCTION), subjects.withdraw(_REQUEST))

WATCHED = (
    subjects.NODE_STATUS_ALL,
    subjects.EVENT_ALL,
    subjects.LOAD_ALL,
    subjects.REPORT_ALL,
    subjects.profile_progress(_FUNCTION),
)
"""What consoles listen to."""

RIGHTS: dict[str, Rights] = {
    "gateway": Rights(
        publish=(
            *SERVES,
            subjects.replica(_REPLICA),
            subjects.cancel(_REPLICA),
            subjects.load(_GATEWAY),
            subjects.report(_GATEWAY),
            subjects.demand(_FUNCTION),
            subjects.trace(_FUNCTION, _REQUEST, ANY),
            subjects.job(_FUNCTION),
            subjects.RESULT_ALL,
            subjects.withdraw(_REQUEST),
            subjects.PAST,
            subjects.ping(ANY),
            *read_bucket(*BUCKETS),
            *write_bucket(subjects.FUNCTIONS),
            *write_bucket(subjects.RESULTS),
            *write_bucket(subjects.KEY_USE),
            *read_objects(*OBJECTS),
            *write_objects(*OBJECTS),
            *pull_stream(subjects.EVENT_STREAM, subjects.TRACE_STREAM),
            *work_off(subjects.JOB_STREAM),
        ),
        subscribe=(
            subjects.INVOKE_ALL,
            subjects.WITHDRAW_ALL,
            subjects.WORKER_HELLO_ALL,
            subjects.done(_GATEWAY),
            subjects.PAST,
            subjects.ping("gateway"),
            *WATCHED,
        ),
    ),
    "scheduler": Rights(
        publish=(
            *SERVES,
            *read_bucket(
                subjects.FUNCTIONS, subjects.PROFILES, subjects.PLACEMENTS, subjects.REPLICAS, subjects.LEASES
            ),
            *write_bucket(subjects.PLACEMENTS),
            *write_bucket(subjects.LEASES, subjects.LEADER_KEY),
            *sweep_bucket(subjects.PLACEMENTS, subjects.REPLICAS),
        ),
        subscribe=(
            subjects.NODE_STATUS_ALL,
            subjects.LOAD_ALL,
            subjects.DEMAND_ALL,
            subjects.LOAN,
            subjects.ping("scheduler"),
        ),
    ),
    "profiler": Rights(
        publish=(
            *SERVES,
            subjects.measure(_REPLICA),
            subjects.profile_progress(_FUNCTION),
            subjects.LOAN,
            *read_bucket(subjects.FUNCTIONS, subjects.REPLICAS, subjects.PROFILES, subjects.LEASES),
            *write_bucket(subjects.PROFILES),
            *write_bucket(subjects.LEASES, subjects.profile_lease(REST)),
        ),
        subscribe=(subjects.NODE_STATUS_ALL, subjects.PROFILE_ALL, subjects.ping("profiler")),
    ),
    "node": Rights(
        publish=(
            *SERVES,
            subjects.done(_GATEWAY),
            subjects.worker_hello(DeviceId(ANY)),
            subjects.node_status(_NODE),
            subjects.usage(_NODE),
            *read_bucket(subjects.PLACEMENTS, subjects.REPLICAS, subjects.PROFILES),
            *write_bucket(subjects.REPLICAS),
            *read_objects(subjects.MODELS),
        ),
        subscribe=(
            subjects.replica(_REPLICA),
            subjects.cancel(_REPLICA),
            subjects.measure(_REPLICA),
            subjects.ping("node_manager"),
        ),
    ),
    "client": Rights(publish=(*CALLS, *read_bucket(subjects.REPLICAS))),
    "admin": Rights(
        publish=(
            *CALLS,
            subjects.EVENT_ALL,
            subjects.job(_FUNCTION),
            subjects.profile(_FUNCTION),
            subjects.PAST,
            subjects.ping(ANY),
            subjects.PING,
            *read_bucket(*BUCKETS),
            *write_bucket(subjects.FUNCTIONS),
            *write_bucket(subjects.PROFILES),
            *write_bucket(subjects.KEYS),
            *write_bucket(subjects.KEY_USE),
            *write_bucket(subjects.RESULTS),
            *write_bucket(subjects.LEASES, subjects.profile_lease(REST)),
            *read_objects(*OBJECTS),
            *write_objects(*OBJECTS),
            *pull_stream(*STREAMS),
        ),
        subscribe=(subjects.RESULT_ALL, *WATCHED),
    ),
    "provision": Rights(publish=tuple(f"{API}.STREAM.{verb}.{ANY}" for verb in ("CREATE", "UPDATE", "INFO"))),
}


def users_conf() -> str:
    """The server's block `authorization`; each password is a variable of the server's environment."""
    users = ",\n".join(_user(name, rights) for name, rights in RIGHTS.items())
    return f"{WRITTEN}authorization {{\n  users: [\n{users}\n  ]\n}}\n"


def _user(name: str, rights: Rights) -> str:
    own = f"{inbox_prefix(name)}.{REST}"
    return (
        f"    {{\n      user: {name}, password: $NATS_{name.upper()}_PASSWORD\n      permissions: {{\n"
        f"        publish: {_listed((own, *EVERYBODY, *rights.publish))}\n"
        f"        subscribe: {_listed((own, *rights.subscribe))}\n      }}\n    }}"
    )


def _listed(names: Iterable[str]) -> str:
    lines = "".join(f"          {json.dumps(name)}\n" for name in dict.fromkeys(names))
    return f"[\n{lines}        ]"
