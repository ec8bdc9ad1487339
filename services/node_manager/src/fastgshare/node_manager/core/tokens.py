"""Who may run: a token is the right to run one batch on a replica's chunks. Integer microseconds, no clock of its own.

Tokens that run never share a chunk. Grants go, in this order, to replicas that are

1. *due*: owed time (`accounts`), or in their own slot where masks overlap without being equal (`timetable`);
2. *late*: in a mixed group, and more than a batch behind what their slots should have given them;
3. anybody with work, as spare time, the one that had least of it first;

spare time only while their limit lets them. A due replica whose chunks are not all free keeps them from everybody
behind it, but for batches that should end before it can start (EASY backfilling, Lifka 1995), so that a wide replica is
not passed over for ever: it waits for what ran when it came due. In a mixed group nobody starts what would run into the
next slot of another replica with work, but the owner of a slot that is behind: slots are rounded by debt, not cut.
Replicas that are promised nothing come after all that, where nobody else has work at all (`background`).

Guarantees (property-tested in `tests/node_manager/core`) for batches of at most a tenth of a window, and shares that
promise no chunk more than its time, in mixed groups than 80 % of it: running tokens never overlap; a replica with work
has its request, and never more than its limit, within 2 points over any ten windows; waiting is bounded; no chunk idles
while somebody may use it, but for hand-overs in mixed groups; overrun is charged. Who is promised more than there is
gets less in proportion. Whoever comes to work waits for a background batch that is under way on its chunks, for one.
`docs/decisions/0004` has the figures, and what hand-overs cost at a fuller device.
"""

from collections.abc import Mapping, Sequence

from fastgshare.node_manager.core.accounts import Account, Use
from fastgshare.node_manager.core.background import Background, disturbed_us
from fastgshare.node_manager.core.groups import Group, Mixed, Peers
from fastgshare.node_manager.core.timetable import Share, Slot, Timetable, connected, is_mixed, lay, period_for
from fastgshare.shared.ids import ReplicaId
from fastgshare.shared.units import PER_MILLE

ROUNDING = 1e-6


def mask_of(chunks: tuple[int, ...]) -> int:
    """Chunk indices as a bitmask."""
    mask = 0
    for chunk in chunks:
        mask |= 1 << chunk
    return mask


def permille_of(quota: float) -> int:
    """A share of time in parts per thousand, at least one; rounded down, so that shares of a whole never exceed it."""
    return max(int(quota * PER_MILLE + ROUNDING), 1)


class TokenBook:
    """Tokens of one device."""

    def __init__(self, chunks: int, window_us: int) -> None:
        self.window_us = window_us
        self._all_chunks = (1 << chunks) - 1
        self._accounts: dict[ReplicaId, Account] = {}
        self._groups: dict[ReplicaId, Group] = {}
        self._distinct: list[Group] = []
        self._background: Background | None = None  # the last of them, where there are such replicas
        self._taken = 0
        self._left: dict[ReplicaId, Use] = {}  # what those had that left since `take_use`
        self.plans = 0  # grows whenever `look_again_us` of somebody who waits may have changed

    # Replicas

    def set_share(self, replica: ReplicaId, share: Share, now_us: int) -> list[ReplicaId]:
        """Take a replica on, or change what it holds, in place; returns who may start now.

        A token that runs keeps its chunks until it ends.
        """
        account = self._accounts.get(replica)
        was_regular = account is not None and not account.is_background
        if account is None:
            self._accounts[replica] = Account(replica, share, owed_us=now_us, clear_us=now_us)
        else:
            account.change(share, now_us)
        if was_regular or not share.is_background:
            self._plan()
        else:
            self._plan_background()
        return self.poll(now_us)

    def remove(self, replica: ReplicaId, now_us: int) -> list[ReplicaId]:
        """Forget a replica and the token it holds; returns who may start now."""
        account = self._accounts.pop(replica, None)
        if account is None:
            return []
        self._taken &= ~account.running
        self._left.setdefault(replica, Use()).add(account.take_use(now_us))
        if account.is_background:
            del self._groups[replica]
            self._plan_background()
        else:
            self._plan()
        return self.poll(now_us)

    # Batches

    def ask(self, replica: ReplicaId, expected_us: int, now_us: int) -> list[ReplicaId]:
        """`replica` has work of which a batch should take `expected_us`; returns who may start now."""
        account = self._accounts[replica]
        if not account.is_waiting and not account.running:
            self._begin(account, now_us)
            self._enqueue(account, expected_us, now_us)
        return self._grant(self._groups[replica], now_us)

    def ask_now(self, replica: ReplicaId, expected_us: int, now_us: int) -> bool:
        """Whether `replica` gets a token this moment; it does not wait for one."""
        account = self._accounts[replica]
        group = self._groups[replica]
        if account.is_waiting or account.running or account.mask & self._taken or group.waiting:
            return False  # whoever waits may be before it, and could not be told from here
        self._begin(account, now_us)
        self._enqueue(account, expected_us, now_us)
        group = self._groups[replica]  # a batch of this length may have called for another timetable
        has_started = bool(self._start(group, now_us))
        if not has_started:
            group.leave(account)
            account.end_backlog(now_us)
        if self._background is not None:
            self._note_work(self._background, now_us)
            self._background.watch(now_us, self._taken)
        return has_started

    def end(self, replica: ReplicaId, used_us: int, now_us: int, again_us: int | None = None) -> list[ReplicaId]:
        """`replica`'s batch is done after `used_us` of device time; returns who may start now.

        `again_us`: it has more work and asks for its next batch, expected to take that long, in the same breath, so
        that nobody behind it slips in while it turns around.
        """
        account = self._accounts.get(replica)
        if account is None or not account.running:
            return []
        was_moved = account.running != account.mask
        self._taken &= ~account.running
        account.charge(used_us)
        if again_us is None:
            account.end_backlog(now_us)
        else:
            self._enqueue(account, again_us, now_us)
        is_for_all = was_moved or account.is_background  # who waits for these chunks may be in other groups
        return self.poll(now_us) if is_for_all else self._grant(self._groups[replica], now_us)

    def give_up(self, replica: ReplicaId, now_us: int) -> list[ReplicaId]:
        """`replica` has no work after all and waits no more; returns who may start now."""
        account = self._accounts[replica]
        if account.is_waiting:
            self._groups[replica].leave(account)
            account.end_backlog(now_us)
        return self._grant(self._groups[replica], now_us)

    def poll(self, now_us: int) -> list[ReplicaId]:
        """Time has passed; returns who may start now."""
        if self._background is not None:
            self._note_work(self._background, now_us)
        started = [replica for group in self._waiting_groups() for replica in self._start(group, now_us)]
        if self._background is not None:
            self._background.watch(now_us, self._taken)
        return started

    # Views

    def look_again_us(self, replica: ReplicaId, now_us: int) -> int | None:
        """When time alone may bring a waiting replica its token: `poll` then. None: only somebody's end can."""
        return self._groups[replica].look_again_us(self._accounts[replica], now_us)

    def wake_at_us(self, now_us: int) -> int | None:
        """The earliest `look_again_us` of all that wait for nobody's end."""
        earliest_us: int | None = None
        for group in self._distinct:
            for account in group.waiting:
                if account.mask & self._taken:
                    continue
                time_us = group.look_again_us(account, now_us)
                if time_us is not None and (earliest_us is None or time_us < earliest_us):
                    earliest_us = time_us
        return earliest_us

    def running(self) -> dict[ReplicaId, int]:
        """The chunks of every running token, as masks."""
        return {replica: account.running for replica, account in self._accounts.items() if account.running}

    def waiting(self) -> list[ReplicaId]:
        """Who waits, longest owed first; those that are owed nothing last."""
        return [
            account.replica
            for account in sorted(self._accounts.values(), key=lambda each: (each.is_background, each.owed_us))
            if account.is_waiting
        ]

    def is_waiting(self, replica: ReplicaId) -> bool:
        """Whether it asked and has no token yet."""
        return self._accounts[replica].is_waiting

    def is_paid_by_debt(self, replica: ReplicaId) -> bool:
        """Whether its last token was part of what it was owed, not spare time."""
        return self._accounts[replica].is_paid_by_debt

    def held_us(self, replica: ReplicaId, now_us: int) -> int:
        """For how long a replica that runs has held its token."""
        return now_us - self._accounts[replica].granted_us

    def expected_us(self, replica: ReplicaId) -> int:
        """What it expected its last batch to take."""
        return self._accounts[replica].expected_us

    def share_of(self, replica: ReplicaId) -> Share:
        """What one replica holds."""
        return self._accounts[replica].share

    def shares(self) -> dict[ReplicaId, Share]:
        """What every replica holds."""
        return {replica: account.share for replica, account in self._accounts.items()}

    def timetable_of(self, replica: ReplicaId) -> Timetable:
        """The slots of its group: none where all are on the same chunks."""
        return self._groups[replica].timetable

    def take_use(self, now_us: int) -> dict[ReplicaId, Use]:
        """What each replica had since the last call, those that left meanwhile included."""
        taken, self._left = self._left, {}
        for replica, account in self._accounts.items():
            taken.setdefault(replica, Use()).add(account.take_use(now_us))
        return taken

    def others_us(self, replica: ReplicaId, now_us: int) -> int:
        """For how long others had a background replica's chunks so far, or kept it waiting for them. Never less."""
        return disturbed_us(self._accounts[replica], now_us)

    # Inside

    def _waiting_groups(self) -> list[Group]:
        return [group for group in self._distinct if group.waiting]

    def _begin(self, account: Account, now_us: int) -> None:
        group = self._groups[account.replica]
        account.begin_backlog(now_us, self.window_us, group.planned_us(account, now_us), group.spare_level_us)

    def _enqueue(self, account: Account, expected_us: int, now_us: int) -> None:
        is_longer = expected_us > account.longest_us
        account.ask(expected_us, now_us)
        group = self._groups[account.replica]
        group.enqueue(account)
        if is_longer and group.wants_longer_period(self.window_us, expected_us):
            self._plan()

    def _plan(self) -> None:
        before = self._groups
        shares = {replica: account.share for replica, account in self._accounts.items() if not account.is_background}
        self._groups, self._distinct = {}, []
        for members in connected(shares):
            accounts = [self._accounts[replica] for replica in members]
            group: Group
            if is_mixed(members, shares):
                period_us = period_for(self.window_us, max(account.longest_us for account in accounts))
                kept = {member: slots for member in members if (slots := self._kept(member, before, period_us))}
                group = Mixed(accounts, self.window_us, Timetable(period_us, lay(members, shares, period_us, kept)))
            else:
                group = Peers(accounts, self.window_us, Timetable(self.window_us))
            self._distinct.append(group)
            self._groups |= dict.fromkeys(members, group)
        self._background = None
        self._plan_background()

    def _plan_background(self) -> None:
        """All groups but that of the background stay as they are."""
        self.plans += 1
        if self._background is not None:
            self._distinct.pop()
            self._background = None
        accounts = [account for account in self._accounts.values() if account.is_background]
        if accounts:
            regulars = [account for account in self._accounts.values() if not account.is_background]
            self._background = Background(accounts, regulars, self.window_us)
            self._distinct.append(self._background)
            self._groups |= dict.fromkeys((account.replica for account in accounts), self._background)

    def _kept(self, replica: ReplicaId, before: Mapping[ReplicaId, Group], period_us: int) -> Sequence[Slot]:
        return before[replica].kept(self._accounts[replica], period_us) if replica in before else ()

    def _grant(self, group: Group, now_us: int) -> list[ReplicaId]:
        """Let members of a group start, and where it leaves room, background replicas."""
        started = self._start(group, now_us)
        if self._background is not None:
            self._note_work(self._background, now_us)
            if group is not self._background:
                started += self._start(self._background, now_us)
            self._background.watch(now_us, self._taken)
        return started

    def _note_work(self, background: Background, now_us: int) -> None:
        if background.note_work(now_us):
            self.plans += 1

    def _start(self, group: Group, now_us: int) -> list[ReplicaId]:
        if not group.waiting or self._taken == self._all_chunks:
            return []
        started = group.grant(now_us, self._taken)
        if not started:
            return []
        for account in started:
            self._taken |= account.running
        return [account.replica for account in started]
