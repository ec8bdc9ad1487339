"""The torch package, imported when the first torch model loads and not before: it takes some 200 MiB and seconds."""

import os

from fastgshare.node_manager.devices.faults import ModelFault

# OpenMP's threads else spin after a parallel region for the next one, and burn cores that other replicas' tokens cover
# (docs/decisions/0006). The library reads this once, when torch loads it.
NO_SPINNING = {"OMP_WAIT_POLICY": "passive"}


def import_torch() -> None:
    """Bring it into this process, with all that models need of it. Raises ModelFault where it is not installed."""
    for name, value in NO_SPINNING.items():
        os.environ.setdefault(name, value)
    try:
        import safetensors.torch  # noqa: F401
        import torch.export  # noqa: F401
    except (ImportError, OSError) as error:  # it is not there, or a library that it is linked with
        raise ModelFault(
            reason=f"this model needs torch and safetensors, which this node lacks ({error}):"
            " install the extra fastgshare-node-manager[torch]"
        ) from error
