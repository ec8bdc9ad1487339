"""A placement's slice as the token core has it."""

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of, permille_of
from fastgshare.shared.messages import Placement


def share_of(placement: Placement) -> Share:
    """The chunks a placement gives its replica, and the parts per thousand of their time."""
    held = placement.function.slice
    return Share(mask_of(placement.chunks), permille_of(held.quota_request), permille_of(held.quota_limit))
