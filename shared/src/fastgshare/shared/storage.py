"""What JetStream keeps for the platform: buckets, object stores and streams, each made where it is missing.

Streams are bounded in age and bytes; the oldest goes first, except in the work queue, which refuses what is new.
"""

import msgspec
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus

LEASE_TTL_S = 2.0
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
RESULT_TTL_S = DAY_S

BUCKETS: dict[str, float | None] = {
    subjects.FUNCTIONS: None,
    subjects.PROFILES: None,
    subjects.PLACEMENTS: None,
    subjects.REPLICAS: None,
    subjects.LEASES: LEASE_TTL_S,
    subjects.RESULTS: RESULT_TTL_S,
    subjects.KEYS: None,
    subjects.KEY_USE: 2 * DAY_S,
}
"""Every bucket, and after how many seconds its keys go (None: never)."""


BUCKET_BYTES: dict[str, int] = {subjects.RESULTS: 1 << 30}
"""Buckets that hold what callers bring, and how much of it; what is more is refused."""


class KeptObjects(msgspec.Struct, frozen=True):
    """An object store: after how many seconds objects go, and how many bytes it holds (None: never, any number)."""

    ttl_s: float | None = None
    max_bytes: int | None = None


OBJECTS: dict[str, KeptObjects] = {
    subjects.MODELS: KeptObjects(),
    subjects.LARGE_RESULTS: KeptObjects(RESULT_TTL_S + HOUR_S, 1 << 30),  # an hour longer than what names them
}


class Kept(msgspec.Struct, frozen=True):
    """A stream: the subjects it keeps, for how long, how many bytes and messages (-1: any number).

    A work queue keeps until it was done.
    """

    subjects: str
    max_age_s: float
    max_bytes: int
    is_work_queue: bool = False
    max_messages: int = -1


STREAMS: dict[str, Kept] = {
    subjects.EVENT_STREAM: Kept(subjects.EVENT_ALL, 7 * DAY_S, 256 << 20),
    subjects.TRACE_STREAM: Kept(subjects.TRACE_ALL, DAY_S, 64 << 20),
    subjects.USAGE_STREAM: Kept(subjects.USAGE_ALL, 400 * DAY_S, 256 << 20),
    subjects.JOB_STREAM: Kept(subjects.JOB_ALL, DAY_S, 1 << 30, is_work_queue=True, max_messages=100_000),
}


SUBJECTS = {
    **{f"KV_{bucket}": f"$KV.{bucket}.>" for bucket in BUCKETS},
    **{f"OBJ_{name}": f"$O.{name}.C.>" for name in OBJECTS},
    **{name: kept.subjects for name, kept in STREAMS.items()},
}
"""What every stream keeps, by its name on the server."""

STREAM_NAMES = tuple(SUBJECTS)

AGES = {f"KV_{bucket}": ttl_s for bucket, ttl_s in BUCKETS.items() if ttl_s is not None}
"""After how many seconds what a bucket's stream keeps goes, by its name on the server."""


async def ensure_storage(bus: Bus, replicas: int = 1) -> None:
    """Create what is missing, kept by that many servers; safe to race. Where all stands, nothing is written.

    Asks for names alone, which everybody may know: what a stream says of itself is for its readers.
    """
    missing = {name for name in STREAM_NAMES if not await _stands(bus.jetstream, name)}
    for bucket, ttl_s in BUCKETS.items():
        if f"KV_{bucket}" in missing:
            await bus.jetstream.create_key_value(
                bucket=bucket, history=1, ttl=ttl_s, max_bytes=BUCKET_BYTES.get(bucket), replicas=replicas
            )
    for name, objects in OBJECTS.items():
        if f"OBJ_{name}" in missing:
            await bus.jetstream.create_object_store(
                name, ttl=objects.ttl_s, max_bytes=objects.max_bytes, replicas=replicas
            )
    for name, kept in STREAMS.items():
        if name in missing:
            await _create_stream(bus.jetstream, name, kept, replicas)


async def provide_storage(bus: Bus, replicas: int = 1) -> None:
    """As `ensure_storage`, and what stands is brought to `replicas` copies at least and its keys to the age of today.

    Needs the right to change streams. What has more copies keeps them: a number too small is more often a mistake than
    a wish to have less.
    """
    await ensure_storage(bus, replicas)
    for name in STREAM_NAMES:
        config = (await bus.jetstream.stream_info(name)).config
        wished = _aged(config.evolve(num_replicas=max(config.num_replicas or 1, replicas)))
        if wished != config:
            await bus.jetstream.update_stream(wished)


def _aged(config: api.StreamConfig) -> api.StreamConfig:
    """A bucket's configuration with the age that its keys have today; what an older platform made may lack it."""
    ttl_s = AGES.get(str(config.name))
    if ttl_s is None or config.max_age == ttl_s:
        return config
    window_s = min(config.duplicate_window or ttl_s, ttl_s)  # the server takes none that is longer than the age
    return config.evolve(max_age=ttl_s, duplicate_window=window_s)


async def _stands(jetstream: JetStreamContext, name: str) -> bool:
    try:
        return await jetstream.find_stream_name_by_subject(SUBJECTS[name]) == name
    except js_errors.NotFoundError:
        return False


async def _create_stream(jetstream: JetStreamContext, name: str, kept: Kept, replicas: int) -> None:
    await jetstream.add_stream(
        name=name,
        subjects=[kept.subjects],
        max_age=kept.max_age_s,
        max_bytes=kept.max_bytes,
        max_msgs=kept.max_messages,
        retention=api.RetentionPolicy.WORK_QUEUE if kept.is_work_queue else api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.NEW if kept.is_work_queue else api.DiscardPolicy.OLD,
        num_replicas=replicas,
    )
