"""Examples of the messages in `messages/fleet.py`."""

import msgspec

from fastgshare.shared.handler import TensorSpec
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.messages import (
    DeviceStatus,
    ModelOnDevice,
    NodeStatus,
    Placement,
    ReplicaState,
    ReplicaStatus,
    ReplicaUse,
    Signature,
    WorkerHello,
)
from tests.shared.golden_payloads.functions import FUNCTION, SLICE
from tests.shared.golden_payloads.names import AT_US, DEVICE, ECHO, HOST, LOAN, MODEL_DIGEST, NODE, REPLICA

SIGNATURE = Signature(
    inputs=(TensorSpec("text", "BYTES", (-1,)),), outputs=(TensorSpec("label", "BYTES", (-1,)),), batched=True
)
DEVICE_STATUS = DeviceStatus(
    device=DEVICE,
    kind="cpu",
    chunks=2,
    memory_mib=4_096,
    healthy=False,
    reason="a core went away",
    depth={REPLICA: 7},
    worker_pid=4_243,
    rss_mib=80.5,
)
MODEL_ON_DEVICE = ModelOnDevice(digest=MODEL_DIGEST, weights_mib=97.5, replicas=3)
REPLICA_USE = ReplicaUse(time_share=0.25, backlogged_share=0.5, token_wait_ms=7.5, batches=12)

EXAMPLES: dict[str, msgspec.Struct] = {
    "DeviceStatus.1": DEVICE_STATUS,
    "DeviceStatus.2": DeviceStatus(
        device=DEVICE,
        kind="cpu",
        chunks=2,
        memory_mib=4_096,
        used_mib=640.5,
        models=(MODEL_ON_DEVICE,),
        use={REPLICA: REPLICA_USE},
        gauges={"sm_occupancy_percent": 31.5},
    ),
    "DeviceStatus.3": DeviceStatus(device=DEVICE, kind="cpu", chunks=2, memory_mib=4_096, running=(REPLICA,), sms=2),
    "ModelOnDevice.1": MODEL_ON_DEVICE,
    "NodeStatus.1": NodeStatus(
        node=NODE,
        host=HOST,
        incarnation="0a1b2c3d",
        at_us=AT_US,
        devices=(DEVICE_STATUS,),
        version=2,
        interval_ms=250,
        pid=4_242,
    ),
    "Placement.1": Placement(
        replica=REPLICA,
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        version=2,
        reason="replaces echo-g3-ffffff",
    ),
    "Placement.2": Placement(
        replica=ReplicaId("echo-loan-9-1"),
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        loan=LOAN,
    ),
    "Placement.3": Placement(
        replica=ReplicaId("echo-g3-9-2"),
        node=NODE,
        device=DEVICE,
        chunks=(0, 1),
        epoch=9,
        function=FUNCTION,
        replaces="node-b.echo-g3-9-1",
    ),
    "ReplicaStatus.1": ReplicaStatus(
        replica=REPLICA,
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.FAILED,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        chunks=(0, 1),
        version=2,
        reason="the model is broken",
        transient=True,
        signature=SIGNATURE,
        max_batch=16,
        memory_mib=100.5,
        load_ms=2_000.5,
        epoch=9,
        since_us=AT_US,
        restarts=2,
    ),
    "ReplicaStatus.2": ReplicaStatus(
        replica=REPLICA,
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        weights_mib=97.5,
        weights_reused=True,
        slice=SLICE,
        note="12% of 2 cores is less than one: it holds one",
    ),
    "ReplicaStatus.3": ReplicaStatus(
        replica=ReplicaId("echo-loan-9-1"),
        function=ECHO,
        generation=3,
        node=NODE,
        device=DEVICE,
        host=HOST,
        incarnation="0a1b2c3d",
        state=ReplicaState.READY,
        device_kind="cpu",
        model_digest=MODEL_DIGEST,
        slice=SLICE,
        loan=LOAN,
    ),
    "ReplicaUse.1": REPLICA_USE,
    "ReplicaUse.2": ReplicaUse(time_share=0.25, backlogged_share=0.5, token_wait_ms=7.5, batches=12, drift=1.25),
    "Signature.1": SIGNATURE,
    "Signature.2": Signature(inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, streams=True),
    "WorkerHello.1": WorkerHello(device=DEVICE, incarnation="0a1b2c3d", version=2),
}
