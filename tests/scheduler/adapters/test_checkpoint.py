"""A core that was stored decides as the one that was not; what is no checkpoint is refused and runs nothing."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from fastgshare.scheduler.adapters.checkpoint import CheckpointInvalid, decode_core, encode_core
from fastgshare.scheduler.core.books import Standing
from fastgshare.scheduler.core.replay import replay
from fastgshare.scheduler.core.scheduler import Scheduler
from fastgshare.scheduler.core.settings import Settings
from fastgshare.shared.messages import ReplicaState
from tests.scheduler import stories
from tests.scheduler.core.test_properties import assert_books_hold


def test_a_core_stored_in_the_middle_of_its_life_decides_the_same_ever_after() -> None:
    world = stories.early()
    stored = encode_core(world.scheduler)
    lived = len(world.journal)
    stories.late(world)
    rest = stories.entries(world.journal[lived:])
    replayed = replay(decode_core(stored), rest)
    assert replayed.difference is None
    assert replayed.entries == len(rest)
    assert replayed.commands > 10


def test_a_core_can_be_stored_after_every_step() -> None:
    """Nothing that it believes at any time is anything but data."""
    world = stories.early()
    stories.late(world)
    core = decode_core(encode_core(stories.early().scheduler))
    for entry in stories.entries(world.journal)[len(stories.early().journal) :]:
        core = decode_core(encode_core(core))
        assert core.step(entry.now_us, entry.event) == entry.decision


def test_what_stands_in_two_places_is_one_thing_afterwards() -> None:
    state = decode_core(encode_core(stories.early().scheduler)).state
    assert state.placed
    for key, placed in state.placed.items():
        assert state.functions[placed.placement.function.name].placed[key] is placed


def test_the_books_are_made_again_as_they_were() -> None:
    world = stories.early()
    stories.late(world)
    kept = world.scheduler.state
    found = decode_core(encode_core(world.scheduler)).state
    assert_books_hold(found)
    assert found.books.version == kept.books.version
    assert list(found.books.changed.items()) == list(kept.books.changed.items())
    for device, room in kept.books.rooms.items():
        assert list(found.books.rooms[device].held.items()) == list(room.held.items())
        assert found.books.rooms[device].hopeless == room.hopeless


class Mischief:
    """Runs a command where it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 3",)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps(Mischief()),
        pickle.dumps(eval),
        b"\x80\x05\x8c\x1cfastgshare.scheduler.core.fold\x8c\x05state\x93.",
        encode_core(stories.early().scheduler)[:-100],
    ],
)
def test_what_is_no_checkpoint_is_refused(payload: bytes) -> None:
    with pytest.raises(CheckpointInvalid):
        decode_core(payload)


def called(module: str, name: str, *arguments: bytes) -> bytes:
    """A pickle that calls `module.name` with these arguments, each an opcode and its value."""
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, name))
    return b"\x80\x05" + words + b"\x93(" + b"".join(arguments) + b"tR."


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little")


@pytest.mark.parametrize(
    "payload",
    [
        called("fastgshare.shared.slots", "Slot", number(50_000_000)),
        called("fastgshare.shared.slots", "SlotPool"),
        called("fastgshare.shared.objects", "Objects", b"N"),
        called("fastgshare.shared.bus", "Bus", b"N"),
        called("fastgshare.shared.errors", "FastGShareError"),
        called("fastgshare.shared.clock", "unix_us"),
        called("fastgshare.shared.minting", "new_incarnation"),
        called("fastgshare.shared.ids", "is_name", b"\x8c\x01x"),
        called("fastgshare.scheduler.core.fold", "apply"),
        called("fastgshare.scheduler.core.plan", "Plan", b"NNNN"),
        called("fastgshare.scheduler.core.menu", "menu_of"),
        called("fastgshare.scheduler.core.state", "Scheduler.step"),
        called("fastgshare.scheduler.adapters.checkpoint", "decode_core", b"C\x00"),
        called("fastgshare.shared.tables", "Table", b"N", b"N"),
        called("builtins", "bytearray", number(1_000_000_000)),
        called("builtins", "range", number(3)),
        called("builtins", "getattr", b"N", b"\x8c\x01x"),
        called("pathlib", "Path", b"\x8c\x01x"),
    ],
)
def test_nothing_is_called_but_what_makes_data(payload: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointInvalid, match="has no place in a checkpoint"):
        decode_core(payload)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("fastgshare.shared.torch_bundle", "fastgshare.scheduler.core.liveness"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        with pytest.raises(CheckpointInvalid, match="has no place"):
            decode_core(called(module, "Health"))
        assert module not in sys.modules


def state_for(shared: object, state: object) -> bytes:
    """A pickle that finds `shared`, then has it take `state` on as if it had just been made."""
    return pickle.dumps(shared, 5)[:-1] + pickle.dumps(state, 5)[2:-1] + b"b."


@pytest.mark.parametrize(
    "shared", [Scheduler, Settings, ReplicaState.READY, Standing, pickle.loads(b"cmsgspec._utils\nrebuild\n.")]
)
@pytest.mark.parametrize("state", [(None, {"step": 3}), {"step": 3}])
def test_what_everybody_shares_is_not_changed(shared: object, state: object) -> None:
    with pytest.raises(CheckpointInvalid, match="it would change"):
        decode_core(state_for(shared, state))
    assert getattr(shared, "step", None) != 3


def test_a_table_inside_is_held_to_the_same() -> None:
    inside = called("fastgshare.shared.slots", "Slot", number(1))
    hidden = called("fastgshare.scheduler.adapters.checkpoint", "_table", b"C" + bytes([len(inside)]) + inside)
    with pytest.raises(CheckpointInvalid, match="Slot has no place"):
        decode_core(hidden)
