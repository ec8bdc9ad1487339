"""A placement's slice as the token core has it."""

from fastgshare.node_manager.core.timetable import Share
from fastgshare.node_manager.core.tokens import mask_of, permille_of
from fastgshare.shared.messages import Placement


def share_of(placement: Placement) -> Share:
    """The chunks a placement gives its replica, and the parts per thousand of their time: on loan none are promised."""
    held = placement.function.slice
    request_permille = 0 if placement.loan else permille_of(held.quota_request)
    return Share(mask_of(placement.chunks), request_permille, permille_of(held.quota_limit))
