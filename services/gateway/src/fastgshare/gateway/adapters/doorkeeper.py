"""The doorkeeper on the bus: keys and others' use of them come in by mirrors, our own use goes out twice a second.

What was let through in the last half second of a gateway that is killed is not counted by anybody.
"""

import logging

import anyio
import anyio.abc

from fastgshare.gateway.core.keys import KeyBook, KeyLeft
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, Mirror, StorageUnavailable
from fastgshare.shared.bus import Bus
from fastgshare.shared.clock import unix_us
from fastgshare.shared.errors import ErrorBody
from fastgshare.shared.ids import FunctionName, GatewayId, KeyId
from fastgshare.shared.messages import ApiKey, KeyUse, Scope

TELL_S = 0.5

logger = logging.getLogger(__name__)


class KeyDoor:
    """`ports.MeteredDoorkeeper` over the buckets `keys` and `key_use`."""

    def __init__(self, bus: Bus, gateway: GatewayId, *, always_closed: bool = False) -> None:
        self._bus = bus
        self._gateway = gateway
        self._book = KeyBook(gateway, always_closed=always_closed)
        self._uses = Bucket(bus, subjects.KEY_USE, KeyUse)
        self._revoked: list[KeyId] = []

    async def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Return once every key and its use are known; then keep following in `tasks`."""
        await tasks.start(Mirror(self._bus, subjects.KEYS, ApiKey, self._on_key).run)
        await tasks.start(Mirror(self._bus, subjects.KEY_USE, KeyUse, self._on_use).run)
        tasks.start_soon(self._keep_telling)

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return self._book.is_open

    def hear(self, key: str | None, scope: Scope, now_us: int) -> ErrorBody | None:
        """As the port has it."""
        return self._book.hear(key, scope, now_us)

    def admit(self, key: str | None, scope: Scope, function: FunctionName | None, now_us: int) -> ErrorBody | None:
        """As the port has it."""
        return self._book.admit(key, scope, function, now_us)

    def left(self, key: str | None, now_us: int) -> KeyLeft | None:
        """As the port has it."""
        return self._book.left(key, now_us)

    def _on_key(self, key: str, value: ApiKey | None) -> None:
        if value is not None:
            self._book.key_known(value, unix_us())
        else:
            self._book.key_gone(KeyId(key))
            self._revoked.append(KeyId(key))

    def _on_use(self, _: str, use: KeyUse | None) -> None:
        if use is not None:
            self._book.use_told(use, unix_us())

    async def _keep_telling(self) -> None:
        while True:
            await anyio.sleep(TELL_S)
            try:
                await self.tell()
            except StorageUnavailable as error:
                logger.info("use of keys not told: %s", error)

    async def tell(self) -> None:
        """Write what was let through here since the last time. Raises StorageUnavailable."""
        while self._revoked:
            await self._uses.delete(subjects.key_use(self._revoked[-1], self._gateway))
            self._revoked.pop()
        for use in self._book.take_uses():  # one that cannot be written now goes with the key's next use
            await self._uses.put(subjects.key_use(use.key, self._gateway), use)
