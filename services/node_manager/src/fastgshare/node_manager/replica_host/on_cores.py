"""A model that computes on this process's cores, through any `Runtime`."""

from time import monotonic_ns

from fastgshare.node_manager.devices.mps.messages import Load
from fastgshare.node_manager.devices.ports import Ran, Runtime
from fastgshare.node_manager.replica_host.opening import stored_model
from fastgshare.shared.arrays import Array
from fastgshare.shared.units import NS_PER_US


class ModelOnCores:
    """Its device time is the time of the run: its cores do nothing else meanwhile."""

    def __init__(self, runtime: Runtime, load: Load) -> None:
        self._model = runtime.load(stored_model(load))
        self._session = self._model.session(max(len(load.cores), 1))
        self.info = self._model.info
        self.weights_mib = self._model.weights_mib

    def allocated_mib(self) -> float:
        """None of a GPU."""
        return 0.0

    def run(self, feed: dict[str, Array]) -> Ran:
        """One batch. Raises ModelFault."""
        started_ns = monotonic_ns()
        outputs = self._session.run(feed)
        return Ran(outputs, (monotonic_ns() - started_ns) // NS_PER_US)

    def is_lost(self) -> bool:
        """Cores forget a fault."""
        return False

    def close(self) -> None:
        """Let go of the model."""
        self._session.close()
        self._model.close()
