"""Who holds a key of the `leases` bucket."""

import msgspec


class LeaseHolder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds a lease, by a name that no other life of any process has."""

    holder: str
    version: int = 1
