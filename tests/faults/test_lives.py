"""Rare moments, one by one: what the random lives of :mod:`machine` would need luck to find."""

import pytest

from tests.faults.life import OURS, Life, Scene


@pytest.fixture
def life(scene: Scene) -> Life:
    """A connected account with one pushed appointment, a while ago."""
    made = Life(scene)
    made.connect()
    made.book()
    made.sync()
    scene.clock.advance(100)
    return made


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize("meanwhile", ["nothing", "a pull"])
@pytest.mark.parametrize("known", [False, True], ids=["create", "update"])
def test_a_push_whose_answer_was_lost_is_not_taken_for_an_edit_on_the_phone(
    life: Life, known: bool, meanwhile: str
) -> None:
    if known:
        life.change_ours(index=0, act=("platform", "time"))
    else:
        life.book()
    life.person.fault("reset", method="PUT", when="after", times=1)
    life.sync()
    life.change_ours(index=0 if known else 1, act=("platform", "time"))
    if meanwhile == "a pull":
        life.scene.clock.advance(20)
        life.sync()
    life.settle()
    assert life.conflicts() == []


@pytest.mark.rule("R16", "R17")
@pytest.mark.parametrize("act", OURS, ids=" ".join)
def test_an_edit_at_any_moment_of_a_run_is_kept(scene: Scene, act: tuple[str, str]) -> None:
    at, reached = 0, True
    while reached:
        at += 1
        life = Life(scene)
        life.connect()
        life.book()
        life.interrupt(at, lambda: life.change_ours(0, act))  # noqa: B023 - runs within
        reached = life.interrupted
        life.end()
    assert at > 4


@pytest.mark.rule("R16")
def test_what_was_pushed_a_moment_ago_is_withdrawn_though_reads_lag(life: Life) -> None:
    life.person.fault("lag", after=40)
    life.book()
    life.sync()
    life.change_ours(index=1, act=("platform", "withdraw"))
    life.sync()
    life.settle()


@pytest.mark.rule("R16")
def test_a_lost_answer_and_lagging_reads_double_nothing(life: Life) -> None:
    life.person.fault("lag", after=120)
    life.person.fault("reset", method="PUT", when="after", times=1)
    life.book()
    life.sync()
    life.scene.clock.advance(40)
    life.sync()
    life.settle()


@pytest.mark.rule("R17")
def test_moved_a_moment_ago_it_is_not_cancelled_though_reads_lag(life: Life) -> None:
    life.person.fault("lag", after=40)
    life.change_ours(index=0, act=("phone", "move"))
    life.sync()
    life.settle()
    assert len(life.person.local_uids()) == 1


@pytest.mark.rule("R17")
def test_moved_on_the_phone_and_withdrawn_here_it_is_deleted_there(life: Life) -> None:
    life.change_ours(index=0, act=("phone", "move"))
    life.change_ours(index=0, act=("platform", "withdraw"))
    life.sync()
    life.settle()
    assert len(life.person.all_foreign()) == 5


@pytest.mark.rule("R9", "R16", "R17")
@pytest.mark.parametrize("also", ["title", "withdraw"])
def test_whenever_a_process_dies_the_next_one_finishes_its_work(scene: Scene, also: str) -> None:
    at, died = 0, True
    while died:
        at += 1
        life = Life(scene)
        life.connect()
        for _ in range(4):
            life.book()
        life.sync()
        for index, act in enumerate([("phone", "time"), ("phone", "delete"), ("phone", "move")]):
            life.change_ours(index=index, act=act)
        life.change_ours(index=0, act=("platform", also))
        life.change_ours(index=3, act=("platform", "withdraw"))
        life.book()
        for index, act in enumerate(["add", "edit", "delete", "move", "split"]):
            life.change_on_the_phone(index=index, act=act)
        life.sync_and_crash(at=at, seconds=61)
        died = life.died
        life.end()
    assert at > 15


@pytest.mark.rule("R9", "R16")
def test_whenever_a_process_dies_in_a_first_sync_it_is_finished(scene: Scene) -> None:
    at, died = 0, True
    while died:
        at += 1
        life = Life(scene)
        life.connect(sync=False)
        for index in range(8):
            life.change_on_the_phone(index=index, act="add")
        life.book()
        life.sync_and_crash(at=at, seconds=61)
        died = life.died
        life.end()
    assert at > 5


@pytest.mark.rule("R17")
def test_deleted_there_in_the_second_it_was_pushed_it_is_cancelled(scene: Scene) -> None:
    life = Life(scene)
    life.connect()
    life.person.fault("passed-untold")
    life.book()
    life.sync()
    life.change_ours(index=0, act=("phone", "delete"))
    life.change_on_the_phone(index=0, act="add")  # else the answer is empty, and that is no proof
    life.settle()
    assert life.person.local_uids() == []
