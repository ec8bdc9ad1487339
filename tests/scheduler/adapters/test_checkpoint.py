"""A core that was stored decides as the one that was not; what is no checkpoint is refused and runs nothing."""

import os
import pickle

import pytest

from fastgshare.scheduler.adapters.checkpoint import CheckpointInvalid, decode_core, encode_core
from fastgshare.scheduler.core.replay import replay
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
