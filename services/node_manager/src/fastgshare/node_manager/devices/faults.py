"""What goes wrong between a model and its device."""

from fastgshare.shared.errors import FastGShareError


class ModelFault(FastGShareError):
    """A model does not load, or a run of it failed: field `reason`, in the runtime's words."""

    @property
    def reason(self) -> str:
        """The runtime's words, in one line."""
        return " ".join(str(self.fields["reason"]).split())


class InputUnusable(ModelFault):
    """An input that fits the signature cannot be put to this model: its caller is to blame, not the model."""


class MemoryRefused(ModelFault):
    """A model does not fit the memory that is left for it: field `reason`, with the numbers.

    `passes` (absent: no): others hold what it needs, so it may fit later, or elsewhere.
    """

    @property
    def passes(self) -> bool:
        """Whether this says nothing about the model."""
        return bool(self.fields.get("passes"))


class DeviceLost(FastGShareError):
    """A device that cannot serve any more until its worker is started again: fields `device`, `reason`."""


class DeviceUnavailable(FastGShareError):
    """The device asked for is not on this host: fields `device`, `reason`."""
