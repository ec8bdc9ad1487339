"""What JetStream keeps for the platform: buckets, the object store and streams, each made where it is missing.

Streams are bounded in age and bytes; the oldest goes first, except in the work queue, which refuses what is new.
"""

import msgspec
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from fastgshare.shared import subjects
from fastgshare.shared.bus import Bus

LEASE_TTL_S = 2.0
DAY_S = 24 * 3600.0
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


STREAM_NAMES = (*(f"KV_{bucket}" for bucket in BUCKETS), f"OBJ_{subjects.MODELS}", *STREAMS)
"""Every stream as the server names it."""


async def ensure_storage(bus: Bus, replicas: int = 1) -> dict[str, api.StreamConfig]:
    """Create what is missing, kept by that many servers; safe to race. Where all stands, nothing is written.

    Returns how each stream stands, what buckets and the object store are made of included.
    """
    standing = {name: await _standing(bus.jetstream, name) for name in STREAM_NAMES}
    for bucket, ttl_s in BUCKETS.items():
        if standing[f"KV_{bucket}"] is None:
            await bus.jetstream.create_key_value(
                bucket=bucket, history=1, ttl=ttl_s, max_bytes=BUCKET_BYTES.get(bucket), replicas=replicas
            )
    if standing[f"OBJ_{subjects.MODELS}"] is None:
        await bus.jetstream.create_object_store(subjects.MODELS, replicas=replicas)
    for name, kept in STREAMS.items():
        if standing[name] is None:
            await _create_stream(bus.jetstream, name, kept, replicas)
    return {name: config for name, config in standing.items() if config is not None}


async def provide_storage(bus: Bus, replicas: int) -> None:
    """As `ensure_storage`, and what stands in fewer copies is brought to `replicas`; needs the right to change streams.

    What has more keeps them: a number too small is more often a mistake than a wish to have less.
    """
    for config in (await ensure_storage(bus, replicas)).values():
        if (config.num_replicas or 1) < replicas:
            await bus.jetstream.update_stream(config.evolve(num_replicas=replicas))


async def _standing(jetstream: JetStreamContext, name: str) -> api.StreamConfig | None:
    try:
        return (await jetstream.stream_info(name)).config
    except js_errors.NotFoundError:
        return None


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
