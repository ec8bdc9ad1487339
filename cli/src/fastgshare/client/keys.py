"""API keys: made, listed, limited and revoked in the `keys` bucket, which gateways follow.

The secret is told once, to whoever makes the key; only its digest is stored. Keys guard HTTP and gRPC. Who speaks to
the bus directly, as this client does, is let in by the bus itself.
"""

import secrets
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from fastgshare.shared import subjects
from fastgshare.shared.apikeys import ID_BYTES, SECRET_BYTES, key_digest, key_text
from fastgshare.shared.buckets import Bucket, RevisionConflict
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import FastGShareError, InvalidSpec
from fastgshare.shared.ids import FunctionName, KeyId, is_name
from fastgshare.shared.messages import ApiKey, KeyLimits, KeyUse, Scope
from fastgshare.shared.units import US_PER_S

NAME_LENGTH = 100
DAY_US = 24 * 3600 * US_PER_S
NO_LIMITS = KeyLimits()
_WRITE_ATTEMPTS = 8


class KeyUnknown(FastGShareError):
    """There is no key of this id: field `key`."""

    def __str__(self) -> str:
        return f"no API key has the id '{self.fields['key']}': see `fastgshare key list`"


class Keys:
    """The platform's API keys. Every call raises StorageUnavailable when JetStream does not answer."""

    def __init__(self, bus: Bus) -> None:
        self._keys = Bucket(bus, subjects.KEYS, ApiKey)
        self._uses = Bucket(bus, subjects.KEY_USE, KeyUse)

    async def create(
        self,
        name: str,
        *,
        scopes: Iterable[Scope] = (Scope.INVOKE,),
        functions: Iterable[str] = (),
        limits: KeyLimits = NO_LIMITS,
        lifetime_s: float = 0.0,
    ) -> tuple[ApiKey, str]:
        """Make a key; it, and its text, which cannot be had again. `lifetime_s` 0: it never expires.

        Raises InvalidSpec: it would allow nothing, or a value makes no sense.
        """
        key_id = KeyId(secrets.token_hex(ID_BYTES))
        text = key_text(key_id, secrets.token_bytes(SECRET_BYTES))
        now_us = unix_us()
        key = ApiKey(
            key=key_id,
            digest=key_digest(text),
            name=name,
            scopes=tuple(scope for scope in Scope if scope in set(scopes)),
            functions=tuple(sorted({FunctionName(function) for function in functions})),
            limits=limits,
            created_us=now_us,
            expires_us=now_us + round(lifetime_s * US_PER_S) if lifetime_s else 0,
        )
        if problems := problems_with_key(key):
            raise InvalidSpec(problems)
        await self._keys.replace(key_id, key, 0)
        return key, text

    async def list(self) -> list[ApiKey]:
        """Every key, oldest first."""
        found = await self._keys.list()
        return sorted(found.values(), key=lambda key: (key.created_us, key.key))

    async def used_today(self) -> dict[KeyId, int]:
        """How many invocations each key made in this UTC day; what gateways told, half a second late."""
        day = unix_us() // DAY_US
        used: dict[KeyId, int] = {}
        for use in (await self._uses.list()).values():
            if use.day == day:
                used[use.key] = used.get(use.key, 0) + use.today
        return used

    async def limit(self, key: str, change: Callable[[KeyLimits], KeyLimits]) -> ApiKey:
        """Change a key's limits; as it stands now. Raises KeyUnknown, InvalidSpec."""
        for _ in range(_WRITE_ATTEMPTS):
            standing, revision = await self._keys.standing(key) if _is_id(key) else (None, 0)
            if standing is None:
                raise KeyUnknown(key=key)
            changed = replace(standing, limits=change(standing.limits))
            if problems := problems_with_key(changed):
                raise InvalidSpec(problems)
            try:
                await self._keys.replace(key, changed, revision)
            except RevisionConflict:
                continue
            return changed
        raise RevisionConflict(bucket=subjects.KEYS, key=key)

    async def revoke(self, key: str) -> None:
        """Let nobody in with this key any more; gateways know within moments. Raises KeyUnknown."""
        standing, _ = await self._keys.standing(key) if _is_id(key) else (None, 0)
        if standing is None:
            raise KeyUnknown(key=key)
        await self._keys.delete(key)
        for use in await self._uses.list(subjects.key_uses(KeyId(key))):
            await self._uses.delete(use)


def problems_with_key(key: ApiKey) -> list[str]:
    """What is wrong with a key, in words; empty: nothing."""
    limits = key.limits
    found = [f"'{function}' is not the name of a function" for function in key.functions if not is_name(function)]
    if not key.name.isprintable() or not 0 < len(key.name) <= NAME_LENGTH:
        found.append(f"name is {key.name[:NAME_LENGTH]!r}, expected 1 to {NAME_LENGTH} printable characters")
    if not key.scopes:
        found.append("it has no scope, expected at least one of " + ", ".join(Scope))
    if not 0 <= limits.rate_rps < 1e9:
        found.append(f"rate is {limits.rate_rps:g}, expected 0 (no limit) or more")
    if limits.burst < 0 or limits.per_day < 0:
        found.append("burst and calls per day may not be below 0")
    if limits.burst and not limits.rate_rps:
        found.append("burst needs a rate")
    if key.expires_us and key.expires_us <= key.created_us:
        found.append("it would have expired before it was made")
    return found


def _is_id(key: str) -> bool:
    return is_name(key)
