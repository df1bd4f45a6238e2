"""One virtual day of many accounts: edits on both sides, faults, two worker processes that die."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.errors import GatewayError
from gateway.store.accounts import accounts, leases
from gateway.sync.connect import test_connection
from tests.faults.life import CHANGES, Life, Scene
from tests.faults.person import DAY, HOUR, next_due
from tests.faults.process import Process
from tests.soak.surprises import FAULTS, Variants, choose_variants, set_variants, strike

CHANGES_A_DAY = 30
FAULTS_A_DAY = 10
VIEWS_A_DAY = 4
CRASHES_A_DAY = 48
STEP_S = 15.0
"""The workers look this often: real ones do each second, which changes nothing but the bill."""

VIEWED_FOR_S = 900
MOST_REQUESTS_AN_HOUR = 240
HOURS_TO_SETTLE = 5


@dataclass
class Day:
    """The accounts of a run, its dice, its diary, and what happened how often."""

    scene: Scene
    dice: random.Random
    processes: list[Process]
    lives: list[Life] = field(default_factory=list)
    variants: list[Variants] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    busiest: int = 0
    diary: list[tuple[float, str, str]] = field(default_factory=list)
    """What was done to whom: (moment, account, what)."""

    async def begin(self, count: int) -> None:
        """Connect everybody; each has events, a series, two appointments and its own iCloud."""
        for _ in range(count):
            life = Life(self.scene)
            self.variants.append(choose_variants(self.dice))
            self.note(life, f"variants {self.variants[-1]}")
            set_variants(life.person, self.variants[-1])
            life.fill()
            await life.person.connect()
            life.person.roles()
            life.book()
            life.book()
            self.lives.append(life)
        self.scene.process.random.seed(self.dice.random())

    async def live(self, hours: float, tell: Callable[[str], None] = lambda line: None) -> None:
        """Let time pass, with a surprise now and then; ``tell`` hears of every hour."""
        clock, scale = self.scene.clock, len(self.lives) / DAY
        rates = {
            self.surprise_change: CHANGES_A_DAY * scale,
            self.surprise_fault: FAULTS_A_DAY * scale,
            self.surprise_view: VIEWS_A_DAY * scale,
            self.surprise_crash: CRASHES_A_DAY / DAY,
        }
        due = {act: clock.time + self.dice.expovariate(rate) for act, rate in rates.items()}
        end, begun = clock.time + hours * HOUR, time.monotonic()
        hour_ends, mark = clock.time + HOUR, self.scene.server.world.journal.last_seq
        while clock.time < end:
            for act, at in list(due.items()):
                if at <= clock.time:
                    act()
                    due[act] = at + self.dice.expovariate(rates[act])
            await self.work()
            soon = min(next_due(self.scene.database), *due.values())
            clock.time = max(clock.time + STEP_S, min(soon, end))
            if clock.time >= hour_ends:
                self.check_rate(mark)
                hour_ends, mark = clock.time + HOUR, self.scene.server.world.journal.last_seq
                left = max(0.0, end - clock.time) / HOUR
                tell(f"{left:.0f} hours left, {self.progress()}, {time.monotonic() - begun:.0f} s")

    async def work(self) -> None:
        """Both processes do what is due, at the same time; the dead are replaced."""
        alive = await asyncio.gather(*(process.round() for process in self.processes))
        for process, lives in zip(self.processes, alive, strict=True):
            if not lives:
                self.happened["processes died"] += 1
                await process.replace()
        for life in self.lives:
            life.person.context = self.processes[0].context

    def check_rate(self, mark: int) -> None:
        """No account may storm: so many requests an hour are never needed."""
        asked = Counter(
            entry.account for entry in self.scene.server.world.journal.select(since=mark)
        )
        self.busiest = max(self.busiest, *asked.values())
        assert self.busiest <= MOST_REQUESTS_AN_HOUR, asked.most_common(3)

    # --- surprises ---

    def surprise_change(self) -> None:
        """Somebody changes something: between two runs, or in the middle of one."""
        life, index = self.dice.choice(self.lives), self.dice.randrange(6)
        change = self.dice.choice(CHANGES)
        process = self.dice.choice(self.processes)
        moment = self.dice.choice([0, 0, *range(1, 9)])

        def act() -> None:
            life.change(index, change)
            self.note(life, f"{' '.join(change)}, step {moment}")
            self.happened[f"changes by {change[0]}"] += 1

        if moment and not process.fuse.is_armed:
            process.fuse.set(moment, act)
        else:
            act()

    def surprise_fault(self) -> None:
        """Something at iCloud breaks for a while."""
        life, fault = self.dice.choice(self.lives), self.dice.choice(FAULTS)
        self.note(life, f"fault {strike(life.person, fault, self.dice)}")
        self.happened["faults"] += 1

    def surprise_view(self) -> None:
        """Somebody looks at a booking page: the account is polled often for a while (sync.md)."""
        life, now = self.dice.choice(self.lives), self.scene.clock.time
        with self.scene.database.write() as session:
            leases.note_active(
                session, [life.person.principal_id], until=int(now) + VIEWED_FOR_S, due_at=now
            )
        self.happened["views"] += 1

    def surprise_crash(self) -> None:
        """A process dies before one of its next steps."""
        process = self.dice.choice(self.processes)
        process.fuse.set(self.dice.randrange(1, 60))
        self.note(None, f"process {self.processes.index(process)} is to die")

    def note(self, life: Life | None, what: str) -> None:
        """Enter something into the diary."""
        who = life.person.account.email if life is not None else ""
        self.diary.append((self.scene.clock.time, who, what))

    # --- the end ---

    async def settle(self) -> list[str]:
        """Mend all, do what a person has to do, wait, and name every difference left."""
        self.note(None, "all is mended")
        self.scene.server.world.faults.clear()
        for life, variants in zip(self.lives, self.variants, strict=True):
            set_variants(life.person, variants)
        for process in self.processes:
            process.fuse.set(None)
        for _ in range(HOURS_TO_SETTLE):
            for life in self.lives:
                await self._help(life)
            end = self.scene.clock.time + HOUR
            while self.scene.clock.time < end:
                await self.work()
                soon = next_due(self.scene.database)
                self.scene.clock.time = max(self.scene.clock.time + STEP_S, min(soon, end))
            if not any(life.complaints() for life in self.lives):
                return []
        return [line for life in self.lives for line in self._story(life)]

    async def _help(self, life: Life) -> None:
        self.happened["parked pushes"] += len(life.person.retry_parked())
        connection_id = life.person.connection_id
        if life.person.connection().state == "credential-revoked":
            self.happened["revoked"] += 1
            try:
                await test_connection(life.person.context, connection_id)
            except GatewayError:
                return
        with self.scene.database.write() as session:
            accounts.update_connection(session, connection_id, next_sync_at=0.0)

    def _story(self, life: Life) -> list[str]:
        """What is wrong with an account, and what happened to it."""
        email, wrong = life.person.account.email, life.complaints()
        if not wrong:
            return []
        diary = [f"  {at:.0f} {what}" for at, who, what in self.diary if who in ("", email)]
        name = f"{email} ({life.person.connection_id})"
        return [name, *(f"  ! {line}" for line in wrong), *diary]

    def progress(self) -> str:
        """The figures in a few words."""
        sent = self.scene.server.world.journal.last_seq
        changes = sum(n for what, n in self.happened.items() if what.startswith("changes"))
        return f"{changes} changes, {self.happened['faults']} faults, {sent} requests"

    def figures(self) -> dict[str, int]:
        """What happened, and what it cost."""
        recorded = sum(len(life.conflicts()) for life in self.lives)
        mirrored = sum(len(life.person.all_foreign()) for life in self.lives)
        return {
            **dict(sorted(self.happened.items())),
            "conflicts recorded": recorded,
            "events mirrored at the end": mirrored,
            "appointments at the end": sum(len(life.person.local_uids()) for life in self.lives),
            "requests": self.scene.server.world.journal.last_seq,
            "requests of the busiest account in an hour": self.busiest,
        }
