"""Who this process is on the bus: the servers, the user and the password that a URL and a file give.

A URL names one server or several with commas between, and in any of them the user: `nats://node@one:4222,two:4222`.
The password stands in the URL, or in a file for itself, which the environment of a process does not give away.
"""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from fastgshare.shared.config import variable_for
from fastgshare.shared.errors import InvalidConfig

INBOX = "_INBOX"
SCHEME = "nats"


class Access(msgspec.Struct, frozen=True):
    """Servers without user information, and who connects to them: nobody in particular where `user` is empty."""

    servers: tuple[str, ...]
    user: str = ""
    password: str = ""


def inbox_prefix(user: str) -> str:
    """What the inboxes of a user begin with; of nobody in particular, what they always begin with."""
    return f"{INBOX}.{user}" if user else INBOX


def read_access(url: str, password_file: str = "") -> Access:
    """Take a URL apart and read the password's file. Raises InvalidConfig."""
    servers, user, password = [], "", ""
    for part in url.split(","):
        parts = urlsplit(part.strip() if "://" in part else f"{SCHEME}://{part.strip()}")
        if not parts.hostname:
            raise InvalidConfig(setting=variable_for("nats_url"), value=part, expected="nats://[user@]host:port,...")
        servers.append(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
        user, password = user or unquote(parts.username or ""), password or unquote(parts.password or "")
    if password_file:
        password = _read(password_file)
    return Access(tuple(servers), user, password)


def _read(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        expected = f"to be a file that can be read: {error.strerror}"
        raise InvalidConfig(setting=variable_for("nats_password_file"), value=file, expected=expected) from error
