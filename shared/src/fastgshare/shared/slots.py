"""Large tensors between processes of one host: files in shared memory, passed by name.

The caller owns a slot: it makes it, writes inputs, offers room for outputs, and reads the answer. A worker
only opens the named file, reads and writes ranges of it, and closes it; nobody maps another's file, so a
caller that truncates one costs itself an error and not the worker a SIGBUS.

Of a request's attempts any number may be on their way, and some come late. So a slot carries each request under a name
of its own: a writer holds a shared lock and looks whether the name still stands, an owner that uses a slot again
renames it first and then needs the lock alone. A slot whose request was given up is unlinked.
"""

import fcntl
import os
import re
import secrets
from pathlib import Path

from fastgshare.shared.errors import SlotInvalid
from fastgshare.shared.ids import HostId
from fastgshare.shared.messages import SlotRef
from fastgshare.shared.units import BYTES_PER_KIB

SHARED_MEMORY = Path("/dev/shm")
INLINE_LIMIT_BYTES = 64 * BYTES_PER_KIB
POOL_LIMIT_BYTES = 512 << 20
ORPHAN_AGE_S = 60.0
_NAME = re.compile(r"fastgshare-[0-9]+-[0-9a-f]{12}")

Bytes = bytes | bytearray | memoryview


def host_id() -> HostId:
    """Equal exactly where shared memory is shared: same boot, same mount of it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text().strip() if boot.exists() else "unknown"
    mount = os.stat(SHARED_MEMORY).st_dev if SHARED_MEMORY.exists() else f"none{os.getpid()}"
    return HostId(f"{boot_id[:8]}-{mount}")


class Slot:
    """One shared-memory file of this process, open for reading and writing."""

    def __init__(self, size_bytes: int) -> None:
        self.name = _new_name()
        self.size_bytes = size_bytes
        self._path = SHARED_MEMORY / self.name
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH)  # held while the owner lives: how `sweep_orphans` tells
            os.ftruncate(self._fd, size_bytes)
        except BaseException:
            self.unlink()
            raise

    def renew(self) -> bool:
        """Make the slot fit for another request; False while somebody still writes for the last one."""
        name = _new_name()
        try:
            os.rename(self._path, SHARED_MEMORY / name)
            self.name, self._path = name, SHARED_MEMORY / name
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(self._fd, fcntl.LOCK_SH)
        except OSError:
            return False
        return True

    def write(self, offset_bytes: int, data: Bytes) -> None:
        """Put `data` at `offset_bytes`. Raises OSError when shared memory is full."""
        _write_all(self._fd, data, offset_bytes)

    def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """A copy of the range. Raises SlotInvalid: it does not lie in this slot."""
        if offset_bytes < 0 or size_bytes < 0 or offset_bytes + size_bytes > self.size_bytes:
            raise SlotInvalid(name=self.name, reason=f"has no {size_bytes} bytes at {offset_bytes}")
        data = os.pread(self._fd, size_bytes, offset_bytes)
        if len(data) < size_bytes:
            raise SlotInvalid(name=self.name, reason="was cut off")
        return data

    def unlink(self) -> None:
        """Give the memory back as soon as nobody has the file open."""
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


class SlotPool:
    """A caller's slots, reused by size class; at most `limit_bytes` in all."""

    def __init__(self, host: HostId, limit_bytes: int = POOL_LIMIT_BYTES) -> None:
        self.host = host
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._free: dict[int, list[Slot]] = {}

    def take(self, size_bytes: int) -> Slot | None:
        """A slot of at least `size_bytes`, or None when the pool is full: then send inline."""
        size_class = max(INLINE_LIMIT_BYTES, 1 << (size_bytes - 1).bit_length())
        free = self._free.get(size_class)
        while free:
            slot = free.pop()
            if slot.renew():
                return slot
            self.abandon(slot)
        if self._held_bytes + size_class > self._limit_bytes:
            self._drop_free()
        if self._held_bytes + size_class > self._limit_bytes:
            return None
        try:
            slot = Slot(size_class)
        except OSError:
            return None
        self._held_bytes += size_class
        return slot

    def give_back(self, slot: Slot) -> None:
        """The answer was read: the slot may carry another request."""
        self._free.setdefault(slot.size_bytes, []).append(slot)

    def abandon(self, slot: Slot) -> None:
        """No answer, or not to be trusted: never reuse."""
        self._held_bytes -= slot.size_bytes
        slot.unlink()

    def close(self) -> None:
        """Unlink the free slots; those in use are their requests' to abandon."""
        self._drop_free()

    def _drop_free(self) -> None:
        for slots in self._free.values():
            for slot in slots:
                self.abandon(slot)
        self._free.clear()


def read_slot(ref: SlotRef) -> memoryview:
    """A copy of a range of another process's slot. Raises SlotInvalid: there is no such slot or range."""
    fd = _open(ref, os.O_RDONLY)
    try:
        data = memoryview(bytearray(ref.size_bytes))
        done = 0
        while done < ref.size_bytes:
            count = os.preadv(fd, [data[done:]], ref.offset_bytes + done)
            if count == 0:
                raise SlotInvalid(name=ref.name, reason="was cut off while it was read")
            done += count
    finally:
        os.close(fd)
    return data


def write_slot(ref: SlotRef, chunks: list[Bytes]) -> None:
    """Write `chunks` one after the other from `ref.offset_bytes` on; the caller checked that they fit.

    Raises:
        SlotInvalid: no such slot, or not any more, it is shorter than `ref` says, or shared memory is full.
    """
    fd = _open(ref, os.O_WRONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.stat(SHARED_MEMORY / ref.name).st_ino != os.fstat(fd).st_ino:
            raise SlotInvalid(name=ref.name, reason="carries another request by now")
        offset = ref.offset_bytes
        for chunk in chunks:
            offset += _write_all(fd, chunk, offset)
    except OSError as error:
        raise SlotInvalid(name=ref.name, reason=error.strerror or "cannot be written") from error
    finally:
        os.close(fd)


def sweep_orphans(now_unix_s: float) -> int:
    """Unlink slots whose owner died without cleaning up; how many there were.

    An owner holds a lock on its files, which works across PID namespaces; young files are left alone because
    theirs may not be locked yet.
    """
    return sum(_unlink_if_orphan(path, now_unix_s) for path in SHARED_MEMORY.glob("fastgshare-*"))


def _unlink_if_orphan(path: Path, now_unix_s: float) -> bool:
    if _NAME.fullmatch(path.name) is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(fd).st_mtime > now_unix_s - ORPHAN_AGE_S:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _open(ref: SlotRef, flags: int) -> int:
    """The slot, once it is sure that it holds what `ref` says: nothing is allocated on a caller's word."""
    if _NAME.fullmatch(ref.name) is None or ref.offset_bytes < 0 or ref.size_bytes < 0:
        raise SlotInvalid(name=ref.name, reason="not a slot's name or range")
    if ref.size_bytes > POOL_LIMIT_BYTES:
        raise SlotInvalid(name=ref.name, reason=f"{ref.size_bytes} bytes, at most {POOL_LIMIT_BYTES} are taken")
    try:
        fd = os.open(SHARED_MEMORY / ref.name, flags | os.O_NOFOLLOW)
    except OSError as error:
        raise SlotInvalid(name=ref.name, reason=error.strerror or "cannot be opened") from error
    if os.fstat(fd).st_size < ref.offset_bytes + ref.size_bytes:
        os.close(fd)
        raise SlotInvalid(name=ref.name, reason=f"ends before {ref.offset_bytes + ref.size_bytes} bytes")
    return fd


def _write_all(fd: int, data: Bytes, offset_bytes: int) -> int:
    """Write all of `data`; how much that was. A write ends early where memory runs out, and beyond 2 GiB."""
    view = memoryview(data)
    view = view.cast("B") if view.nbytes else view
    done = 0
    while done < view.nbytes:
        done += os.pwrite(fd, view[done:], offset_bytes + done)
    return done


def _new_name() -> str:
    return f"fastgshare-{os.getpid()}-{secrets.token_hex(6)}"
