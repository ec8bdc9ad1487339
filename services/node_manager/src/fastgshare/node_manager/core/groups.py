"""Replicas connected by shared chunks, and who of them starts next. Groups share no chunk: each decides alone.

Everything that depends only on what replicas hold is worked out when that changes: slots as *stretches* of the period
in which nobody's slot begins or ends, and for each replica when slots of its neighbours begin. Within a stretch the
standing of whoever is outside its slot does not change with time, so a decision is comparisons of whole numbers.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from fastgshare.node_manager.core.accounts import Account
from fastgshare.node_manager.core.timetable import Slot, Timetable, period_for
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

OWED_PERIODS = 2
AHEAD_IN_SLOT = 10  # a tenth of a window: so far may a replica be ahead and still own its slot

_spare_had = attrgetter("spare_us")
_owed = attrgetter("owed_us")


class Group(ABC):
    """Accounts that compete; `waiting` in the order of `owed_us`.

    `spare_level_us` is what those who have work had of spare time at least, when it was last given.
    """

    def __init__(self, accounts: Iterable[Account], window_us: int, timetable: Timetable) -> None:
        self.accounts = list(accounts)
        self.timetable = timetable
        self.period_us = timetable.period_us
        self.waiting: list[Account] = []
        at_work = (account.spare_us for account in self.accounts if account.is_waiting or account.running)
        self.spare_level_us = min(at_work, default=0)
        for account in self.accounts:
            account.fit_in(window_us)
            if account.is_waiting:
                insort(self.waiting, account, key=_owed)

    def enqueue(self, account: Account) -> None:
        """Let it wait for its turn."""
        insort(self.waiting, account, key=_owed)

    def leave(self, account: Account) -> None:
        """It waits no more."""
        account.is_waiting = False
        self.waiting.remove(account)

    @abstractmethod
    def grant(self, now_us: int, taken: int) -> list[Account]:
        """Start who may run beside the chunks taken; returns them."""

    @abstractmethod
    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """When time alone may bring a waiting account its token."""

    def planned_us(self, account: Account, now_us: int) -> int:
        """How far an account that had exactly its slots would be ahead of now."""
        return 0

    def kept(self, account: Account, period_us: int) -> Sequence[Slot]:
        """Its slots, if they were laid for what it holds and for such a period; else none."""
        return ()

    def wants_longer_period(self, window_us: int, batch_us: int) -> bool:
        """Whether batches of this length call for another timetable."""
        return False


class Peers(Group):
    """All on the same chunks: one runs at a time, owed longest first, else spare time to who had least of it."""

    def grant(self, now_us: int, taken: int) -> list[Account]:
        """At most one."""
        waiting = self.waiting
        if not waiting or waiting[0].mask & taken:
            return []
        first = waiting[0]
        by_debt = first.owed_us <= now_us
        if not by_debt:
            able = [account for account in waiting if account.may_spare and account.clear_us <= now_us]
            if not able:
                return []
            first = min(able, key=_spare_had) if len(able) > 1 else able[0]
            if first.spare_us > self.spare_level_us:
                self.spare_level_us = first.spare_us
        elif first.owed_us < now_us - OWED_PERIODS * self.period_us:
            self._forget(now_us - OWED_PERIODS * self.period_us - first.owed_us)
        waiting.remove(first)
        first.start(now_us, by_debt)
        return [first]

    def _forget(self, behind_us: int) -> None:
        """More is promised than there is: it is lost to all alike, and nobody's debt grows for ever."""
        for account in self.waiting:
            account.owed_us += behind_us

    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """When it is owed its next batch, or its limit lets it have spare time."""
        time_us = min(account.owed_us, account.clear_us) if account.may_spare else account.owed_us
        return time_us if time_us > now_us else None


class Mixed(Group):
    """Not all on the same chunks: everybody has slots of a period, which are rounded by debt, not cut."""

    def __init__(self, accounts: Iterable[Account], window_us: int, timetable: Timetable) -> None:
        super().__init__(accounts, window_us, timetable)
        period_us, slots = timetable.period_us, timetable.slots
        self._shares = {account.replica: account.share for account in self.accounts}
        self._ahead_us = window_us // AHEAD_IN_SLOT
        self._slotless = [account for account in self.accounts if not slots[account.replica]]
        self._whole_us = {
            account.replica: sum(end_us - start_us for start_us, end_us in slots[account.replica])
            for account in self.accounts
        }
        edges_us = {edge_us for row in slots.values() for slot in row for edge_us in slot} | {0}
        self._edges_us = sorted(edge_us for edge_us in edges_us if edge_us < period_us)
        self._owners = [_owners(self.accounts, slots, edge_us) for edge_us in self._edges_us]
        self._had_us = [
            [self._paid_us(account, _had_us(slots[account.replica], edge_us)) for account in self.accounts]
            for edge_us in self._edges_us
        ]
        self._neighbours = {account.replica: self._starts(account, slots) for account in self.accounts}
        self._stretch = -1
        self._start_us = 0
        self._end_us = -1

    def grant(self, now_us: int, taken: int) -> list[Account]:
        """Owners of slots, then who is late, then anybody."""
        waiting = self.waiting
        free = [account for account in waiting if not account.mask & taken]
        if not free:
            return []
        self._enter(now_us)
        turn = _Turn(self, now_us, taken)
        for account in self._owners[self._stretch]:
            if account.is_waiting:
                ahead_us = account.owed_us - self._plan_us(account, now_us)
                if ahead_us <= self._ahead_us:
                    turn.consider(account, by_debt=True, may_reserve=True, may_run_over=ahead_us < 0)
        free = [account for account in free if not account.mask & turn.taken]
        if free:  # else there is nobody to start, nor to keep chunks from
            for account in self._late(free):
                turn.consider(account, by_debt=True, may_reserve=account.plan_us >= account.starving_from_us)
            for account in sorted(free, key=_spare_had):
                if account.may_spare and account.clear_us <= now_us and not account.mask & turn.taken:
                    turn.consider(account)
        if turn.granted:
            self.waiting = [account for account in waiting if account.is_waiting]
        return turn.granted

    def _late(self, free: Iterable[Account]) -> list[Account]:
        """Who is a batch behind and could start, or so far behind that chunks are kept for it."""
        if [account for account in self.waiting if account.plan_us >= account.starving_from_us]:
            return [account for account in self.waiting if account.plan_us >= account.late_from_us]
        return [account for account in free if account.plan_us >= account.late_from_us]

    def look_again_us(self, account: Account, now_us: int) -> int | None:
        """The next time a slot of its own or of a neighbour begins, or its account lets it run."""
        self._enter(now_us)
        replica = account.replica
        starts_us = self._neighbours[replica].times_us
        times_us = []
        if account in self._owners[self._stretch]:
            ahead_us = account.owed_us - self._ahead_us - account.plan_us
            times_us.append(self._start_us + self._took_us(account, ahead_us))
        if starts_us:
            phase_us = now_us % self.period_us
            index = bisect_right(starts_us, phase_us)
            until_us = starts_us[index] if index < len(starts_us) else starts_us[0] + self.period_us
            times_us.append(now_us - phase_us + until_us)
        if account.may_spare:
            times_us.append(account.clear_us)
        if account in self._slotless:
            times_us.append(account.late_from_us)
        return min((time_us for time_us in times_us if time_us > now_us), default=None)

    def planned_us(self, account: Account, now_us: int) -> int:
        """How far an account that had exactly its slots would be ahead of now: less than none before them."""
        self._enter(now_us)
        return self._plan_us(account, now_us) - now_us

    def wants_longer_period(self, window_us: int, batch_us: int) -> bool:
        """Whether batches of this length call for another timetable."""
        return period_for(window_us, batch_us) > self.period_us

    def kept(self, account: Account, period_us: int) -> Sequence[Slot]:
        """Its slots, if they were laid for what it holds and for such a period; else none."""
        share, slots = self._shares[account.replica], self.timetable.slots[account.replica]
        is_whole = self._whole_us[account.replica] == share.request_permille * self.period_us // PER_MILLE
        return slots if is_whole and share == account.share and period_us == self.period_us else ()

    def runs_into_a_slot(self, account: Account, now_us: int) -> bool:
        """Whether its batch should still run when a slot of another replica with work begins on its chunks."""
        starts = self._neighbours[account.replica]
        phase_us = now_us % self.period_us
        base_us = now_us - phase_us
        from_us, end_us = phase_us, phase_us + account.expected_us
        while True:
            for index in range(bisect_right(starts.times_us, from_us), len(starts.times_us)):
                if starts.times_us[index] >= end_us:
                    return False
                other = starts.owners[index]
                is_at_work = other is not account and (other.is_waiting or other.running)
                if is_at_work and other.owed_us - self._ahead_us <= base_us + starts.plans_us[index]:
                    return True
            if from_us < 0 or end_us <= self.period_us:
                return False
            from_us, end_us, base_us = -1, end_us - self.period_us, base_us + self.period_us

    def _starts(self, account: Account, slots: Mapping[ReplicaId, Sequence[Slot]]) -> "_Starts":
        starts = sorted(
            (start_us, self._paid_us(other, _had_us(slots[other.replica], start_us)), number)
            for number, other in enumerate(self.accounts)
            if other.mask & account.mask
            for start_us, _ in slots[other.replica]
        )
        return _Starts(
            [start_us for start_us, _, _ in starts],
            [plan_us for _, plan_us, _ in starts],
            [self.accounts[number] for _, _, number in starts],
        )

    def _enter(self, now_us: int) -> None:
        """Bring `plan_us` of all accounts up to the stretch that `now_us` lies in."""
        if not self._start_us <= now_us < self._end_us:
            phase_us = now_us % self.period_us
            self._stretch = bisect_right(self._edges_us, phase_us) - 1
            following = self._stretch + 1
            base_us = now_us - phase_us
            self._start_us = base_us + self._edges_us[self._stretch]
            is_last = following == len(self._edges_us)
            self._end_us = base_us + (self.period_us if is_last else self._edges_us[following])
            for account, had_us in zip(self.accounts, self._had_us[self._stretch], strict=True):
                account.plan_us = base_us + had_us
        for account in self._slotless:
            account.plan_us = now_us

    def _plan_us(self, account: Account, now_us: int) -> int:
        """Where its account would be now if it had had exactly its slots."""
        if account in self._owners[self._stretch]:
            return account.plan_us + self._paid_us(account, now_us - self._start_us)
        return account.plan_us

    def _paid_us(self, account: Account, had_us: int) -> int:
        """By how much device time within its slots moves its account on."""
        whole_us = self._whole_us[account.replica]
        return had_us * self.period_us // whole_us if whole_us else 0

    def _took_us(self, account: Account, paid_us: int) -> int:
        """The device time that moves its account on by at least this much."""
        return -(-paid_us * self._whole_us[account.replica] // self.period_us)


@dataclass(frozen=True, slots=True)
class _Starts:
    """When in the period slots on a replica's chunks begin, its own too, whose they are, and their `plan_us` then."""

    times_us: list[int]
    plans_us: list[int]
    owners: list[Account]


class _Turn:
    """One round of grants in a mixed group: chunks taken, and those kept for who comes first."""

    def __init__(self, group: Mixed, now_us: int, taken: int) -> None:
        self.granted: list[Account] = []
        self.taken = taken
        self._group = group
        self._now_us = now_us
        self._reserved = 0
        self._able_us = now_us

    def consider(
        self, account: Account, by_debt: bool = False, may_reserve: bool = False, may_run_over: bool = False
    ) -> None:
        """Start it, or keep its chunks for it, or neither."""
        mask, now_us = account.mask, self._now_us
        if mask & self.taken or (mask & self._reserved and now_us + account.expected_us > self._able_us):
            if may_reserve:
                self._reserve(mask)
        elif may_run_over or not self._group.runs_into_a_slot(account, now_us):
            account.owed_us = max(account.owed_us, now_us - OWED_PERIODS * self._group.period_us)
            if not by_debt:
                self._group.spare_level_us = max(self._group.spare_level_us, account.spare_us)
            account.start(now_us, by_debt)
            self.taken |= mask
            self.granted.append(account)

    def _reserve(self, mask: int) -> None:
        """Keep chunks free, but for what should end before all that runs on them does."""
        ends_us = [other.granted_us + other.expected_us for other in self._group.accounts if other.running & mask]
        able_us = max(ends_us, default=self._now_us)
        self._able_us = min(self._able_us, able_us) if self._reserved else able_us
        self._reserved |= mask


def _owners(accounts: Iterable[Account], slots: Mapping[ReplicaId, Sequence[Slot]], edge_us: int) -> list[Account]:
    return [
        account
        for account in accounts
        if any(start_us <= edge_us < end_us for start_us, end_us in slots[account.replica])
    ]


def _had_us(row: Sequence[Slot], phase_us: int) -> int:
    return sum(min(end_us, phase_us) - start_us for start_us, end_us in row if start_us < phase_us)
