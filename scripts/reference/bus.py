"""The page of the bus, from the subject table and the storage table."""

import ast
import inspect
import itertools
from collections.abc import Callable, Iterator
from types import FunctionType

from fastgshare.shared import storage, subjects
from scripts.reference.markdown import code, flat, table

BUCKETS = {
    subjects.FUNCTIONS: "what is deployed: a definition a key. The command, the client and the gateways write it",
    subjects.PROFILES: "throughput tables by model digest and kind of device. Profilers write it",
    subjects.PLACEMENTS: "desired replicas, `<node>.<replica>`. The leading scheduler writes it",
    subjects.REPLICAS: "actual replicas, `<node>.<replica>`. Their node writes it",
    subjects.LEASES: "who leads, and who measures what; forgotten when their holder falls silent",
    subjects.RESULTS: "answers of asynchronous invocations",
    subjects.KEYS: "API keys, as hashes, with their limits",
    subjects.KEY_USE: "how much of its limits each key used",
}
STREAMS = {
    subjects.EVENT_STREAM: "what happened, for people, journals and tests",
    subjects.TRACE_STREAM: "traces of requests that were kept",
    subjects.USAGE_STREAM: "who had how much of which device: the bill",
    subjects.JOB_STREAM: "asynchronous invocations that wait; full, it refuses new ones",
}
OBJECTS = {
    subjects.MODELS: "models and user code by the SHA-256 of their content; nodes cache them on disk",
    subjects.LARGE_RESULTS: "results of jobs larger than a message, packed; the job's record names them",
}
CONSTANTS = ("LOAN", "PAST", "PING")


def page() -> str:
    """Subjects, buckets, streams, object stores."""
    return "\n".join(
        [
            "# The bus",
            "",
            (
                "Services meet only here. Names are spelled in one place, `shared/subjects.py`; messages are msgpack, "
                "their types stand in `shared/messages`."
            ),
            "",
            "## Subjects",
            "",
            table(("subject", ""), _subjects()),
            "## Buckets",
            "",
            "Key-value buckets of JetStream. One writer a key; watched and listed.",
            "",
            table(("bucket", "keys go after", "holds"), _buckets()),
            "## Streams",
            "",
            table(("stream", "subjects", "kept for", "at most", "holds"), _streams()),
            "## Object stores",
            "",
            table(("store", "objects go after", "at most", "holds"), _objects()),
        ]
    )


def _subjects() -> Iterator[tuple[str, str]]:
    documented = _documented_constants()
    for name in CONSTANTS:
        yield code(getattr(subjects, name)), documented.get(name, "Anyone → every service.")
    for name, made in vars(subjects).items():
        if isinstance(made, FunctionType) and not name.startswith("_"):
            subject = _pattern(made)
            if subject.startswith("fast."):
                yield code(subject), flat(made.__doc__ or "")


def _pattern(made: Callable[..., str]) -> str:
    """What `made` makes, each parameter shown by its name."""
    names = list(inspect.signature(made).parameters)
    stand_ins = {name: f"parameter-{index}" for index, name in enumerate(names)}
    subject = made(**stand_ins)
    for name, stand_in in stand_ins.items():
        subject = subject.replace(stand_in, f"<{name}>")
    return subject


def _documented_constants() -> dict[str, str]:
    """Names that a string follows, and what it says."""
    body = ast.parse(inspect.getsource(subjects)).body
    found = {}
    for assigned, told in itertools.pairwise(body):
        match assigned, told:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = text
    return found


def _buckets() -> Iterator[tuple[str, str, str]]:
    for name, ttl_s in storage.BUCKETS.items():
        yield code(name), "never" if ttl_s is None else _span(ttl_s), BUCKETS[name]


def _streams() -> Iterator[tuple[str, str, str, str, str]]:
    for name, kept in storage.STREAMS.items():
        yield code(name), code(kept.subjects), _span(kept.max_age_s), f"{kept.max_bytes >> 20} MiB", STREAMS[name]


def _objects() -> Iterator[tuple[str, str, str, str]]:
    for name, kept in storage.OBJECTS.items():
        goes = "never" if kept.ttl_s is None else _span(kept.ttl_s)
        yield code(name), goes, "" if kept.max_bytes is None else f"{kept.max_bytes >> 20} MiB", OBJECTS[name]


def _span(seconds: float) -> str:
    if seconds >= storage.DAY_S and seconds % storage.DAY_S == 0:
        days = int(seconds // storage.DAY_S)
        return "1 day" if days == 1 else f"{days} days"
    return f"{seconds:g} s"
