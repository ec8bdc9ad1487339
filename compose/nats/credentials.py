"""A password for each user of the bus: the one that the environment gives, else the one that stands, else a new one.

`/credentials/<user>/password` is for whoever is that user, `/credentials/nats/passwords.json` for the server; each
folder is a volume of its own, so that nobody sees another's. `FASTGSHARE_ADMIN_PASSWORD` and so on give passwords; the
server reads them as it starts.
"""

import json
import os
import re
import secrets
import sys
from pathlib import Path

USERS = ("gateway", "scheduler", "profiler", "node", "client", "admin", "provision")
FOLDER = Path("/credentials")
SECRET_BYTES = 24
TAKEN = re.compile("[!-~]+")  # what the server reads as it is written, and a URL and a file bear


def main() -> None:
    """Leave every file complete, or as it was."""
    passwords = {user: password_of(user, FOLDER / user / "password") for user in USERS}
    known = FOLDER / "nats" / "passwords.json"
    before = json.loads(known.read_text()) if known.exists() else {}
    passwords["route"] = before.get("route") or secrets.token_urlsafe(SECRET_BYTES)
    write(known, json.dumps(passwords))


def password_of(user: str, file: Path) -> str:
    """The one given, else the one kept in `file`, else a new one; kept there in any case."""
    variable = f"FASTGSHARE_{user.upper()}_PASSWORD"
    given = os.environ.get(variable, "").strip()
    if given and not TAKEN.fullmatch(given):
        sys.exit(f"{variable}: only letters, digits and signs of ASCII are taken, no spaces")
    kept = file.read_text().strip() if file.exists() else ""
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
