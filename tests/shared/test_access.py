"""Servers, user and password out of a URL and a file."""

from pathlib import Path

import pytest

from fastgshare.shared.access import Access, inbox_prefix, read_access
from fastgshare.shared.errors import InvalidConfig


def test_a_url_without_a_user_is_as_it_was() -> None:
    assert read_access("nats://127.0.0.1:4222") == Access(("nats://127.0.0.1:4222",))
    assert read_access("host:4222") == Access(("nats://host:4222",))
    assert inbox_prefix("") == "_INBOX"


def test_a_password_comes_from_the_url_or_from_a_file_which_wins(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3/c@ret\n")
    assert read_access("nats://node:p%40ss@one:4222") == Access(("nats://one:4222",), "node", "p@ss")
    assert read_access("nats://node@one:4222", str(file)) == Access(("nats://one:4222",), "node", "s3/c@ret")
    assert read_access("nats://node:old@one:4222", str(file)).password == "s3/c@ret"
    assert inbox_prefix("node") == "_INBOX.node"


def test_a_cluster_is_named_with_commas_and_its_user_once() -> None:
    access = read_access("nats://node@one:4222, two:4222,nats://three:4222")
    assert access == Access(("nats://one:4222", "nats://two:4222", "nats://three:4222"), "node")


def test_what_is_no_url_or_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_NATS_URL"):
        read_access("nats://one:4222,,")
    with pytest.raises(InvalidConfig, match="FASTGSHARE_NATS_PASSWORD_FILE"):
        read_access("nats://node@one:4222", str(tmp_path / "missing"))
