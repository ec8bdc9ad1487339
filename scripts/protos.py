"""Writes the Python modules of the gateway's `.proto` files beside them: `make protos`.

Their messages go into a descriptor pool of their own. In the one that all modules share, names are unique in a
process, and whoever talks to a gateway from a process that has Triton's client loaded could not load ours.
"""

import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).parents[1] / "services/gateway/src/fastgshare/gateway/grpc/protos"
SHARED_POOL = "_descriptor_pool.Default()"
OWN_POOL = "_descriptor_pool.DescriptorPool()"


class ProtocFailed(Exception):
    """protoc refused a file; it said why on standard error."""


def generate() -> dict[str, str]:
    """The text of every module by its file's name. Raises ProtocFailed."""
    with tempfile.TemporaryDirectory(prefix="fastgshare-protos-") as directory:
        sources = sorted(str(path) for path in PROTOS.glob("*.proto"))
        options = [f"-I{PROTOS}", f"--python_out={directory}", f"--pyi_out={directory}"]
        if protoc.main(["protoc", *options, *sources]) != 0:
            raise ProtocFailed
        modules = {path.name: path.read_text() for path in sorted(Path(directory).iterdir())}
    return {name: text.replace(SHARED_POOL, OWN_POOL) for name, text in modules.items()}


def main() -> None:
    """Write what is generated."""
    for name, text in generate().items():
        (PROTOS / name).write_text(text)


if __name__ == "__main__":
    main()
