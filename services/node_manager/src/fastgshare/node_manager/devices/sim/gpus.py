"""GPUs that can be emulated: their SMs, chunks and memory. How fast they are is a matter of the model's curve."""

from dataclasses import dataclass

from fastgshare.node_manager.devices.faults import DeviceUnavailable


@dataclass(frozen=True, slots=True)
class SimGpu:
    """A GPU as replicas see it; `kind` is the key of profiles measured on it, kept apart from the real GPU's."""

    kind: str
    sms: int
    sms_per_chunk: int
    memory_mib: int

    @property
    def chunks(self) -> int:
        """SMs that do not fill a chunk are left out."""
        return self.sms // self.sms_per_chunk


GPUS = {
    # the published test bed's: 12 % and 24 % of its SMs are 2 and 4 chunks of 5
    "v100": SimGpu("sim-v100-16g", sms=80, sms_per_chunk=5, memory_mib=16_384),
    # green contexts on sm_90 come in eights: 16 chunks, 4 SMs over
    "h200": SimGpu("sim-h200-141g", sms=132, sms_per_chunk=8, memory_mib=141_000),
}


def gpu_named(name: str) -> SimGpu:
    """Raises DeviceUnavailable, naming those there are."""
    gpu = GPUS.get(name)
    if gpu is None:
        raise DeviceUnavailable(device="sim", reason=f"sim_gpu is {name!r}, expected one of {', '.join(GPUS)}")
    return gpu
