"""Replicas that are promised nothing, such as those on loan to the profiler: they run where nobody else has work.

They are in no group and have no slots, so that nobody's turn, timetable or limit changes because of them. One of them
starts when its limit lets it and no regular replica on its chunks waits or runs, not even one that waits for its own
limit, nor did for as long as the batch should take. Nothing preempts: a regular replica that gets work waits for the
batch under way, and for no other. So who has requests every 50 ms meets no batch of 300 ms at all, and seldom one of
5 ms: long batches wait until it is quiet.

Among themselves they take turns, least recently started first; who is kept waiting by another's batch keeps its chunks
from those behind it, so that a wide one is not passed over.

One that is to end, or has waited long for a turn to warm up in, *steps forward* (`worker.gate`): for good, or for that
turn, it is a regular replica that is promised a thousandth, and waits no longer than such a one.
"""

from collections.abc import Iterable
from operator import attrgetter

from fastgshare.node_manager.core.accounts import Account
from fastgshare.node_manager.core.groups import Group
from fastgshare.node_manager.core.timetable import Timetable

_last_started = attrgetter("granted_us")


class Background(Group):
    """The background replicas of a device, beside its `regulars`."""

    def __init__(self, accounts: Iterable[Account], regulars: Iterable[Account], window_us: int) -> None:
        super().__init__(accounts, window_us, Timetable(window_us))
        self._regulars = list(regulars)

    def grant(self, now_us: int, taken: int) -> list[Account]:
        """Each whose turn it is where no regular replica is at work."""
        started: list[Account] = []
        at_work = self._at_work()
        for account in sorted(self.waiting, key=_last_started):
            if account.mask & at_work or self._free_from_us(account) > now_us:
                continue
            if not account.mask & taken:
                account.start(now_us, by_debt=False)
                started.append(account)
            taken |= account.mask
        if started:
            self.waiting = [account for account in self.waiting if account.is_waiting]
        return started

    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """When its limit lets it run, and others have been idle for long enough."""
        from_us = self._free_from_us(account)
        return from_us if from_us > now_us and not account.mask & self._at_work() else None

    def note_work(self, now_us: int) -> bool:
        """Remember when regular replicas worked where; whether somebody waits for time to pass since then, from now."""
        at_work = self._at_work()
        has_ended = False
        for account in self.accounts:
            was_at_work, account.is_outdone = account.is_outdone, bool(account.mask & at_work)
            if was_at_work or account.is_outdone:
                account.outdone_us = now_us
            has_ended |= was_at_work and not account.is_outdone and account.is_waiting
        return has_ended

    def watch(self, now_us: int, taken: int) -> None:
        """Count for how long others had an account's chunks, or kept it waiting for them; these are taken from now."""
        at_work = self._at_work()
        for account in self.accounts:
            kept = at_work if account.is_waiting else 0
            is_disturbed = bool(account.mask & (taken & ~account.running | kept))
            if is_disturbed == (account.disturbed_since_us is not None):
                continue
            account.disturbed_us = disturbed_us(account, now_us)
            account.disturbed_since_us = now_us if is_disturbed else None

    @staticmethod
    def _free_from_us(account: Account) -> int:
        if account.outdone_us is None:
            return account.clear_us
        return max(account.clear_us, account.outdone_us + account.expected_us)

    def _at_work(self) -> int:
        """Chunks on which regular replicas wait or run."""
        mask = 0
        for account in self._regulars:
            if account.is_waiting or account.running:
                mask |= account.mask | account.running
        return mask


def disturbed_us(account: Account, now_us: int) -> int:
    """For how long others had its chunks so far, or kept it waiting for them."""
    since_us = account.disturbed_since_us
    return account.disturbed_us + (now_us - since_us if since_us is not None else 0)
