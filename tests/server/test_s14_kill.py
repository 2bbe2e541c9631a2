"""S14, C1, O3: everything is killed, or told to end, at random moments of a life on three models; after each start every agent
goes on, at most the turn that was running is lost, and every answer is the one of a server that nobody has ended.

HOTSEAT_SEED repeats a run's choices (the threads' order is the machine's); HOTSEAT_LONG=1 kills 1,000 times instead of 50.
"""
import time

import pytest
from fakes import add, long_text, seconds, wait_until
from hotseat_harness import LONG, Answer
from life import OPTIONS, SPEED, Life, Person, References, check_figures, seed_of_run

BATCHES = 25 if LONG else 5
KILLS = 1000 if LONG else 50
STOPS = 100 if LONG else 10
WHO = [("ann", "a"), ("bob", "a"), ("cid", "b"), ("dan", "b"), ("wim", "w"), ("wes", "w")]


@pytest.fixture
def references(models, tmp_path):
    made = References(tmp_path, models)
    yield made
    made.stop()


@pytest.fixture
def life(server, references, request):
    seed = f"{seed_of_run()}"
    print(f"HOTSEAT_SEED={seed}")
    s = server(model="a", options=OPTIONS, env=SPEED, log_level="info")
    return Life(s, references, f"{seed}/{request.node.name}", WHO)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_s14_kill_9_of_everything_at_random_moments(life, batch):
    life.check()
    while life.ends < KILLS // BATCHES:
        life.killed()
        life.start()
        life.check()
    figures, _ = check_figures(life.s)
    assert figures["hits"] > 0 and figures["corrupt"] == 0


@pytest.mark.parametrize("batch", range(2))
def test_o3_sigterm_at_random_moments_saves_everything(life, batch):
    """Exit status 0, who was being answered gets an answer or is told to come back, and not one finished turn is lost."""
    s = life.s
    life.check()
    while life.ends < STOPS // 2:
        s.options = [*OPTIONS, "--drain-timeout", life.rng.choice(["0", "0.1", "5"])]
        ended_at = life.live(s.stop)
        for asked_at, who, error in life.gone:
            assert asked_at > ended_at - 0.1, f"{who} had asked before and was left without an answer: {error!r}"
        assert all(e.code == "shutting_down" for e in life.refused), life.refused
        for p in life.people:
            p.n_saved = p.n_answered
        s.start()
        life.check()
    check_figures(s)


def test_s14_first_turn_of_all_is_the_running_one(life):
    """Killed before anybody was saved: nobody is owed anything, and all is as on the first day."""
    life.people = [Person(f"new-{i}", m, life.rng.random()) for i, m in enumerate("aabbww")]
    life.live(life.s.kill_everything, 0, 0.05)
    life.s.start()
    life.check()


def first_turn(server, models):
    """A stream that has read its prompt of 1,100 tokens, whose blocks are on the disk, and that answers slowly."""
    add(models, "slow", step_us=50000)
    s = server(model="slow")
    stream = s.stream("slow", long_text(1100, "ann") + "[[len=2000]]", agent="ann")
    next(iter(stream))
    wait_until(lambda: len(s.block_files()) == 5, what="four blocks and a tail")
    return s, stream


def test_s14_killed_in_the_first_turn_and_deleted(server, models):
    """What a turn has stored that never ended is its agent's: listed by that name, and freed with it."""
    s, _ = first_turn(server, models)
    time.sleep(seconds(1.5))  # the rows of full blocks are written when the disk has had nothing to do for a second
    s.kill_everything()
    s.start()
    ann = s.get("/admin/agents/ann").ok()["agents"][0]
    assert ann["tokens"] >= 1100 and ann["blocks"] == 5, ann
    check_figures(s)
    files = s.block_files()
    assert len(files) >= 5  # on a slow machine the answer's first block was full, too
    gone = {"deleted": 1, "files": len(files), "bytes": sum(f[3] for f in files.values())}
    assert s.request("DELETE", "/admin/agents/ann").ok() == gone
    assert s.block_files() == {}
    assert s.request("DELETE", "/admin/agents/ann").status == 404
    s.restart()
    assert s.get("/admin/agents").ok()["agents"] == []
    assert Answer(s.chat("slow", long_text(1100, "ann") + "[[len=20]]", agent="ann")).cached == 0


def test_c12_deleted_in_the_first_turn(server, models):
    s, stream = first_turn(server, models)
    gone = s.request("DELETE", "/admin/agents/ann").ok()
    assert gone["files"] == 5 and s.block_files() == {}, gone
    stream.close()


def test_s14_control_a_wrong_byte_turns_it_red(life):
    """Without this, all of the above could compare nothing with nothing."""
    life.check()
    life.s.kill_everything()
    life.s.start()
    life.s.fault("kv_flip", times=-1)
    with pytest.raises(AssertionError, match="another text|other logits|other KV bytes"):
        life.check()


def test_s14_control_a_lost_agent_turns_it_red(life):
    life.check()
    life.s.kill_everything()
    life.s.start()
    life.s.request("DELETE", "/admin/agents/cid").ok()
    with pytest.raises(AssertionError, match="vanished"):
        life.check()


def test_s14_control_a_lost_turn_turns_it_red(life, tmp_path):
    """Somebody else's folder in the place of ours: everybody starts cold."""
    life.check()
    life.s.kill_everything()
    (life.s.cache / "blocks").rename(tmp_path / "away")
    life.s.start()
    for p in life.people:
        p.known = False
    with pytest.raises(AssertionError, match="at least"):
        life.check()
