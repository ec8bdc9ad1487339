"""The key of a table: one model on one kind of device, whichever functions and replicas share it."""

from typing import NewType

from fastgshare.shared import subjects
from fastgshare.shared.ids import Digest
from fastgshare.shared.messages import Profile, ReplicaStatus

TableKey = NewType("TableKey", str)


def key_for(digest: Digest, device_kind: str) -> TableKey:
    """The key of a model's table on a kind of device: as it stands in the `profiles` bucket."""
    return TableKey(subjects.profile_key(digest, device_kind))


def key_of(owner: ReplicaStatus | Profile) -> TableKey:
    """The key of a replica's table, or of the table itself."""
    return key_for(owner.model_digest, owner.device_kind)
