"""Who may come in, and how often: API keys, their scopes, and limits that hold over all gateways together.

Each gateway has a whole token bucket for every key and takes out of it both what it lets through itself and, as it
hears of it, what others let through. A bucket may go into debt that way: over time no more than `rate_rps` passes
anywhere, and what several gateways let through at one moment is paid back. Quotas of a day are sums over gateways.
Time is an argument in Unix microseconds.

Who revokes the last key opens the doors again, to calls and to looking alone: an emptied bucket looks the same, and
must not give the platform away. Changes need a key from then on, or a gateway that starts without any.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from fastgshare.shared.apikeys import is_key, key_id_in
from fastgshare.shared.errors import ErrorBody, ErrorCode
from fastgshare.shared.ids import FunctionName, GatewayId, KeyId
from fastgshare.shared.messages import ApiKey, KeyUse, Scope
from fastgshare.shared.units import US_PER_MS, US_PER_S

DAY_US = 24 * 3600 * US_PER_S
_BEARER = "bearer "
_NEEDED = ErrorBody(
    ErrorCode.UNAUTHORIZED, "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-Api-Key: KEY'"
)
_UNKNOWN = ErrorBody(ErrorCode.UNAUTHORIZED, "this API key is not known: it may have been revoked")
_EMPTIED = ErrorBody(
    ErrorCode.UNAUTHORIZED,
    "there were API keys and there is none now: changes need one again (`fastgshare key create`), "
    "or that the gateway is started anew",
)
_EXPIRED = ErrorBody(ErrorCode.UNAUTHORIZED, "this API key has expired")


def shown_key(headers: Iterable[tuple[str, str]]) -> str | None:
    """The API key among a request's headers, their names in lower case, whatever it is worth; for every door."""
    for name, value in headers:
        if name == "authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip()
        if name == "x-api-key":
            return value.strip()
    return None


class KeyLeft(msgspec.Struct, frozen=True):
    """What a key may still call: `remaining` of `limit`; it is all there again after `reset_s` seconds."""

    limit: int
    remaining: int
    reset_s: int


@dataclass(slots=True)
class _Entry:
    """One key, and what is left of it here."""

    key: ApiKey
    level: float
    filled_us: int
    mine: KeyUse
    others: dict[GatewayId, KeyUse] = field(default_factory=dict)
    is_dirty: bool = False

    @property
    def burst(self) -> int:
        """The most that may pass at once."""
        limits = self.key.limits
        return limits.burst or max(1, math.ceil(limits.rate_rps))

    def fill(self, now_us: int) -> None:
        """Add what the rate brought since the last time."""
        if now_us > self.filled_us:
            added = (now_us - self.filled_us) * self.key.limits.rate_rps / US_PER_S
            self.level = min(float(self.burst), self.level + added)
        self.filled_us = now_us

    def forget_before(self, day: int) -> None:
        """Drop the use of gateways that let nothing through since then."""
        self.others = {gateway: use for gateway, use in self.others.items() if use.day >= day}

    def today(self, day: int) -> int:
        """How many passed today, anywhere."""
        own = self.mine.today if self.mine.day == day else 0
        return own + sum(use.today for use in self.others.values() if use.day == day)


class KeyBook:
    """Every key, as one gateway knows it. `always_closed`: without any key nobody comes in either."""

    def __init__(self, gateway: GatewayId, *, always_closed: bool = False) -> None:
        self._gateway = gateway
        self._always_closed = always_closed
        self._entries: dict[KeyId, _Entry] = {}
        self._had_keys = False
        self._latest: tuple[str, _Entry | None] = ("", None)

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in, whatever they want."""
        return not self._had_keys and not self._always_closed

    def key_known(self, key: ApiKey, now_us: int) -> None:
        """A key was made, or its limits changed; what was used of it stays used."""
        self._had_keys = True
        self._latest = ("", None)
        entry = self._entries.get(key.key)
        if entry is None:
            entry = _Entry(key, 0.0, now_us, KeyUse(key=key.key, gateway=self._gateway))
            entry.level = float(entry.burst)
            self._entries[key.key] = entry
            return
        entry.fill(now_us)
        had_rate = bool(entry.key.limits.rate_rps)
        entry.key = key
        entry.level = min(entry.level, float(entry.burst)) if had_rate else float(entry.burst)

    def key_gone(self, key: KeyId) -> None:
        """A key was revoked."""
        self._latest = ("", None)
        self._entries.pop(key, None)

    def use_told(self, use: KeyUse, now_us: int) -> None:
        """What a gateway let through; of itself it hears after a restart, and goes on counting from there."""
        entry = self._entries.get(use.key)
        if entry is None:
            return
        if use.gateway == self._gateway:
            if use.taken > entry.mine.taken:
                entry.mine = use
            return
        known = entry.others.get(use.gateway)
        if known is None:  # gateways come and go under ever new names
            entry.forget_before(now_us // DAY_US - 1)
        entry.others[use.gateway] = use
        if known is not None and entry.key.limits.rate_rps:
            entry.fill(now_us)
            entry.level -= max(use.taken - known.taken, 0)

    def take_uses(self) -> list[KeyUse]:
        """What was let through here of each key that was used since the last call."""
        used = [entry for entry in self._entries.values() if entry.is_dirty]
        for entry in used:
            entry.is_dirty = False
        return [entry.mine for entry in used]

    def hear(self, shown: str | None, scope: Scope, now_us: int) -> ErrorBody | None:
        """Why a caller is refused whatever its request is about. As `ports.Doorkeeper`."""
        if not self._entries and not self._always_closed:
            return self._while_open(scope)
        key = self._valid(shown, now_us)
        if isinstance(key, ErrorBody):
            return key
        if scope is Scope.READ or scope in key.key.scopes:
            return None
        return ErrorBody(ErrorCode.FORBIDDEN, _lacks(key.key, scope))

    def admit(self, shown: str | None, scope: Scope, function: FunctionName | None, now_us: int) -> ErrorBody | None:
        """Let a caller in and count an invocation; else why not. As `ports.Doorkeeper`."""
        if not self._entries and not self._always_closed:
            return self._while_open(scope)
        entry = self._valid(shown, now_us)
        if isinstance(entry, ErrorBody):
            return entry
        key = entry.key
        if not _allows(key, scope, function):
            return ErrorBody(ErrorCode.FORBIDDEN, _why_not(key, scope, function))
        if scope is not Scope.INVOKE:
            return None
        return self._take(entry, now_us)

    def left(self, shown: str | None, now_us: int) -> KeyLeft | None:
        """What may still be called with this key, by the limit that is nearer; None where there is none."""
        entry = self._entry(shown) if shown is not None else None
        if entry is None:
            return None
        limits = entry.key.limits
        by_rate = by_day = None
        if limits.rate_rps:
            entry.fill(now_us)
            full_us = (entry.burst - entry.level) / limits.rate_rps * US_PER_S
            by_rate = KeyLeft(entry.burst, max(math.floor(entry.level), 0), math.ceil(full_us / US_PER_S))
        if limits.per_day:
            left = max(limits.per_day - entry.today(now_us // DAY_US), 0)
            by_day = KeyLeft(limits.per_day, left, math.ceil((DAY_US - now_us % DAY_US) / US_PER_S))
        if by_rate is None or by_day is None:
            return by_rate or by_day
        return min(by_rate, by_day, key=lambda left: left.remaining)

    def _while_open(self, scope: Scope) -> ErrorBody | None:
        """Of a platform without keys; one that lost its last lets nobody change anything."""
        return _EMPTIED if self._had_keys and scope is Scope.MANAGE else None

    def _valid(self, shown: str | None, now_us: int) -> _Entry | ErrorBody:
        if shown is None:
            return _NEEDED
        entry = self._entry(shown)
        if entry is None:
            return _UNKNOWN
        expires_us = entry.key.expires_us
        return _EXPIRED if expires_us and now_us >= expires_us else entry

    def _entry(self, shown: str) -> _Entry | None:
        if shown is self._latest[0]:  # asked about once more for the same request: it was hashed already
            return self._latest[1]
        key = key_id_in(shown)
        entry = self._entries.get(key) if key is not None else None
        if entry is not None and not is_key(shown, entry.key.digest):
            entry = None
        self._latest = (shown, entry)
        return entry

    def _take(self, entry: _Entry, now_us: int) -> ErrorBody | None:
        limits = entry.key.limits
        day = now_us // DAY_US
        if limits.rate_rps:
            entry.fill(now_us)
            if entry.level < 1:
                wait_ms = math.ceil((1 - entry.level) / limits.rate_rps * US_PER_S / US_PER_MS)
                message = f"this key may call {limits.rate_rps:g} times a second, {entry.burst} at once"
                return ErrorBody(ErrorCode.OVERLOADED, message, wait_ms)
        if limits.per_day and entry.today(day) >= limits.per_day:
            wait_ms = math.ceil((DAY_US - now_us % DAY_US) / US_PER_MS)
            return ErrorBody(ErrorCode.OVERLOADED, f"this key's {limits.per_day} calls of today are used up", wait_ms)
        mine = entry.mine
        today = mine.today + 1 if mine.day == day else 1
        entry.mine = replace(mine, taken=mine.taken + 1, day=day, today=today)
        if limits.rate_rps:
            entry.level -= 1
        entry.is_dirty = True
        return None


def _allows(key: ApiKey, scope: Scope, function: FunctionName | None) -> bool:
    if key.functions and function not in key.functions:
        return False
    if scope in key.scopes:
        return True
    if scope is not Scope.READ:
        return False
    # who may call a function may see what it takes; who may change things may look at them
    return Scope.MANAGE in key.scopes or (Scope.INVOKE in key.scopes and function is not None)


def _why_not(key: ApiKey, scope: Scope, function: FunctionName | None) -> str:
    if key.functions and function not in key.functions:
        about = f"not about {function[:100]!r}" if function is not None else "while this is about all functions"
        return f"this API key is for {', '.join(key.functions)}, {about}"
    return _lacks(key, scope)


def _lacks(key: ApiKey, scope: Scope) -> str:
    return f"this API key may {', '.join(key.scopes)}, not {scope}"
