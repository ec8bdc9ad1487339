"""Management over HTTP: the `Functions` port on the one registry that every writer of the bucket uses."""

from pathlib import Path

from msgspec.structs import replace

from fastgshare.shared.bus import Bus
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.objects import Objects
from fastgshare.shared.registry import FunctionUnknown, MayReplace, Registry


class BucketFunctions:
    """Defines, scales and removes functions, and stores their content."""

    def __init__(self, bus: Bus) -> None:
        self._registry = Registry(bus)
        self._objects = Objects(bus)

    async def define(self, spec: FunctionSpec, may_replace: MayReplace = lambda _: True) -> FunctionSpec:
        """Create or update; what now stands. Raises InvalidSpec, RevisionConflict, StorageUnavailable."""
        return await self._registry.put(spec, may_replace)

    async def remove(self, name: FunctionName) -> bool:
        """Delete; False when there was none. Raises StorageUnavailable."""
        try:
            await self._registry.delete(name)
        except FunctionUnknown:
            return False
        return True

    async def scale(self, name: FunctionName, replicas: int) -> FunctionSpec | None:
        """Set the number of replicas; None when there is no such function. Raises as `define`."""
        try:
            return await self._registry.change(name, lambda old: replace(old, replicas=replicas, autoscale=None))
        except FunctionUnknown:
            return None

    async def store(self, path: Path) -> Digest:
        """Keep a file's content under its digest. Raises StorageUnavailable."""
        return await self._objects.put_file(path)
