"""The key of a table: one model on one kind of device, whichever functions and replicas share it."""

from typing import NewType

from fastgshare.shared import subjects
from fastgshare.shared.messages import Profile, ReplicaStatus

TableKey = NewType("TableKey", str)


def key_of(owner: ReplicaStatus | Profile) -> TableKey:
    """The key of a replica's table, or of the table itself: as it stands in the `profiles` bucket."""
    return TableKey(subjects.profile_key(owner.model_digest, owner.device_kind))
