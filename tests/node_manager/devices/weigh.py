"""`python -m tests.node_manager.devices.weigh MODEL`: what sessions of one model take of a worker's memory, as JSON.

In a process of its own, under a worker's environment: in the tests' process memory comes and goes for other reasons.
"""

import json
import sys
from pathlib import Path

from fastgshare.node_manager.devices.catalog import host_runtimes
from fastgshare.node_manager.devices.cpu import CpuDevice
from fastgshare.node_manager.devices.ports import Lane, StoredModel
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.objects import digest_of
from fastgshare.shared.service import rss_mib
from tests.node_manager.devices.contract import on_its_own_thread

MEMORY_MIB = 1024


def main(warm: Path, path: Path) -> dict[str, float]:
    """MiB with one, with three, and with no replica, beyond what the process had before."""
    device = CpuDevice(host_runtimes())
    model, other = (StoredModel(digest_of(file), file, "onnx") for file in (path, warm))
    device.open_session(other, Lane(ReplicaId("warm"), (0,), MEMORY_MIB))  # what the runtime takes for itself
    before_mib = rss_mib()

    def opened(name: str) -> float:
        lane = Lane(ReplicaId(name), (0,), MEMORY_MIB)
        sessions.append(on_its_own_thread(lambda: device.open_session(model, lane)))
        return rss_mib() - before_mib

    sessions = []  # type: ignore[var-annotated]
    one_mib, _, three_mib = opened("a"), opened("b"), opened("c")
    for session in sessions:
        session.close()
    return {"one": one_mib, "three": three_mib, "none": rss_mib() - before_mib}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
