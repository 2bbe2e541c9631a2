"""C7: the budget on disk holds at every moment, what is pinned stays, also after a start with a smaller budget."""
import os
import pathlib
import signal
import threading
import time

from fakes import in_threads, long_text, saved, wait_until
from hotseat_harness import Answer, Talk
from life import check_figures, rounded

MB = 1 << 20


class Watch:
    """Looks at the folder's size again and again while the seat stands still (SIGSTOP): each look is one moment's truth."""

    def __init__(self, s):
        self.s, self.most, self.looks, self.stop = s, 0, 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _size(self):
        total = 4096
        for p in self.s.cache.rglob("*"):
            total += 4096 if p.is_dir() else rounded(p.stat().st_size)
        return total

    def _stands(self, pid):
        return all(t.read_text().rsplit(")", 1)[1].split()[0] == "T" for t in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"))

    def _run(self):
        pid = self.s.seat_pid()
        while not self.stop.is_set():
            try:
                self._look(pid)
            except ProcessLookupError:  # replaced by another one
                wait_until(lambda: self.s.seat_pid() not in (None, pid), what="the next seat")
                pid = self.s.seat_pid()
            time.sleep(0.004)

    def _look(self, pid):
        try:
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: self._stands(pid), what="the seat stands still", every=0.0005)
            self.most = max(self.most, self._size())
            self.looks += 1
        finally:
            os.kill(pid, signal.SIGCONT)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)


def quiet(s):
    """Nothing is written any more: the figures in the metrics are up to a second old, the files' are not."""
    seen = [None]

    def look():
        now = (s.metrics().sum("hotseat_cache_dirty_bytes"), s.metrics().sum("hotseat_blocks_written_total"), s.block_files())
        same, seen[0] = now == seen[0] and now[0] == 0, now
        return same
    wait_until(look, what="a quiet disk", every=1.2)


def agent(s, name):
    return s.get(f"/admin/agents/{name}").ok()["agents"][0]


def test_c7_budget_holds_at_every_moment_and_a_pinned_agent_stays(server):
    budget = 4 * MB
    s = server(model="a", options=["--cache-disk", budget, "--patience", "0", "--stay-min", "0", "--wait-bound", "0"])
    ann = Talk(s, "a", agent="ann", system=long_text(1500, "ann"))
    ann.say("hello [[len=60]]")
    saved(s)
    s.post("/admin/agents/ann/pin").ok()

    def writes(model, k):
        for i in range(6):
            talk = Talk(s, model, agent=f"{model}-{k}-{i}", system=long_text(900, f"{model}{k}{i}"))
            for j in range(2):
                talk.say(f"turn {j} [[len=100]]")
    with Watch(s) as watch:
        _, errors = in_threads([lambda m=m, k=k: writes(m, k) for m, k in (("a", 0), ("a", 1), ("w", 0), ("w", 1))])
        assert errors == [None] * 4
        wait_until(lambda: watch.looks > 30, what="some looks")
    print(f"{watch.looks} looks, at most {watch.most} of {budget} bytes")
    assert budget * 0.7 < watch.most <= budget, (watch.most, watch.looks)
    cache = s.get("/admin/cache").ok()
    assert cache["budget_bytes"] == budget and cache["bytes"] <= budget and cache["evicted"] > 0
    quiet(s)
    check_figures(s, settle=False)
    assert agent(s, "ann")["pinned"] is True
    s.swap("b", hold_s=0)
    last = Answer(ann.answers[-1])
    assert ann.say("still warm [[len=10]]").cached >= last.prompt + last.generated - 2

    # A smaller one at the next start: it holds from the first answer on, and the pinned one is still there.
    last = Answer(ann.answers[-1])
    saved(s)
    s.stop()
    smaller = 2 * MB
    s.options[1] = smaller
    s.start()
    cache = s.get("/admin/cache").ok()
    assert cache["budget_bytes"] == smaller and cache["bytes"] <= smaller
    with Watch(s) as watch:
        assert ann.say("warm after the start [[len=10]]").cached >= last.prompt + last.generated - 2
        writes("a", 7)
        wait_until(lambda: watch.looks > 10, what="some looks")
    assert watch.most <= smaller, watch.most
    assert agent(s, "ann")["pinned"] is True
    quiet(s)
    check_figures(s, settle=False)


def test_c7_a_live_change_of_the_budget_holds_at_once(server):
    s = server(model="a", config="cache-disk = 8M\n")
    for i in range(8):
        Talk(s, "a", agent=f"agent-{i}", system=long_text(1500, f"{i}")).say("hello [[len=60]]")
    saved(s)
    assert s.get("/admin/cache").ok()["bytes"] > 3 * MB
    (s.folder / "hotseat.ini").write_text("cache-disk = 3M\n")
    s.post("/admin/reload").ok()
    wait_until(lambda: s.get("/admin/cache").ok()["budget_bytes"] == 3 * MB, what="the new budget")
    assert s.get("/admin/cache").ok()["bytes"] <= 3 * MB
    quiet(s)
    check_figures(s, settle=False)


def test_c7_nothing_but_pinned_ones_and_a_full_budget_still_answers(server):
    """More is pinned than fits: what is new is refused, nobody is thrown out, and everybody is answered."""
    s = server(model="a", options=["--cache-disk", 2 * MB])
    talks = []
    for i in range(12):
        talks.append(Talk(s, "a", agent=f"agent-{i}", system=long_text(700, f"{i}")))
        talks[-1].say("hello [[len=40]]")
        s.post(f"/admin/agents/agent-{i}/pin")
    wait_until(lambda: s.get("/admin/cache").ok()["bytes"] <= 2 * MB, what="the budget holds")
    pinned = [a["id"] for a in s.get("/admin/agents").ok()["agents"] if a.get("pinned")]
    assert len(pinned) >= 3
    for t in talks:
        assert t.say("and again [[len=20]]").finish == "stop"
    assert s.get("/admin/cache").ok()["bytes"] <= 2 * MB
    left = {a["id"] for a in s.get("/admin/agents").ok()["agents"] if a.get("pinned")}
    assert set(pinned) <= left
