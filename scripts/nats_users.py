"""Writes the bus's users and their rights, as `fastgshare.shared.rights` has them, into compose/nats/users.conf."""

from pathlib import Path

from fastgshare.shared.rights import users_conf

USERS = Path(__file__).parents[1] / "compose" / "nats" / "users.conf"

if __name__ == "__main__":
    USERS.write_text(users_conf())
