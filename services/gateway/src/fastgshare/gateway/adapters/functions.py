"""Management: writes definitions into the `functions` bucket by the rules of `fastgshare.shared.functions`."""

from pathlib import Path

from msgspec.structs import replace

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import InvalidSpec
from fastgshare.shared.functions import next_spec, problems_with
from fastgshare.shared.ids import Digest, FunctionName
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.objects import Objects


class BucketFunctions:
    """The `Functions` port on JetStream."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)
        self._objects = Objects(bus)

    async def define(self, spec: FunctionSpec) -> FunctionSpec:
        """Create or update; what now stands. Raises InvalidSpec, RevisionConflict, StorageUnavailable."""
        problems = problems_with(spec)
        needed = [spec.model.digest, *([spec.handler.digest] if spec.handler is not None else [])]
        for digest in needed:
            if not problems and not await self._objects.holds(digest):
                problems.append(f"digest {digest} is not in the object store; store its content first")
        if problems:
            raise InvalidSpec(problems)
        found = await self._bucket.get(spec.name)
        old, revision = found if found is not None else (None, 0)
        wanted = next_spec(old, spec)
        await self._bucket.replace(spec.name, wanted, revision)
        await self._bus.tell("function_defined", spec.name, generation=wanted.generation)
        return wanted

    async def remove(self, name: FunctionName) -> bool:
        """Delete; False when there was none. Raises StorageUnavailable."""
        if await self._bucket.get(name) is None:
            return False
        await self._bucket.delete(name)
        await self._bus.tell("function_removed", name)
        return True

    async def scale(self, name: FunctionName, replicas: int) -> FunctionSpec | None:
        """Set the number of replicas; None when there is no such function. Raises as `define`."""
        found = await self._bucket.get(name)
        if found is None:
            return None
        return await self.define(replace(found[0], replicas=replicas, autoscale=None))

    async def store(self, path: Path) -> Digest:
        """Keep a file's content under its digest. Raises StorageUnavailable."""
        return await self._objects.put_file(path)
