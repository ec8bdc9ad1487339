"""Key-value buckets with typed values, and mirrors of them that survive the server.

A mirror watches *and* lists: each round opens a fresh watch, which begins with everything there is, and then
follows; rounds end after `refresh_s` or when the connection was lost, so a missed update lives for one
round at most.
"""

import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar, cast

import anyio
import anyio.abc
import msgspec
import nats.errors
from nats.js import errors as js_errors
from nats.js.kv import KeyValue

from fastgshare.shared.bus import CONTROL_TIMEOUT_S, Bus
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import FastGShareError, PayloadInvalid

REFRESH_S = 10.0
RETRY_S = 0.2
WATCH_INACTIVE_S = 30.0

M = TypeVar("M", bound=msgspec.Struct)
T = TypeVar("T")

Entries = list[KeyValue.Entry]

logger = logging.getLogger(__name__)

WRONG_REVISION = (10071, 10164)  # the server's codes; nats-py translates them for `update`, not for `delete`
FULL = (10077, 10047, 10023)  # the server's codes: the stream's most bytes or messages; out of storage
DELETIONS = ("DEL", "PURGE")
BUS_FAULTS = (nats.errors.Error, js_errors.Error, TimeoutError, OSError)


def is_full(error: BaseException | None) -> bool:
    """Whether the server has no room for what it was given."""
    return isinstance(error, js_errors.APIError) and error.err_code in FULL


class RevisionConflict(FastGShareError):
    """Somebody else wrote the key since it was read: fields `bucket`, `key`."""


class StorageUnavailable(FastGShareError):
    """JetStream did not carry out a storage call: fields `bucket`, `key`, `reason`."""


class Bucket(Generic[M]):
    """Typed access to one bucket. Every call ends within the bus's control timeout."""

    def __init__(self, bus: Bus, name: str, kind: type[M]) -> None:
        self._bus = bus
        self._name = name
        self._kind = kind
        self._store: KeyValue | None = None

    async def store(self) -> KeyValue:
        """The bucket itself, looked up once."""
        if self._store is None:
            self._store = await self._bus.jetstream.key_value(self._name)
        return self._store

    async def _call(self, operation: Callable[[KeyValue], Awaitable[T]]) -> T:
        """The answer to one operation, unless it went down with the connection."""
        with self._bus.until_reconnected():
            return await operation(await self.store())
        raise TimeoutError("the bus was away meanwhile")

    async def get(self, key: str) -> tuple[M, int] | None:
        """The value and its revision, or None. Raises StorageUnavailable or PayloadInvalid."""
        entry = await self._entry(key)
        return (decode(self._kind, entry.value or b""), entry.revision or 0) if entry else None

    async def standing(self, key: str) -> tuple[M | None, int]:
        """Like `get`; None with a revision where the value does not decode, with 0 where there is nothing."""
        entry = await self._entry(key)
        return (self.read(entry), entry.revision or 0) if entry else (None, 0)

    async def _entry(self, key: str) -> KeyValue.Entry | None:
        try:
            return await self._call(lambda store: store.get(key))
        except js_errors.KeyNotFoundError:
            return None
        except BUS_FAULTS as error:
            raise self._unavailable(key, error) from error

    async def deletion(self, key: str) -> int:
        """The revision that deleted the key; 0 if it stands or never was. Raises StorageUnavailable."""
        try:
            await self._call(lambda store: store.get(key))
        except js_errors.KeyNotFoundError as error:
            return (error.entry.revision or 0) if error.entry else 0
        except BUS_FAULTS as error:
            raise self._unavailable(key, error) from error
        return 0

    async def put(self, key: str, value: M) -> int:
        """Write, whatever was there; the new revision. Raises StorageUnavailable."""
        try:
            return await self._call(lambda store: store.put(key, encode(value)))
        except BUS_FAULTS as error:
            raise self._unavailable(key, error) from error

    async def replace(self, key: str, value: M, revision: int) -> int:
        """Write only if the key still stands at `revision` (0: does not exist); the new revision.

        Raises:
            RevisionConflict: it does not.
            StorageUnavailable: JetStream did not answer.
        """
        try:
            if revision == 0:
                return await self._call(lambda store: store.create(key, encode(value)))
            return await self._call(lambda store: store.update(key, encode(value), last=revision))
        except (js_errors.KeyWrongLastSequenceError, js_errors.KeyNotFoundError) as error:
            # nats-py looks at what stands in its way, and finds nothing if that ran out at this moment
            raise RevisionConflict(bucket=self._name, key=key) from error
        except BUS_FAULTS as error:
            raise self._unavailable(key, error) from error

    async def delete(self, key: str, revision: int = 0) -> None:
        """Remove, whatever was there or only if the key stands at `revision`; fine if it is not there.

        Raises:
            RevisionConflict: it stands at another revision.
            StorageUnavailable: JetStream did not answer.
        """
        try:
            await self._call(lambda store: store.delete(key, last=revision))
        except js_errors.KeyNotFoundError:
            return
        except js_errors.APIError as error:
            if error.err_code in WRONG_REVISION:
                raise RevisionConflict(bucket=self._name, key=key) from error
            raise self._unavailable(key, error) from error
        except BUS_FAULTS as error:
            raise self._unavailable(key, error) from error

    async def list(self, keys: str = ">") -> dict[str, M]:
        """Everything under `keys` now; values that do not decode are left out and logged."""
        try:
            entries = await self._entries(keys)
        except BUS_FAULTS as error:
            raise self._unavailable(keys, error) from error
        values = {entry.key: self.read(entry) for entry in entries}
        return {key: value for key, value in values.items() if value is not None}

    async def _entries(self, keys: str = ">") -> "Entries":
        """The latest entry of each key, deletions included."""
        found = []
        with self._bus.until_reconnected(), anyio.fail_after(CONTROL_TIMEOUT_S):
            watch = await self.watch(keys)
            try:
                while (entry := await watch.next()) is not None:
                    found.append(entry)
            finally:
                await watch.stop()
            return found
        raise TimeoutError("the bus was away meanwhile")

    async def watch(self, keys: str = ">") -> "Watch":
        """Everything under `keys` now, then every change. Raises what nats-py raises."""
        store = await self.store()
        watcher = await store.watch(keys, inactive_threshold=WATCH_INACTIVE_S)
        return Watch(watcher, partial(self._is_empty, keys), self._forget_consumer)

    async def _is_empty(self, keys: str) -> bool:
        """Whether there is nothing under `keys`, not even a deletion."""
        subjects_filter = f"$KV.{self._name}.{keys}"
        info = await self._bus.jetstream.stream_info(f"KV_{self._name}", subjects_filter=subjects_filter)
        return not info.state.subjects

    async def _forget_consumer(self, name: str) -> None:
        if self._bus.connection.is_connected:  # else it goes by itself
            await self._bus.jetstream.delete_consumer(f"KV_{self._name}", name)

    async def sweep(self, older_than: timedelta, now: datetime) -> int:
        """Forget deletions made that long before `now`; how many. For buckets whose keys are never used again.

        A deletion leaves a marker that every listing reads; those of keys that come and go would pile up for ever.
        Raises StorageUnavailable.
        """
        swept = 0
        try:
            for entry in await self._entries():
                made = cast("datetime", entry.created)  # annotated int, a datetime comes
                if entry.operation not in DELETIONS or made >= now - older_than:
                    continue
                subject = f"$KV.{self._name}.{entry.key}"
                after = (entry.revision or 0) + 1  # a value written since the marker stays
                await self._bus.jetstream.purge_stream(f"KV_{self._name}", seq=after, subject=subject)
                swept += 1
        except BUS_FAULTS as error:
            raise self._unavailable(">", error) from error
        return swept

    def read(self, entry: KeyValue.Entry) -> M | None:
        """An entry's value; None where it was deleted or does not decode."""
        if entry.operation in DELETIONS or not entry.value:
            return None
        try:
            return decode(self._kind, entry.value)
        except PayloadInvalid as error:
            logger.warning("bucket %s key %s ignored: %s", self._name, entry.key, error)
            return None

    def _unavailable(self, key: str, error: Exception) -> StorageUnavailable:
        reason = str(error) or type(error).__name__
        return StorageUnavailable(bucket=self._name, key=key, reason=reason)


class Mirror(Generic[M]):
    """A local copy of a bucket that calls `on_change(key, value)` for each difference; None means gone."""

    def __init__(
        self,
        bus: Bus,
        bucket: str,
        kind: type[M],
        on_change: Callable[[str, M | None], None] | None = None,
        keys: str = ">",
        refresh_s: float = REFRESH_S,
    ) -> None:
        self.values: dict[str, M] = {}
        self._bus = bus
        self._bucket = Bucket(bus, bucket, kind)
        self._name = bucket
        self._keys = keys
        self._on_change = on_change
        self._refresh_s = refresh_s
        self._round = anyio.CancelScope()
        self._relists: list[anyio.Event] = []

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Follow for ever; reports started once the first listing is complete."""
        started = False

        def listed() -> None:
            nonlocal started
            if not started:
                started = True
                task_status.started()

        self._bus.on_reconnect(self._rewatch)
        try:
            while True:
                await self._one_round(listed)
        finally:
            self._bus.forget_reconnect(self._rewatch)

    async def relist(self) -> None:
        """Return once a listing begun after this call is complete: all that was written before it is here."""
        relisted = anyio.Event()
        self._relists.append(relisted)
        self._rewatch()
        await relisted.wait()

    def _rewatch(self) -> None:
        self._round.cancel()

    async def _one_round(self, listed: Callable[[], None]) -> None:
        watch: Watch | None = None
        jitter_s = random.uniform(0, self._refresh_s / 10)
        awaited = list(self._relists)

        def complete() -> None:
            listed()
            for relisted in awaited:
                relisted.set()
            self._relists = [relisted for relisted in self._relists if not relisted.is_set()]

        try:
            with anyio.move_on_after(self._refresh_s + jitter_s) as self._round:
                watch = await self._bucket.watch(self._keys)
                await self._follow(watch, complete)
        except BUS_FAULTS as error:
            logger.info("mirror of %s starts over: %s", self._name, str(error) or type(error).__name__)
            await anyio.sleep(RETRY_S + random.uniform(0, RETRY_S))
        finally:
            if watch is not None:
                await watch.stop()

    async def _follow(self, watch: "Watch", listed: Callable[[], None]) -> None:
        seen: set[str] = set()
        while True:
            entry = await watch.next()
            if entry is None:
                for key in self.values.keys() - seen:
                    self._set(key, None)
                listed()
                continue
            seen.add(entry.key)
            self._set(entry.key, self._bucket.read(entry))

    def _set(self, key: str, value: M | None) -> None:
        if self.values.get(key) == value:
            return
        if value is None:
            del self.values[key]
        else:
            self.values[key] = value
        if self._on_change is not None:
            self._on_change(key, value)


class Watch:
    """A watch that tells truly when it has told everything there was. Made by `Bucket.watch`.

    nats-py's own mark for that cannot be trusted when it comes first: it asks the server how much is pending, and
    now and then (measured: 3 of 1,200) gets the answer "nothing" ahead of the entries that were already sent. Who
    believed it would take a full bucket for an empty one, and unload every replica.
    """

    def __init__(
        self,
        watcher: KeyValue.KeyWatcher,
        is_empty: Callable[[], Awaitable[bool]],
        forget_consumer: Callable[[str], Awaitable[None]],
    ) -> None:
        self._watcher = watcher
        self._is_empty = is_empty
        self._forget_consumer = forget_consumer
        self._any = False
        self._told = False
        self._last = False

    async def next(self) -> KeyValue.Entry | None:
        """The next entry; once, None: all that stood at the beginning has been told."""
        while not self._last:
            entry: KeyValue.Entry | None = await anext(self._watcher)
            if entry is not None:
                self._any = True
                self._last = entry.delta == 0 and not self._told
                return entry
            self._last = not self._any and not self._told and await self._is_empty()
        self._last, self._told = False, True
        return None

    async def stop(self) -> None:
        """Let go of it. Streams have a limit of consumers, which lists in quick succession would reach."""
        subscription = self._watcher._sub  # noqa: SLF001
        assert subscription is not None
        consumer: str = subscription._consumer  # noqa: SLF001  # told nowhere else without asking the server
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            try:
                await self._watcher.stop()
                await self._forget_consumer(consumer)
            except BUS_FAULTS as error:
                logger.debug("watch not stopped: %s", error)
