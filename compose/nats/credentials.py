"""A password for each user of the bus: the one that the environment gives, else the one that stands, else a new one.

`/credentials/<user>/password` is for whoever is that user, `/credentials/nats/passwords.json` for the server; each
folder is a volume of its own, so that nobody sees another's. `FASTGSHARE_ADMIN_PASSWORD` and so on give passwords.
"""

import json
import os
import secrets
from pathlib import Path

USERS = ("gateway", "scheduler", "profiler", "node", "client", "admin", "provision")
FOLDER = Path("/credentials")
SECRET_BYTES = 24


def main() -> None:
    """Leave every file complete, or as it was."""
    passwords = {user: password_of(user, FOLDER / user / "password") for user in USERS}
    known = FOLDER / "nats" / "passwords.json"
    before = json.loads(known.read_text()) if known.exists() else {}
    passwords["route"] = before.get("route") or secrets.token_urlsafe(SECRET_BYTES)
    write(known, json.dumps(passwords))


def password_of(user: str, file: Path) -> str:
    """The one given, else the one kept in `file`, else a new one; kept there in any case."""
    given = os.environ.get(f"FASTGSHARE_{user.upper()}_PASSWORD", "")
    kept = file.read_text() if file.exists() else ""
    password = given or kept or secrets.token_urlsafe(SECRET_BYTES)
    if password != kept:
        write(file, password)
    return password


def write(file: Path, text: str) -> None:
    """Replace `file` at one stroke, for its owner's eyes only."""
    partial = file.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as opened:
        opened.write(text)
    partial.replace(file)


if __name__ == "__main__":
    main()
