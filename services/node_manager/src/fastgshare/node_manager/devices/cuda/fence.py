"""A device that met a sticky error is fenced: nothing runs on it again until its worker process is another one.

Every way into the device goes through `guard`, which turns what the driver and the runtimes raise into the faults of
the device's port. A runtime's own exception does not say whether the device survived, so the driver is asked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fastgshare.node_manager.devices.cuda.errors import CudaFault, CudaOutOfMemory, CudaSticky
from fastgshare.node_manager.devices.faults import DeviceLost, MemoryRefused, ModelFault


class Fence:
    """Whether a device can still serve. `reason` is empty while it can."""

    def __init__(self, device: str) -> None:
        self._device = device
        self.reason = ""

    def check(self) -> None:
        """Raises DeviceLost behind a fence."""
        if self.reason:
            raise DeviceLost(device=self._device, reason=self.reason)

    def close(self, reason: str) -> DeviceLost:
        """Fence the device; the first reason stays."""
        self.reason = self.reason or reason
        return DeviceLost(device=self._device, reason=self.reason)

    @contextmanager
    def guard(self, probe: Callable[[], object]) -> Iterator[None]:
        """Work on the device; `probe` is a driver call that fails on a lost one. Raises ModelFault, DeviceLost."""
        self.check()
        try:
            yield
        except DeviceLost:
            raise
        except CudaOutOfMemory as fault:
            raise MemoryRefused(reason=f"the device has no memory left: {fault}") from fault
        except CudaSticky as fault:
            raise self.close(str(fault)) from fault
        except CudaFault as fault:
            raise ModelFault(reason=str(fault)) from fault
        except Exception as error:
            self._ask(probe, error)
            if isinstance(error, ModelFault):
                raise
            raise ModelFault(reason=str(error) or type(error).__name__) from error

    @contextmanager
    def letting_go(self, probe: Callable[[], object]) -> Iterator[None]:
        """Free what was held. Of a lost device nothing can be freed, so that it ends fenced and raises nothing."""
        try:
            yield
        except CudaSticky as fault:
            self.close(str(fault))
        except Exception as error:
            with suppress(DeviceLost):
                self._ask(probe, error)
            if not self.reason:
                raise

    def _ask(self, probe: Callable[[], object], error: Exception) -> None:
        try:
            probe()
        except CudaSticky as fault:
            raise self.close(f"{fault}, after: {' '.join(str(error).split())}") from error
        except CudaFault:
            pass  # the error that came first says more
