"""C6: the disk is full, read-only, unplugged or slow. Requests are answered, what is not on the disk is said to be unsaved (list,
metric, log), and when the disk comes back it is saved. S9, S12 and O3 under the same faults.
"""
import re
import threading
import time

import pytest
from fakes import add, in_threads, long_text, saved, seconds, wait_until, warm_talk
from hotseat_harness import Answer, Talk
from life import References, check_figures

FAULTS = ["disk_full", "disk_readonly"]
SOON = 12  # s: the seat asks the disk every 4 s, and looks at its idle sequences every second
QUICK = ["--patience", "0", "--stay-min", "0", "--wait-bound", "0", "--pool", "24M"]


@pytest.fixture
def references(models, tmp_path):
    made = References(tmp_path, models)
    yield made
    made.stop()


def on(s, fault, arg=None):
    s.fault(fault, times=-1, arg=arg)


def off(s, fault):
    s.fault(fault, times=0)


def agents(s):
    return {a["id"]: a for a in s.get("/admin/agents").ok()["agents"]}


def unsaved(s):
    return s.metrics().sum("hotseat_agents_unsaved")


def cache_is_on(s):
    return s.get("/admin/cache").ok().get("on", True)


def twin(references, talk):
    """The same conversation on a server without any trouble, up to now."""
    other = Talk(references[talk.model], talk.model, agent=talk.agent)
    other.messages = [m for m in talk.messages if m["role"] == "system"]
    for m in talk.messages:
        if m["role"] == "user":
            other.say(m["content"])
    assert other.messages == talk.messages
    return other


def check_same(answer, r):
    assert answer.text == r.text and answer.logits == r.logits and answer.logits
    if answer.cached == r.cached:
        assert answer.kv == r.kv


@pytest.mark.parametrize("model", ["a", "w"])
@pytest.mark.parametrize("fault", FAULTS)
def test_c6_answered_shown_as_unsaved_and_saved_later(server, references, fault, model):
    s = server(model=model)
    ann = warm_talk(s, model, agent="ann", n=1200)
    saved(s)
    files = s.block_files()
    assert unsaved(s) == 0 and all(a["saved"] for a in agents(s).values())
    on(s, fault)
    zoe = Talk(s, model, agent="zoe", system=long_text(800, "zoe"))
    for talk in (ann, zoe):
        assert talk.say("while the disk is of no use [[len=300]]").finish == "stop"
    wait_until(lambda: not agents(s)["ann"]["saved"] and "zoe" in agents(s) and not agents(s)["zoe"]["saved"], what="shown as unsaved")
    wait_until(lambda: unsaved(s) == 2, what="the metric")
    assert s.metrics().sum("hotseat_cache_write_failures_total") > 0
    assert ann.say("still here [[len=20]]").cached > 1500, "the cells are as good as ever"
    assert set(s.block_files()) == set(files)
    off(s, fault)
    wait_until(lambda: all(a["saved"] for a in agents(s).values()), what="saved without being asked", timeout=SOON)
    wait_until(lambda: unsaved(s) == 0, what="the metric")
    check_figures(s)
    s.kill_everything()
    s.start()
    for talk in (ann, zoe):
        r = twin(references, talk).say("and after all [[len=40]]")
        answer = talk.say("and after all [[len=40]]")
        check_same(answer, r)
        assert answer.cached == r.cached, (answer.usage, r.usage)


def test_c6_a_disk_that_says_no_is_asked_little_and_noticed_soon(server):
    """However long it was away: what is not saved is saved some seconds after it is back; until then it is asked for one thing
    at a time."""
    s = server(model="a")
    on(s, "disk_full")
    for name in ("ann", "bob"):
        Talk(s, "a", agent=name, system=long_text(3000, name)).say("hello [[len=60]]")
    time.sleep(9)
    before = s.metrics().sum("hotseat_cache_write_failures_total")
    time.sleep(9)
    failures = s.metrics().sum("hotseat_cache_write_failures_total") - before
    assert 1 <= failures <= 4, "asked every 4 s, for one block"
    off(s, "disk_full")
    wait_until(lambda: all(a["saved"] for a in agents(s).values()), what="saved", timeout=SOON)


@pytest.mark.parametrize("fault", FAULTS)
def test_c6_the_warning_is_rate_limited(server, fault):
    s = server(model="a", log_level="warn")
    on(s, fault)
    began = time.monotonic()
    for i in range(40):
        Talk(s, "a", agent=f"agent-{i}", system=long_text(600, f"{i}"), max_tokens=10).say("hello")
    windows = (time.monotonic() - began) / 10 + 2
    wait_until(lambda: unsaved(s) == 40, what="the metric")
    lines = [line for line in s.log.splitlines() if "level=warn" in line or "level=error" in line]
    by_id = {}
    for line in lines:
        by_id.setdefault(re.search(r" id=(\S+)", line)[1], []).append(line)
    assert any(i in by_id for i in ("seat.put", "seat.note")), by_id
    for message, those in by_id.items():
        assert len(those) <= 5 * windows, (message, len(those))
    off(s, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_c6_swaps_go_on_and_old_turns_stay(server, references, fault):
    """What could not be saved is lost with a swap, and only that; nothing waits for a disk that says no."""
    s = server(model="a", options=QUICK)
    ann = warm_talk(s, "a", agent="ann", n=1200)
    saved(s)
    before = Answer(ann.answers[-1])
    on(s, fault)
    ann.say("this will be lost [[len=600]]")
    began = time.monotonic()
    assert s.swap("b", hold_s=0)["status"] == "swapped"
    assert time.monotonic() - began < seconds(12), "a sequence may wait 5 s for the disk, not for ever"
    assert s.chat("b", "[[say:b is fine]]", agent="bob")["choices"][0]["message"]["content"] == "b is fine"
    wait_until(lambda: unsaved(s) >= 1 and not agents(s)["ann"]["saved"], what="ann is shown as unsaved, out of the cells, too")
    r = twin(references, ann).say("who am I [[len=40]]")
    answer = ann.say("who am I [[len=40]]")
    check_same(answer, r)
    assert before.prompt <= answer.cached < r.cached, (answer.usage, r.usage)
    off(s, fault)
    wait_until(lambda: agents(s)["ann"]["saved"], what="saved", timeout=SOON)
    s.swap("b", hold_s=0)
    assert ann.say("now all of it [[len=10]]").cached >= answer.prompt


@pytest.mark.parametrize("fault", FAULTS)
def test_c6_s12_a_swap_without_news_asks_nothing_of_the_disk(server, fault):
    s = server(model="a", options=QUICK)
    ann = warm_talk(s, "a", agent="ann", n=1500)
    bob = warm_talk(s, "b", agent="bob", n=900)
    s.swap("a", hold_s=0)
    saved(s)
    files, failures = s.block_files(), s.metrics().sum("hotseat_cache_write_failures_total")
    on(s, fault)
    for model in "baba":
        answer = s.swap(model, hold_s=0)
        assert (answer["blocks_written"], answer["bytes_written"]) == (0, 0), answer
    assert s.block_files() == files
    assert unsaved(s) == 0 and all(a["saved"] for a in agents(s).values()), "nobody has lost anything"
    off(s, fault)
    assert ann.say("warm [[len=10]]").cached > 1500 and bob.say("warm [[len=10]]").cached > 900
    assert s.metrics().sum("hotseat_cache_write_failures_total") == failures


@pytest.mark.parametrize("fault, arg", [("disk_full", None), ("disk_readonly", None), ("disk_slow", 20)])
def test_c6_s9_parked_stream_goes_on_with_the_same_text(server, models, fault, arg):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=QUICK)
    ask = dict(messages=long_text(700) + "park me [[len=300]]", agent="ann", temperature=0.8, seed=5)
    reference = s.stream("a", **dict(ask, agent="reference")).read_all()
    on(s, fault, arg)
    stream = s.stream("a", **ask)
    events = iter(stream)
    for _ in range(10):
        next(events)
    swap = s.swap("b", drain_timeout_s=0.1, hold_s=0)
    assert swap["parked"] == 1, swap
    assert s.chat("b", "[[say:meanwhile]]")["choices"][0]["message"]["content"] == "meanwhile"
    for _ in events:
        pass
    assert stream.error is None and stream.done, stream.raw[-500:]
    assert stream.text == reference.text
    assert stream.usage["completion_tokens"] == reference.usage["completion_tokens"]
    off(s, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_c6_o3_sigterm_does_not_wait_for_a_disk_that_says_no(server, references, fault):
    s = server(model="a")
    ann = warm_talk(s, "a", agent="ann", n=1200)
    saved(s)
    on(s, fault)
    ann.say("this will be lost [[len=300]]")
    began = time.monotonic()
    s.stop()
    assert time.monotonic() - began < seconds(20)
    s.start()
    r = twin(references, ann).say("who am I [[len=40]]")
    answer = ann.say("who am I [[len=40]]")
    check_same(answer, r)
    assert 1200 < answer.cached <= r.cached


# ---- a slow disk ----

def test_c6_a_slow_disk_never_slows_a_token(server, models):
    """Each call to the disk takes a second, and blocks are on their way all the time; no token ever waits for one of them."""
    add(models, "a", seed=0, step_us=2000)
    s = server(model="a")
    s.chat("a", "[[say:warm up]]")
    on(s, "disk_slow", 1000)
    stop = threading.Event()

    def others():
        for i in range(100):
            if stop.is_set():
                return
            s.chat("a", long_text(600, f"{i}") + "[[len=5]]", agent=f"agent-{i}")
    stream = s.stream("a", "go [[len=900]]", agent="ann")  # its own blocks fill three times
    writer = threading.Thread(target=others, daemon=True)
    writer.start()
    events = 0
    for _ in stream:
        events += 1
    stop.set()
    assert stream.done and len(stream.text.encode()) == 900
    assert s.metrics().sum("hotseat_cache_dirty_bytes") > 0 or not agents(s)["ann"]["saved"], "the disk was not behind: this proves nothing"
    gaps = sorted(b - a for a, b in zip(stream.times, stream.times[1:]))
    assert events > 100 and gaps[-1] < seconds(0.8), f"gaps between tokens: {gaps[-5:]}"
    off(s, "disk_slow")
    writer.join(seconds(60))
    assert not writer.is_alive(), "who waited for a plan got it"
    wait_until(lambda: all(a["saved"] for a in agents(s).values()), what="all is saved", timeout=SOON)


def test_c6_a_slow_disk_is_only_slow(server, references):
    """Turns, swaps and figures with 20 ms a call: all is as it should be, later."""
    s = server(model="a", options=QUICK)
    on(s, "disk_slow", 20)
    ann, wim = (Talk(s, m, agent=n, system=long_text(700, n)) for n, m in (("ann", "a"), ("wim", "w")))
    for i in range(2):
        for talk in (ann, wim):
            talk.say(f"turn {i} [[len=60]]")
    for talk in (ann, wim):
        r = twin(references, talk).say("next [[len=20]]")
        answer = talk.say("next [[len=20]]")
        check_same(answer, r)
        assert answer.cached == r.cached, (talk.agent, answer.usage, r.usage)
    assert unsaved(s) == 0
    off(s, "disk_slow")
    check_figures(s)


# ---- an unplugged one ----

def test_c6_folder_taken_away_and_put_back(server, references, tmp_path):
    s = server(model="a", options=QUICK)
    ann, bob = warm_talk(s, "a", agent="ann", n=1200), warm_talk(s, "b", agent="bob", n=700)
    saved(s)
    s.cache.rename(tmp_path / "away")
    s.cache.write_text("nothing can be stored under this name")
    assert cache_is_on(s)
    for talk in (ann, bob):
        r = twin(references, talk).say("the disk is gone [[len=200]]")
        answer = talk.say("the disk is gone [[len=200]]")
        check_same(answer, r)
    wait_until(lambda: unsaved(s) >= 1 and not agents(s).get("bob", {"saved": True})["saved"], what="bob is shown as unsaved")
    assert not cache_is_on(s), "a plain file in the folder's place was taken for a disk that fails now and then"
    assert s.swap("a", hold_s=0)["status"] == "swapped"
    check_same(ann.say("still no disk [[len=20]]"), twin_last(references, ann))
    s.cache.unlink()
    (tmp_path / "away").rename(s.cache)
    ann.say("it is back [[len=20]]")
    wait_until(lambda: talk_saved(s, ann), what="ann is saved", timeout=SOON)
    assert {"ann", "bob"} <= set(agents(s)), "what was on the disk is there again"
    assert cache_is_on(s)
    s.restart()
    for talk in (ann, bob):
        r = twin(references, talk).say("and now [[len=20]]")
        answer = talk.say("and now [[len=20]]")
        check_same(answer, r)
        assert answer.cached == r.cached if talk is ann else 700 < answer.cached <= r.cached, (talk.agent, answer.usage, r.usage)


def twin_last(references, talk):
    """What a server without trouble says to the last question of talk."""
    before = Talk(talk.server, talk.model, agent=talk.agent)
    before.messages = talk.messages[:-2]
    return twin(references, before).say(talk.messages[-2]["content"])


def talk_saved(s, talk):
    """The store's own row reaches to the end of the last answer, and says it is saved."""
    a, last = agents(s).get(talk.agent), Answer(talk.answers[-1])
    return a and a["saved"] and a["blocks"] and a["tokens"] >= last.prompt + last.generated - 2


def test_c6_folder_removed_is_made_anew(server, references, tmp_path):
    s = server(model="a")
    ann = warm_talk(s, "a", agent="ann", n=1200)
    saved(s)
    s.cache.rename(tmp_path / "away")
    ann.say("where is it [[len=200]]"), ann.say("there it is [[len=20]]")
    wait_until(lambda: talk_saved(s, ann), what="ann is saved in the new folder", timeout=SOON)
    check_figures(s)
    assert (s.cache.stat().st_mode & 0o777) == 0o700
    s.restart()
    r = twin(references, ann).say("and now [[len=20]]")
    answer = ann.say("and now [[len=20]]")
    check_same(answer, r)
    assert answer.cached == r.cached, (answer.usage, r.usage)


def test_c6_blocks_taken_away_and_put_back(server, references, tmp_path):
    """Two folders change places under a running server, twice."""
    s = server(model="a", options=QUICK)
    ann = warm_talk(s, "a", agent="ann", n=1200)
    saved(s)
    blocks = s.cache / "blocks"
    for i in range(2):
        blocks.rename(tmp_path / f"away-{i}")
        s.swap("b", hold_s=0)
        answer = ann.say(f"without {i} [[len=60]]")
        check_same(answer, twin_last(references, ann))
        if blocks.exists():
            blocks.rename(tmp_path / f"between-{i}")
        (tmp_path / f"away-{i}").rename(blocks)
        answer = ann.say(f"with {i} [[len=60]]")
        check_same(answer, twin_last(references, ann))
        wait_until(lambda: talk_saved(s, ann), what="ann is saved", timeout=SOON)
    assert s.get("/admin/cache").ok()["refused"]["corrupt"] == 0
    s.kill_everything()
    s.start()
    r = twin(references, ann).say("and now [[len=20]]")
    answer = ann.say("and now [[len=20]]")
    check_same(answer, r)
    assert answer.cached == r.cached, (answer.usage, r.usage)


def test_c6_disk_full_for_some_of_many(server, models):
    """The disk is full for a while, while eight agents write; afterwards everybody is saved, and figures equal files."""
    add(models, "a", seed=0, step_us=2000)
    s = server(model="a", options=["--parallel", "8"])
    talks = [Talk(s, "a", agent=f"agent-{i}", system=long_text(500 + 60 * i, f"{i}")) for i in range(8)]

    done = threading.Event()

    def speak():
        _, errors = in_threads([lambda t=t: [t.say(f"turn {i} [[len=60]]") for i in range(5)] for t in talks])
        done.set()
        assert errors == [None] * 8

    def failures():
        return s.metrics().sum("hotseat_cache_write_failures_total")

    def disk():
        while not done.is_set():
            on(s, "disk_full")
            before = failures()
            wait_until(lambda: done.is_set() or failures() > before, what="a failure")
            off(s, "disk_full")
    _, errors = in_threads([speak, disk])
    assert errors == [None, None]
    wait_until(lambda: failures() > 0, what="a failure")
    wait_until(lambda: len(agents(s)) == 8 and all(a["saved"] for a in agents(s).values()), what="all are saved", timeout=SOON)
    check_figures(s)
    s.kill_everything()
    s.start()
    for t in talks:
        last = Answer(t.answers[-1])
        assert t.say("and now [[len=10]]").cached >= last.prompt + last.generated - 2
