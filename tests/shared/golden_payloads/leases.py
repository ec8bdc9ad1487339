"""Examples of the messages in `messages/leases.py`."""

import msgspec

from fastgshare.shared.messages import LeaseHolder

EXAMPLES: dict[str, msgspec.Struct] = {
    "LeaseHolder.1": LeaseHolder(holder="profiler-0a1b2c3d", version=2),
}
