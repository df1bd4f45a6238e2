"""Two sides that are edited, broken and killed at random, and must end equal (hypothesis)."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.faults.life import CALENDARS, CHANGES, FAULTS, Life, Scene

INDEXES = st.integers(0, 5)
DISASTERS = st.one_of(
    st.none(),
    st.tuples(st.just("crash"), st.integers(1, 25), st.sampled_from([61, 200, 2000])),
    st.tuples(st.just("change"), st.integers(1, 20), INDEXES, st.sampled_from(CHANGES)),
    st.tuples(st.just("tokens"), st.sampled_from(CALENDARS)),
    st.sampled_from(FAULTS).flatmap(
        lambda fault: st.tuples(
            st.just("fault"),
            st.just(fault[0]),
            st.just(fault[1]),
            st.integers(1, 3),
            st.integers(0, 2),
        )
    ),
)


class TwoSides(RuleBasedStateMachine):
    """One life led at random."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.life = Life(scene)

    @initialize()
    def begin(self) -> None:
        """An account with some events and appointments."""
        self.life.begin()

    @rule(
        changes=st.lists(st.tuples(INDEXES, st.sampled_from(CHANGES)), max_size=3),
        disaster=DISASTERS,
        pause=st.sampled_from([0, 0, 5, 40, 130, 2000]),
    )
    def live(self, changes: list, disaster: tuple | None, pause: int) -> None:
        """Some changes, then a run in which something may go wrong, then some time."""
        for index, change in changes:
            self.life.change(index, change)
        what, *how = disaster or ("nothing",)
        if what == "crash":
            self.life.sync_and_crash(*how)
        elif what == "change":
            at, index, change = how
            self.life.interrupt(at, lambda: self.life.change(index, change))
        elif what == "tokens":
            self.life.person.account.calendar(how[0]).contents.drop_tokens()
            self.life.sync()
        elif what == "fault":
            self.life.fault(*how)
            self.life.sync()
        else:
            self.life.sync()
        self.life.scene.clock.advance(pause)

    @precondition(lambda self: self.life.person.connection_id)
    @rule()
    def settle(self) -> None:
        """All is mended in between."""
        self.life.settle()

    def teardown(self) -> None:
        if self.life.person.connection_id:
            self.life.end()
