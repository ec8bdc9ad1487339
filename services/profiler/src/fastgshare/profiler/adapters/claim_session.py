"""One claim from the attempt to its end: the lease held, commands of its key carried out one after the other.

The claim ends when it is released, when the lease is lost, or when its table was changed by somebody else or cannot be
stored; whatever was being done then is dropped, and what was borrowed is given back. Tables are written at the revision
read when the claim began, so a writer that only believes it holds the claim overwrites nothing. Wishes are sent beside
everything else, one at a time: they keep a slice lent while it is measured on.
"""

import logging
from collections.abc import Callable

import anyio
from msgspec.structs import replace

from fastgshare.profiler.core.commands import Claim, Measure, Release, StoreTable, Wish
from fastgshare.profiler.core.facts import (
    Claimed,
    Fact,
    LoanAnswered,
    LoanUnanswered,
    Measured,
    MeasureUnanswered,
    TableStored,
)
from fastgshare.shared import subjects
from fastgshare.shared.buckets import Bucket, RevisionConflict, StorageUnavailable
from fastgshare.shared.bus import Bus, NoAnswer
from fastgshare.shared.codec import decode, encode
from fastgshare.shared.errors import PayloadInvalid
from fastgshare.shared.leases import Lease
from fastgshare.shared.messages import LoanReply, LoanWish, MeasureReply, Profile

COMMANDS_WAITING = 16  # the core has at most a table, a measurement and a release outstanding
WISH_TIMEOUT_S = 1.0
RELEASE_TIMEOUT_S = 1.0
MS_PER_S = 1_000

ClaimCommand = StoreTable | Measure | Release

logger = logging.getLogger(__name__)


class ClaimSession:
    """What one claim needs to be carried out. `learn` is told of everything but its end."""

    def __init__(self, bus: Bus, claim: Claim, holder: str, learn: Callable[[Fact], None]) -> None:
        self._bus = bus
        self._key = claim.key
        self._learn = learn
        self._lease = Lease(bus, subjects.profile_lease(claim.key), holder)
        self._loan = f"{holder}.{claim.key}"
        self._tables = Bucket(bus, subjects.PROFILES, Profile)
        self._revision: int | None = 0
        self._inbox, self._commands = anyio.create_memory_object_stream[ClaimCommand](COMMANDS_WAITING)
        self._wished, self._wishes = anyio.create_memory_object_stream[LoanWish](1)
        self._last_wish: LoanWish | None = None
        self._measuring = anyio.CancelScope()
        self._released = False
        self._ended = False

    def submit(self, command: Wish | ClaimCommand) -> None:
        """Carry out `command` after those before it; a release ends a measurement under way.

        Once the claim has ended nothing is carried out any more: its end is about to be told.
        """
        if self._ended:
            return
        if isinstance(command, Wish):
            self._submit_wish(command.wish)
            return
        self._inbox.send_nowait(command)
        if isinstance(command, Release):
            self._released = True
            self._measuring.cancel()

    def _submit_wish(self, wish: LoanWish) -> None:
        self._last_wish = wish
        try:
            self._wished.send_nowait(wish)
        except anyio.WouldBlock:
            logger.debug("the wish for %s before this is still on its way", self._key)

    async def run(self) -> None:
        """Claim, and serve commands until the claim ends; returns at once when somebody else has it."""
        try:
            if await self._lease.acquire():
                await self._serve()
        except (StorageUnavailable, RevisionConflict) as error:
            logger.info("claim on %s ended: %s", self._key, error)
        finally:
            self._ended = True
            for stream in (self._inbox, self._commands, self._wished, self._wishes):
                stream.close()
            await self._give_back()

    async def _give_back(self) -> None:
        with anyio.CancelScope(shield=True):
            if self._last_wish is not None:
                await self._request_loan(replace(self._last_wish, over=True))
            with anyio.move_on_after(RELEASE_TIMEOUT_S):
                try:
                    await self._lease.release()
                except StorageUnavailable as error:
                    logger.info("lease %s is left to expire: %s", self._lease.key, error)

    async def _serve(self) -> None:
        table = await self._read()
        failures: list[StorageUnavailable | RevisionConflict] = []
        async with anyio.create_task_group() as work:
            work.start_soon(self._hold, work.cancel_scope)
            work.start_soon(self._send_wishes)
            self._learn(Claimed(self._key, table, self._loan))
            try:
                await self._carry_out()
            except (StorageUnavailable, RevisionConflict) as error:
                failures.append(error)  # raised below, bare: a task group would wrap it
            work.cancel_scope.cancel()
        if failures:
            raise failures[0]

    async def _read(self) -> Profile | None:
        try:
            found = await self._tables.get(self._key)
        except PayloadInvalid as error:
            logger.warning("table %s cannot be read and will be replaced: %s", self._key, error)
            self._revision = None
            return None
        table, self._revision = found or (None, 0)
        return table

    async def _hold(self, claim: anyio.CancelScope) -> None:
        await self._lease.hold()
        logger.warning("lease %s was lost", self._lease.key)
        claim.cancel()

    async def _send_wishes(self) -> None:
        async for wish in self._wishes:
            self._learn(await self._request_loan(wish))

    async def _request_loan(self, wish: LoanWish) -> Fact:
        try:
            answer = await self._bus.request(subjects.LOAN, encode(wish), WISH_TIMEOUT_S)
            return LoanAnswered(self._key, decode(LoanReply, answer.data))
        except NoAnswer as error:
            return LoanUnanswered(self._key, wish.loan, str(error.fields["reason"]))
        except PayloadInvalid as error:
            return LoanUnanswered(self._key, wish.loan, str(error))

    async def _carry_out(self) -> None:
        async for command in self._commands:
            if isinstance(command, Release):
                return
            if isinstance(command, StoreTable):
                await self._store(command)
            elif not self._released:
                await self._measure(command)

    async def _store(self, command: StoreTable) -> None:
        if self._revision is None:
            self._revision = await self._tables.put(self._key, command.table)
        else:
            self._revision = await self._tables.replace(self._key, command.table, self._revision)
        self._learn(TableStored(self._key, command.table))

    async def _measure(self, command: Measure) -> None:
        fact: Fact = MeasureUnanswered(self._key, command.ticket, "the bus was away meanwhile", hung=False)
        with self._bus.until_reconnected() as self._measuring:
            fact = await self._ask_worker(command)
        if not self._released:
            self._learn(fact)

    async def _ask_worker(self, command: Measure) -> Fact:
        subject = subjects.measure(command.replica)
        try:
            answer = await self._bus.request(subject, encode(command.request), command.timeout_ms / MS_PER_S)
            return Measured(self._key, command.ticket, decode(MeasureReply, answer.data))
        except NoAnswer as error:
            hung = error.fields["reason"] == "timeout"
            reason = "the worker did not answer in time" if hung else str(error.fields["reason"])
            return MeasureUnanswered(self._key, command.ticket, reason, hung)
        except PayloadInvalid as error:
            return MeasureUnanswered(self._key, command.ticket, str(error), hung=True)
