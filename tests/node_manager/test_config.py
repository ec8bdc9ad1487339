"""Settings that become subjects and keys are held to what those allow, before anything is opened."""

import pytest

from fastgshare.node_manager.app import serve
from fastgshare.node_manager.config import NodeConfig, check_name
from fastgshare.shared.errors import InvalidConfig


@pytest.mark.parametrize("node", ["a.b", "*", "Node", "a b", "n" * 60])
async def test_a_node_whose_name_cannot_be_part_of_a_subject_does_not_start(node: str) -> None:
    with pytest.raises(InvalidConfig, match="FASTGSHARE_NODE"):
        await serve(NodeConfig(node=node))


def test_a_name_is_fine() -> None:
    check_name("node", "node-0")
