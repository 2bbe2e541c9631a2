"""S14 and C1 with real models: everything is killed at random moments of a life on SmolLM2 and Gemma; what comes after each start
equals, in KV bytes, logits and text, a server that was never killed. HOTSEAT_LONG=1: 50 kills instead of 5.
"""
import random
import threading
import time

import pytest
from hotseat_harness import GEMMA, LONG, SMOL, Answer, Talk, wait_until
from life import GONE, seed_of_run
from real_talk import CONFIG, OPTIONS, SYSTEM, TURNS, check_counts, link_models, start

KILLS = 50 if LONG else 5
MODELS = [SMOL, GEMMA]
QUICK = [*OPTIONS, "--stay-min", "0", "--wait-bound", "0"]
TOKENS = 8


class Teller:
    """One agent that tells its story page by page, from the beginning again when it is through, and its twin on a quiet server."""

    def __init__(self, s, quiet, model, name, rng):
        self.s, self.quiet, self.model, self.name, self.rng = s, quiet, model, name, rng
        self.round, self.pages = 0, []
        self.talk = self.twin = self.sent = None
        self.saved_turns = self.compared = 0
        self.begin()

    def begin(self):
        """On the quiet server nothing of the last round stays: it would leave the cells after a minute, in the middle of a turn perhaps,
        and what is read then fills the hole. A sum over cells in another order has other bits (real_talk.py)."""
        self.quiet.request("DELETE", f"/admin/agents/{self.name}?model={self.model}")
        self.round += 1
        first = f"This is {self.name}, for the {self.round}. time. "
        self.pages = [first + TURNS[0], *TURNS[1:3]]
        system = None if self.model == GEMMA else SYSTEM
        self.talk, self.twin = (Talk(server, self.model, agent=self.name, system=system, max_tokens=TOKENS, seed=1)
                                for server in (self.s, self.quiet))
        self.saved_turns = 0
        self.states, self.parted, self.cut = [], False, set()

    def say(self):
        """The next page. An answer that did not come leaves the talk as it was."""
        if len(self.talk.answers) == len(self.pages):
            self.check()
            self.begin()
        messages = list(self.talk.messages)
        try:
            return self.talk.say(self.pages[len(self.talk.answers)])
        except GONE:
            self.talk.messages = messages
            self.cut.add(len(self.talk.answers))
            raise

    def check(self, least=None):
        """The twin catches up; every answer of ours is compared with its own. Gemma's bits depend on how many tokens were read
        at once: where another number was cached, or other chunks may have been read, what follows is not compared to the bit (real_talk.py)."""
        while len(self.twin.answers) < len(self.talk.answers):
            k = len(self.twin.answers)
            ours = Answer(self.talk.answers[k])
            first = len(self.talk.messages) - 2 * len(self.talk.answers)
            self.twin.messages = list(self.talk.messages[:first + 2 * k])
            r = self.twin.say(self.pages[k])
            self.states.append(r.cached)
            what = f"{self.name} on {self.model}, round {self.round}, page {k}: cached {ours.cached}, quiet {r.cached}"
            check_counts(ours)
            # Of a reading that was cut off there may be a block on disk that can't be gone on from: it is known as a branch, where the next
            # reading's chunk ends.
            chunks = k in self.cut and ours.usage["prompt_tokens"] // 256 * 256 > ours.cached
            if self.model != SMOL and (ours.cached != r.cached or chunks):
                self.parted = True
            if not self.parted:
                assert ours.text == r.text, f"text: {what}"
                assert ours.cached != r.cached or ours.kv == r.kv, f"KV bytes: {what}"
                self.compared += ours.cached == r.cached > 0
            assert ours.cached >= (r.cached if least is None else self.states[least]), what

    def is_saved(self):
        n = len(self.talk.answers)
        r = self.s.get(f"/admin/agents/{self.name}?model={self.model}")
        if r.status != 200 or not r.json()["agents"][0]["saved"]:
            return False
        self.saved_turns = n
        return True


@pytest.mark.timeout(3000)
@pytest.mark.xdist_group("kill")
def test_s14_real_models_killed_at_random_moments(real_server, tmp_path):
    seed = seed_of_run()
    print(f"HOTSEAT_SEED={seed}")
    rng = random.Random(seed)
    quiet = {m: start(tmp_path / f"quiet-{m[:5]}", m, models=link_models(tmp_path / f"quiet-models-{m[:5]}", m)) for m in MODELS}
    s = real_server(*MODELS, options=QUICK, config=CONFIG, model=SMOL)
    tellers = [Teller(s, quiet[m], m, f"teller-{m[:5]}", rng) for m in MODELS]
    try:
        for _ in range(KILLS):
            stop, errors = threading.Event(), []

            def live(t):
                try:
                    while not stop.is_set():
                        t.say()
                        wait_until(lambda: stop.is_set() or t.is_saved(), what=f"{t.name} is saved", every=0.01)
                except GONE:
                    pass
                except Exception as e:  # noqa: BLE001 - looked at below
                    errors.append(e)
            threads = [threading.Thread(target=live, args=(t,), daemon=True) for t in tellers]
            for t in threads:
                t.start()
            time.sleep(rng.uniform(0.2, 4 if LONG else 1.5))
            s.kill_everything()
            stop.set()
            for t in threads:
                t.join(60)
                assert not t.is_alive(), "a client hangs"
            assert not errors, errors
            s.start()
            there = {(a["id"], a["model"]) for a in s.get("/admin/agents").ok()["agents"]}
            for t in rng.sample(tellers, len(tellers)):
                t.check()
                assert not t.saved_turns or (t.name, t.model) in there, f"{t.name} has vanished"
                if len(t.talk.answers) == len(t.pages):
                    t.begin()
                least = t.saved_turns
                t.say()
                t.check(least=least)
            assert not any(s.get("/admin/cache").ok()["refused"].values())
            wait_until(lambda: all([t.is_saved() for t in tellers]), what="all are saved")
        for t in tellers:  # chance may have cut off every turn that could be compared: one more end, between two turns
            t.begin()
            t.say()
            t.check()
        wait_until(lambda: all([t.is_saved() for t in tellers]), what="all are saved")
        s.kill_everything()
        s.start()
        for t in tellers:
            before = t.compared
            t.say()
            t.check()
            assert t.compared > before, "nothing was compared to the bit"
    finally:
        for q in quiet.values():
            q.stop()
            q.check_log()
