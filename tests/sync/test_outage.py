"""The outage guard: many 401s at once are Apple's trouble, nobody's password (R4)."""

import pytest
import sqlalchemy

from gateway.store.accounts import accounts
from gateway.sync.connect import connect
from gateway.sync.outcome import OUTAGE_SPAN_S, PROBE_DELAYS_S
from gateway.sync.scheduler import sync_account
from tests.sync.conftest import Site, create_principal

DEAD = "credential-revoked"


class Crowd:
    """Accounts beside the first, by number."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ids: list[str] = []

    async def grow(self, count: int) -> None:
        for number in range(count):
            account = self.site.server.world.add_account(f"a{number}@icloud.com")
            made = await connect(
                self.site.context,
                create_principal(self.site.database),
                account.email,
                account.issue_app_password(),
            )
            self.ids.append(made.id)
        self.site.clock.advance(3600)

    def refuse(self, *numbers: int) -> None:
        for number in numbers:
            self.site.server.world.faults.set("calendar-switched-off", f"a{number}@icloud.com")

    def heal(self) -> None:
        self.site.server.world.faults.clear("calendar-switched-off")

    async def poll(self, *numbers: int) -> list[str]:
        return [
            (await sync_account(self.site.context, self.ids[number])).state for number in numbers
        ]

    def states(self) -> list[tuple[str, str | None]]:
        rows = [self.site.read(accounts.get_connection, one) for one in self.ids]
        return [(row.state, row.problem) for row in rows]


@pytest.fixture
async def crowd(fresh_site: Site) -> Crowd:
    return Crowd(fresh_site)


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("count", "refused", "dead"),
    [(10, 2, 2), (10, 3, 0), (9, 9, 9)],
    ids=["exactly a fifth", "more than a fifth", "too few to tell"],
)
async def test_the_guard_takes_ten_accounts_and_more_than_a_fifth(
    crowd: Crowd, count: int, refused: int, dead: int
) -> None:
    await crowd.grow(count)
    crowd.refuse(*range(refused))
    await crowd.poll(*reversed(range(count)))
    told = [(DEAD, "credential-rejected")] * dead
    told += [("ok", "upstream-outage")] * (refused - dead)
    assert crowd.states() == told + [("ok", None)] * (count - refused)


@pytest.mark.rule("R4")
async def test_polls_of_more_than_five_minutes_ago_say_nothing(crowd: Crowd) -> None:
    await crowd.grow(10)
    crowd.refuse(0, 1, 2)
    await crowd.poll(3, 4, 5, 6, 7, 8, 9)
    crowd.site.clock.advance(OUTAGE_SPAN_S + 1)
    assert await crowd.poll(0, 1, 2) == [DEAD] * 3


@pytest.mark.rule("R4")
async def test_while_an_outage_lasts_nobody_is_declared_dead_and_it_ends_by_itself(
    crowd: Crowd,
) -> None:
    await crowd.grow(12)
    crowd.refuse(*range(6))
    await crowd.poll(*reversed(range(12)))
    for _ in range(4):
        crowd.site.clock.advance(200)
        assert await crowd.poll(*range(12)) == ["ok"] * 12
        assert crowd.states() == [("ok", "upstream-outage")] * 6 + [("ok", None)] * 6
    crowd.heal()
    crowd.refuse(0)
    crowd.site.clock.advance(200)
    await crowd.poll(*reversed(range(12)))
    assert crowd.states() == [(DEAD, "credential-rejected")] + [("ok", None)] * 11


@pytest.mark.rule("R4")
async def test_an_outage_does_not_bring_the_dead_back(crowd: Crowd) -> None:
    await crowd.grow(12)
    crowd.refuse(0)
    assert await crowd.poll(*reversed(range(12))) == ["ok"] * 11 + [DEAD]
    crowd.site.clock.advance(PROBE_DELAYS_S[0])
    crowd.refuse(1, 2, 3, 4)
    await crowd.poll(*reversed(range(12)))
    assert crowd.states()[:5] == [
        (DEAD, "credential-rejected"),
        *[("ok", "upstream-outage")] * 4,
    ]


@pytest.mark.rule("R4")
@pytest.mark.parametrize(
    ("refused", "told"),
    [(3, (DEAD, "credential-rejected")), (6, ("ok", "upstream-outage"))],
    ids=["some", "most"],
)
async def test_who_is_refused_for_a_day_while_most_others_answer_is_in_no_outage(
    crowd: Crowd, refused: int, told: tuple[str, str]
) -> None:
    await crowd.grow(10)
    crowd.refuse(*range(refused))
    for _ in range(4):  # the first look, and three over a day
        await crowd.poll(*reversed(range(10)))
        assert crowd.states()[:refused] == [("ok", "upstream-outage")] * refused
        crowd.site.clock.advance(PROBE_DELAYS_S[-1] / 4 + 1)
    await crowd.poll(*reversed(range(10)))
    assert crowd.states() == [told] * refused + [("ok", None)] * (10 - refused)
    left = [crowd.site.read(accounts.get_connection, one).probes_left for one in crowd.ids]
    assert left == [0] * 10  # nothing is asked until a person acts


@pytest.mark.rule("R4")
async def test_a_short_refusal_in_an_outage_kills_nobody_however_many_answer(crowd: Crowd) -> None:
    await crowd.grow(10)
    crowd.refuse(0, 1, 2)
    for _ in range(6):
        crowd.site.clock.advance(3600)
        await crowd.poll(*reversed(range(10)))
    assert crowd.states()[:3] == [("ok", "upstream-outage")] * 3


@pytest.mark.rule("R4")
async def test_a_wave_of_refusals_is_counted_once_not_once_for_each(crowd: Crowd) -> None:
    await crowd.grow(24)
    crowd.refuse(*range(20))
    await crowd.poll(20, 21, 22, 23)
    walks: list[str] = []

    def on_execute(connection, cursor, statement, parameters, context, executemany) -> None:
        if "FILTER" in statement or (
            statement.startswith("UPDATE")
            and "probes_left =" in statement
            and "polled_at >=" in statement
        ):
            walks.append(statement)

    engine = crowd.site.database.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", on_execute)
    try:
        await crowd.poll(*range(20))
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", on_execute)
    assert crowd.states() == [("ok", "upstream-outage")] * 20 + [("ok", None)] * 4
    assert len(walks) <= 2  # counted once, and those declared dead before brought back at once
