"""The bus's users have what the table of subjects gives them, and nobody has what is another's alone."""

import inspect
import re
from collections.abc import Callable

import pytest

from fastgshare.shared import rights, subjects
from fastgshare.shared.rights import EVERYBODY, RIGHTS
from fastgshare.shared.storage import BUCKETS, STREAM_NAMES, STREAMS
from scripts.nats_users import USERS

WRITERS = {
    subjects.FUNCTIONS: {"gateway", "admin"},
    subjects.PROFILES: {"profiler", "admin"},
    subjects.PLACEMENTS: {"scheduler"},
    subjects.REPLICAS: {"node"},
    subjects.LEASES: {"scheduler", "profiler", "admin"},
    subjects.RESULTS: {"gateway", "admin"},
    subjects.KEYS: {"admin"},
    subjects.KEY_USE: {"gateway", "admin"},
}
NOT_SUBJECTS = {"token", "device_id", "function_events", "event", "ping"}
KEYS = re.compile(r"_keys?$|_digest$|^profile_lease$|^key_uses?$")


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` would hear `subject`, wildcards in both."""
    theirs, ours = pattern.split("."), subject.split(".")
    for index, token in enumerate(theirs):
        if token == ">":
            return len(ours) > index
        if index >= len(ours) or (token not in ("*", ours[index])):
            return False
    return len(theirs) == len(ours)


def users_who(right: str, subject: str) -> set[str]:
    """The users with a right (`publish` or `subscribe`) to it."""
    return {user for user, held in RIGHTS.items() if any(matches(mine, subject) for mine in getattr(held, right))}


def spelled_subjects() -> dict[str, str]:
    """Every subject that `subjects` spells, by the name of what spells it."""
    functions = [entry for entry in vars(subjects).items() if inspect.isfunction(entry[1])]
    return {
        name: _with_wildcards(function)
        for name, function in functions
        if function.__module__ == subjects.__name__ and name not in NOT_SUBJECTS and not KEYS.search(name)
    }


def _with_wildcards(function: Callable[..., str]) -> str:
    return function(*["*"] * len(inspect.signature(function).parameters))


def test_the_servers_file_is_what_the_table_says() -> None:
    assert USERS.read_text() == rights.users_conf(), "run `make nats-users`"


@pytest.mark.parametrize(("name", "subject"), [*spelled_subjects().items(), ("LOAN", subjects.LOAN)])
def test_every_subject_has_somebody_who_says_it_and_somebody_who_hears(name: str, subject: str) -> None:
    assert subject.startswith("fast.")
    assert users_who("publish", subject), name
    kept = name in {"trace", "usage", "job"}
    assert kept or users_who("subscribe", subject), name


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_has_the_writers_of_the_design(bucket: str) -> None:
    written = {
        user for user, held in RIGHTS.items() if any(right.startswith(f"$KV.{bucket}.") for right in held.publish)
    }
    assert written == WRITERS[bucket]


def test_nobody_may_do_everything() -> None:
    for user, held in RIGHTS.items():
        for right in (*held.publish, *held.subscribe, *EVERYBODY):
            assert right.split(".")[0] in ("fast", "$KV", "$O", "$JS", "_INBOX"), (user, right)
            assert right not in ("fast.>", "$KV.>", "$JS.>", "$JS.API.>", "$O.>"), (user, right)


def test_only_one_user_makes_streams_and_none_deletes_them() -> None:
    assert users_who("publish", "$JS.API.STREAM.CREATE.x") == {"provision"}
    assert users_who("publish", "$JS.API.STREAM.UPDATE.x") == {"provision"}
    assert users_who("publish", "$JS.API.STREAM.DELETE.x") == set()


def test_who_only_asks_answers_nobody() -> None:
    assert users_who("publish", "_INBOX.other.x") == {"gateway", "scheduler", "profiler", "node"}


def test_each_service_hears_its_own_ping_and_people_send_it() -> None:
    for user, service in {**dict.fromkeys(("gateway", "scheduler", "profiler")), "node": "node_manager"}.items():
        assert users_who("subscribe", subjects.ping(service or user)) == {user}
    assert users_who("publish", subjects.ping("gateway")) == {"gateway", "admin"}


def test_events_are_told_by_services_and_the_command() -> None:
    assert users_who("publish", subjects.event("any", "f")) == {"gateway", "scheduler", "profiler", "node", "admin"}


@pytest.mark.parametrize("stream", STREAM_NAMES)
def test_what_a_stream_says_of_itself_is_for_its_readers(stream: str) -> None:
    readers = users_who("publish", f"$JS.API.STREAM.MSG.GET.{stream}")
    assert users_who("publish", f"$JS.API.STREAM.INFO.{stream}") == readers | {"provision"}


@pytest.mark.parametrize("stream", STREAMS)
def test_who_reads_a_stream_may_pull(stream: str) -> None:
    readers = users_who("publish", f"$JS.API.CONSUMER.CREATE.{stream}")
    assert "admin" in readers
    assert users_who("publish", f"$JS.API.CONSUMER.MSG.NEXT.{stream}.c") == readers
