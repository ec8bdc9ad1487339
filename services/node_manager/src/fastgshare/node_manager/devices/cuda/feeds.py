"""Whether a batch fits a model's signature, told before anything is put on the device: a graph would not notice."""

from fastgshare.node_manager.devices.faults import InputUnusable
from fastgshare.node_manager.devices.ports import ModelInfo
from fastgshare.shared.arrays import Array, datatype_of


def rows_of(feed: dict[str, Array], info: ModelInfo) -> int:
    """How many rows a batch has; 1 for a model without a batch axis. Raises InputUnusable with what was expected."""
    rows: set[int] = set()
    for spec in info.inputs:
        array = feed.get(spec.name)
        if array is None:
            raise InputUnusable(reason=f"input '{spec.name}' is missing, got {sorted(feed)}")
        datatype = _datatype(array)
        if datatype != spec.datatype:
            raise InputUnusable(reason=f"input '{spec.name}' is {datatype}, expected {spec.datatype}")
        if not _fits(array.shape, spec.shape):
            raise InputUnusable(
                reason=f"input '{spec.name}' has shape {list(array.shape)}, expected {list(spec.shape)}"
            )
        if info.is_batched:
            rows.add(array.shape[0])
    if len(rows) > 1:
        raise InputUnusable(reason=f"its inputs have {sorted(rows)} rows, expected as many in each")
    return rows.pop() if rows else 1


def _datatype(array: Array) -> str:
    try:
        return datatype_of(array)
    except ValueError:
        return f"numpy {array.dtype}"


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted < 0 or length == wanted for length, wanted in zip(shape, expected, strict=True)
    )
