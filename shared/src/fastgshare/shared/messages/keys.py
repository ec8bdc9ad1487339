"""API keys as they stand in the `keys` bucket, and what gateways tell each other of their use.

A key is `fgs_<id>_<secret>`. Stored is a digest of the whole, never the secret itself; the id says which entry to
compare with. The secret has 192 random bits, so a plain digest cannot be turned back by trying.
"""

from enum import StrEnum

import msgspec

from fastgshare.shared.ids import FunctionName, GatewayId, KeyId


class Scope(StrEnum):
    """What a caller wants to do: call functions, look at the platform, or change what is deployed."""

    INVOKE = "invoke"
    READ = "read"
    MANAGE = "manage"


class KeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a key may call: `rate_rps` sustained with `burst` at once, `per_day` in a UTC day; 0: no limit."""

    rate_rps: float = 0.0
    burst: int = 0
    per_day: int = 0


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key: `digest` is SHA-256 of its text in hex, `name` tells people whose it is.

    `functions` are those it is about (empty: all). `expires_us` is in Unix microseconds, 0: never.
    """

    key: KeyId
    digest: str
    name: str = ""
    scopes: tuple[Scope, ...] = (Scope.INVOKE,)
    functions: tuple[FunctionName, ...] = ()
    limits: KeyLimits = KeyLimits()
    created_us: int = 0
    expires_us: int = 0


class KeyUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a key's limits one gateway has let through; written by that gateway alone.

    `taken` counts since the key's first use there, `today` those of the UTC day number `day` since 1970.
    """

    key: KeyId
    gateway: GatewayId
    taken: int = 0
    day: int = 0
    today: int = 0
