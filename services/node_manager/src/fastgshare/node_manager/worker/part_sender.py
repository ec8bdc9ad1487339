"""One request's answer in parts, on its way out while its handler still makes the rest."""

from fastgshare.node_manager.worker.assemble import Request, part_of_answer, wanted_tensors
from fastgshare.node_manager.worker.parts import Parts
from fastgshare.shared.arrays import to_array
from fastgshare.shared.clock import monotonic_us, unix_us
from fastgshare.shared.errors import ErrorBody, RequestRefused
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import Tensor


class PartSender:
    """Numbers parts and sends them; `sent` is how many that were, `first_us` when the first was there.

    That is monotonic; `first_unix_us` is the same by the clock that objectives are told in, 0 before.
    """

    def __init__(self, request: Request, replica: ReplicaId, parts: Parts) -> None:
        self.sent = 0
        self.first_us: int | None = None
        self.first_unix_us = 0
        self._request = request
        self._replica = replica
        self._parts = parts

    async def send(self, tensors: tuple[Tensor, ...]) -> None:
        """Send one part. Raises RequestRefused: it cannot be, and the stream ends with that."""
        request = self._request
        if self.first_us is None:
            self.first_us, self.first_unix_us = monotonic_us(), unix_us()
        wanted: tuple[Tensor, ...] | ErrorBody = tensors
        if request.outputs:
            wanted = wanted_tensors({tensor.name: to_array(tensor) for tensor in tensors}, request.outputs)
        if isinstance(wanted, ErrorBody):
            raise RequestRefused(wanted)
        payload = part_of_answer(request, self._replica, wanted, self.sent, self._parts.bus.max_payload_bytes)
        if isinstance(payload, ErrorBody):
            raise RequestRefused(payload)
        self.sent += 1
        await self._parts.answers.put_part(request, payload)
