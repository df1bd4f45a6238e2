"""Rare moments, one by one: what the random lives of :mod:`machine` would need luck to find."""

import pytest

from tests.faults.machine import Scene, TwoSides


@pytest.fixture
def life(scene: Scene) -> TwoSides:
    """A connected account with one pushed appointment, a while ago."""
    made = TwoSides(scene)
    made.connect()
    made.book()
    made.sync()
    scene.clock.advance(100)
    return made


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize("meanwhile", ["nothing", "a pull"])
@pytest.mark.parametrize("known", [False, True], ids=["create", "update"])
def test_a_push_whose_answer_was_lost_is_not_taken_for_an_edit_on_the_phone(
    life: TwoSides, known: bool, meanwhile: str
) -> None:
    if known:
        life.change_on_the_platform(index=0, act="time")
    else:
        life.book()
    life.person.fault("reset", method="PUT", when="after", times=1)
    life.sync()
    life.change_on_the_platform(index=0 if known else 1, act="time")
    if meanwhile == "a pull":
        life.scene.clock.advance(20)
        life.sync()
    life.settle()
    assert life.conflicts() == []


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize("who", ["phone", "platform"])
@pytest.mark.parametrize("act", ["time", "title", "delete", "move", "withdraw"])
def test_an_edit_at_any_moment_of_a_run_is_kept(scene: Scene, who: str, act: str) -> None:
    if (who, act) in (("phone", "withdraw"), ("platform", "delete"), ("platform", "move")):
        pytest.skip("nobody can do that")
    at, reached = 0, True
    while reached:
        at += 1
        life = TwoSides(scene)
        life.connect()
        life.book()
        reached = life.edit_during_a_run(at=at, index=0, act=act, on_the_phone=who == "phone")
        life.teardown()
    assert at > 4


@pytest.mark.rule("R16")
def test_what_was_pushed_a_moment_ago_is_withdrawn_though_reads_lag(life: TwoSides) -> None:
    life.person.fault("lag", after=40)
    life.book()
    life.sync()
    life.change_on_the_platform(index=1, act="withdraw")
    life.sync()
    life.settle()


@pytest.mark.rule("R16")
def test_a_lost_answer_and_lagging_reads_double_nothing(life: TwoSides) -> None:
    life.person.fault("lag", after=120)
    life.person.fault("reset", method="PUT", when="after", times=1)
    life.book()
    life.sync()
    life.scene.clock.advance(40)
    life.sync()
    life.settle()


@pytest.mark.rule("R17")
def test_moved_a_moment_ago_it_is_not_cancelled_though_reads_lag(life: TwoSides) -> None:
    life.person.fault("lag", after=40)
    life.change_ours_on_the_phone(index=0, act="move")
    life.sync()
    life.settle()
    assert len(life.person.local_uids()) == 1


@pytest.mark.rule("R17")
def test_moved_on_the_phone_and_withdrawn_here_it_is_deleted_there(life: TwoSides) -> None:
    life.change_ours_on_the_phone(index=0, act="move")
    life.change_on_the_platform(index=0, act="withdraw")
    life.sync()
    life.settle()
    assert len(life.person.all_foreign()) == 5
