"""A segment of a journal as a file: a beginning, and what the core stepped through from there.

    line `fastgshare-journal 1`
    chunks, each: length and CRC-32 of what follows (4 bytes each, big-endian), then a piece of one deflate stream
    the stream: records, each a length (4 bytes, big-endian) and a message: first the `Beginning`, then entries

One stream for the whole segment, flushed at each chunk, so that heartbeats that repeat themselves cost a few bytes
each. A segment that a killed process left behind is read up to the last whole chunk; that it is torn is told. Reading
takes no more memory than the largest record, whatever a file says of its lengths, and ends in entries or in
JournalInvalid.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

import msgspec

import fastgshare.scheduler.core as core_package
import fastgshare.shared.messages as messages_package
from fastgshare.scheduler.adapters.checkpoint import decode_core, encode_core
from fastgshare.scheduler.core.replay import Entry
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import FastGShareError, PayloadInvalid
from fastgshare.shared.units import BYTES_PER_MIB

MAGIC = b"fastgshare-journal 1\n"
SUFFIX = ".journal"
LEVEL = 1
MAX_RECORD = 256 * BYTES_PER_MIB
STEP = BYTES_PER_MIB
"""So much is inflated at a time: a small chunk may stand for a large stream."""
_CHUNK = struct.Struct(">II")
_LENGTH = struct.Struct(">I")


class JournalInvalid(FastGShareError):
    """A file that is no journal, or of another format: fields `path` and `reason`."""

    @property
    def reason(self) -> str:
        """What is wrong with it, without its path."""
        return str(self.fields["reason"])

    def __str__(self) -> str:
        return f"{self.fields['path']}: {self.reason}"


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment starts from.

    `core` is the core as `checkpoint` encodes it, `settings` its settings for people to read, `code` the digest of the
    code that decided. At `clock_us` of the entries' clock it was `unix_us`. `gap` tells that entries before this
    segment were lost.
    """

    instance: str
    code: str
    unix_us: int
    clock_us: int
    settings: Settings
    core: bytes
    gap: bool = False
    version: int = 1


def beginning(core: Scheduler, instance: str, clocks: tuple[int, int], gap: bool) -> Beginning:
    """A segment that goes on from what `core` is now; `clocks`: Unix, the entries' own. Raises CheckpointInvalid."""
    unix_us, clock_us = clocks
    return Beginning(
        instance=instance,
        code=code_digest(),
        unix_us=unix_us,
        clock_us=clock_us,
        settings=core.settings,
        core=encode_core(core),
        gap=gap,
    )


@cache
def code_digest() -> str:
    """Tells one version of what decides from another: the scheduler's core and the messages it reads."""
    sources = hashlib.sha256()
    for package in (core_package, messages_package):
        (directory,) = package.__path__
        for path in sorted(Path(directory).rglob("*.py")):
            sources.update(path.read_bytes())
    return sources.hexdigest()[:16]


def record_of(message: Beginning | Entry) -> bytes:
    """A message as it goes into the stream."""
    payload = encode(message)
    return _LENGTH.pack(len(payload)) + payload


class SegmentWriter:
    """Appends to one new file. Every `write` leaves it whole. `start_size`: of it with its beginning alone."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = zlib.compressobj(LEVEL)
        self.size = file.write(MAGIC)
        self.start_size = self.size

    def begin(self, record: bytes) -> None:
        """Have the beginning stand in the file. Raises OSError."""
        self.write(record)
        self.start_size = self.size

    def write(self, records: bytes | bytearray) -> None:
        """Have these stand in the file. Raises OSError."""
        piece = self._stream.compress(records) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        self._file.write(_CHUNK.pack(len(piece), zlib.crc32(piece)) + piece)
        self._file.flush()
        self.size += _CHUNK.size + len(piece)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Segment:
    """A segment that is read: its beginning, then `entries`, once. `torn` says where and why reading ended early."""

    def __init__(self, path: Path) -> None:
        """Raises JournalInvalid."""
        self.path = path
        self.torn = ""
        self._records = self._read()
        try:
            first = next(self._records, None)
            if first is None:
                raise JournalInvalid(path=str(path), reason=self.torn or "it ends before its beginning")
            self.beginning = decode(Beginning, first)
        except PayloadInvalid as error:
            raise JournalInvalid(path=str(path), reason=f"its beginning cannot be read: {_why(error)}") from error

    def core(self) -> Scheduler:
        """A core that stands where the first entry found it. Raises CheckpointInvalid."""
        return decode_core(self.beginning.core)

    def entries(self) -> Iterator[Entry]:
        """What was stepped through, in order, up to the tear if there is one. Raises JournalInvalid."""
        for record in self._records:
            try:
                yield decode(Entry, record)
            except PayloadInvalid as error:
                raise JournalInvalid(path=str(self.path), reason=f"an entry cannot be read: {_why(error)}") from error

    def _read(self) -> Iterator[bytes]:
        waiting = bytearray()
        for piece in self._pieces():
            waiting += piece
            at = 0
            while at + _LENGTH.size <= len(waiting):
                (length,) = _LENGTH.unpack_from(waiting, at)
                if length > MAX_RECORD:
                    reason = f"a record of {length} bytes, expected at most {MAX_RECORD}"
                    raise JournalInvalid(path=str(self.path), reason=reason)
                if at + _LENGTH.size + length > len(waiting):
                    break
                yield bytes(memoryview(waiting)[at + _LENGTH.size : at + _LENGTH.size + length])
                at += _LENGTH.size + length
            del waiting[:at]

    def _pieces(self) -> Iterator[bytes]:
        """What the chunks hold, at most `STEP` at a time."""
        stream = zlib.decompressobj()
        try:
            for chunk in self._chunks():
                yield from _inflated(stream, chunk)
        except (OSError, zlib.error) as error:
            raise JournalInvalid(path=str(self.path), reason=f"it cannot be read: {error}") from error

    def _chunks(self) -> Iterator[bytes]:
        """The chunks up to the tear, if there is one. Raises OSError."""
        with self.path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - len(MAGIC)
            if file.read(len(MAGIC)) != MAGIC:
                raise JournalInvalid(path=str(self.path), reason="it does not start as a journal does")
            while head := file.read(_CHUNK.size):
                at = file.tell() - len(head)
                length, checksum = _CHUNK.unpack(head) if len(head) == _CHUNK.size else (left, 0)
                left -= _CHUNK.size + length
                piece = file.read(length) if left >= 0 else b""  # never room for what is not there
                if left < 0 or zlib.crc32(piece) != checksum:
                    self.torn = f"torn at byte {at}"
                    return
                yield piece


def _inflated(stream: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    """What a chunk adds to the stream. Raises zlib.error."""
    while True:
        piece = stream.decompress(chunk, STEP)
        if piece:
            yield piece
        chunk = stream.unconsumed_tail
        if len(piece) < STEP and (not chunk or stream.eof):
            return


def _why(error: PayloadInvalid) -> str:
    return str(error.fields["reason"])
