"""The one way to change the `functions` bucket: checked, numbered, and safe against a second writer.

A value that does not decode counts as no function, and is replaced or removed like one.
"""

from collections.abc import Callable

from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict
from fastgshare.shared.bus import Bus
from fastgshare.shared.errors import FastGShareError, InvalidSpec
from fastgshare.shared.functions import next_spec, problems_with
from fastgshare.shared.ids import FunctionName
from fastgshare.shared.messages import FunctionSpec
from fastgshare.shared.objects import Objects

WRITE_ATTEMPTS = 8

MayReplace = Callable[[FunctionSpec | None], bool]
"""Whether what stands (None: nothing) is what its caller thinks."""


class FunctionUnknown(FastGShareError):
    """No function of this name is deployed: field `function`."""


class Registry:
    """The deployed functions. Every call raises StorageUnavailable when JetStream does not answer."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._objects = Objects(bus)
        self._bucket = Bucket(bus, subjects.FUNCTIONS, FunctionSpec)

    async def list(self) -> dict[FunctionName, FunctionSpec]:
        """Every function by name."""
        return {spec.name: spec for spec in (await self._bucket.list()).values()}

    async def get(self, name: FunctionName) -> FunctionSpec | None:
        """The function as it stands."""
        spec, _ = await self._bucket.standing(name)
        return spec

    async def put(self, wanted: FunctionSpec, may_replace: MayReplace = lambda _: True) -> FunctionSpec:
        """Deploy or replace what `may_replace` says yes to; what now stands, with its generation.

        Raises:
            InvalidSpec: `wanted` may not stand, or the object store does not hold what it names.
            RevisionConflict: something else stands than the caller thinks.
        """

        def replaced(old: FunctionSpec | None) -> FunctionSpec:
            if not may_replace(old):
                raise RevisionConflict(bucket=subjects.FUNCTIONS, key=wanted.name)
            return wanted

        if problems := problems_with(wanted) or await _missing(self._objects, wanted):
            raise InvalidSpec(problems)
        return await self._write(wanted.name, replaced)

    async def change(self, name: FunctionName, change: Callable[[FunctionSpec], FunctionSpec]) -> FunctionSpec:
        """Replace what stands by `change` of it; what now stands. `change` may run more than once.

        Raises:
            FunctionUnknown: nothing stands under `name`.
            InvalidSpec: the changed spec may not stand.
        """

        def changed(old: FunctionSpec | None) -> FunctionSpec:
            if old is None:
                raise FunctionUnknown(function=name)
            return change(old)

        return await self._write(name, changed)

    async def delete(self, name: FunctionName) -> None:
        """Remove. Raises FunctionUnknown if it is not there."""
        _, revision = await self._bucket.standing(name)
        if not revision:
            raise FunctionUnknown(function=name)
        await self._bucket.delete(name)
        await self._bus.tell("function_removed", name)

    async def _write(
        self, name: FunctionName, wanted_after: Callable[[FunctionSpec | None], FunctionSpec]
    ) -> FunctionSpec:
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            old, revision = await self._bucket.standing(name)
            wanted = wanted_after(old)
            if problems := problems_with(wanted):
                raise InvalidSpec(problems)
            lost_at = 0 if old else revision or await self._bucket.deletion(name)  # what no longer reads had one too
            spec = next_spec(old, wanted, first_generation=max(1, lost_at))
            if spec == old:
                return spec
            try:
                await self._bucket.replace(name, spec, revision)
            except RevisionConflict:
                if attempt == WRITE_ATTEMPTS:
                    raise
            else:
                await self._bus.tell("function_defined", name, generation=spec.generation)
                return spec
        raise AssertionError("unreachable: the last attempt returns or raises")


async def _missing(objects: Objects, wanted: FunctionSpec) -> list[str]:
    named = [wanted.model.digest, wanted.handler.digest if wanted.handler else None, wanted.sample]
    return [
        f"digest {digest} is not in the object store: store its content first"
        for digest in named
        if digest is not None and not await objects.holds(digest)
    ]
