"""A life of several agents on several models, for tests that end it at random moments, and what must be true after the next start.

An agent talks with one model, over and over: it goes on, now and then takes back its last question, now and then begins anew. What
it was answered is looked at against servers (one a model) that are never swapped and never ended: text and logits always, the KV
bytes' hash where as much was reused. How much must have been reused is what that server had in its cells, too:
  a turn in a life that nobody has disturbed           all of it
  the first turn after an end, all was saved before    all of it
  the same, the last turn may not have been saved      what was there before that turn
"""
import http.client
import os
import pathlib
import random
import threading
import time

from fakes import long_text
from hotseat_harness import Answer, ApiError, Server, wait_until

OPTIONS = ["--patience", "0", "--stay-min", "0", "--wait-bound", "0", "--parallel", "8", "--pool", "24M"]
# Speeds that put a kill into the middle of a prompt, an answer or a load.
SPEED = {"HOTSEAT_FAKE_STEP_US": 400, "HOTSEAT_FAKE_LOAD_MS": 10}
TOKENS_MAX = 5000  # then an agent begins anew
GONE = (OSError, http.client.HTTPException)


def seed_of_run():
    """HOTSEAT_SEED, or one drawn now; the test prints it."""
    return int(os.environ.get("HOTSEAT_SEED") or random.SystemRandom().randrange(1 << 32))


class References:
    """For each model a server that does nothing else, on the same files."""

    def __init__(self, folder, models, seat="fake", **kw):
        self.folder, self.models, self.seat, self.kw, self.servers = folder, models, seat, kw, {}

    def __getitem__(self, model):
        if model not in self.servers:
            kw = dict(self.kw, options=["--parallel", "16", "--pool", "64M", *self.kw.get("options", [])], debug=True, model=model, log_level="warn")
            self.servers[model] = Server(self.folder / f"reference-{model[:8]}", self.models, seat=self.seat, **kw).start()
        return self.servers[model]

    def stop(self):
        for s in self.servers.values():
            s.stop()
            s.check_log()


class Person:
    """One agent on one model."""

    def __init__(self, name, model, seed, size=(300, 900)):
        self.name, self.model, self.size = name, model, size
        self.rng = random.Random(f"{seed}/{name}/{model}")
        self.pinned = None          # as the server has confirmed; None: not known
        self.known = False          # the server has once said that it is saved
        self.conversations = 0
        self.sent = None            # (messages, is an edit): asked, not answered
        self.states = {}            # by conversation: what the reference had in its cells after so many turns
        self.unchecked = []
        self.begin()

    def begin(self):
        self.conversations += 1
        self.messages = []
        self.n_answered = self.n_saved = 0
        self.edited_at = -1         # the last turn that took one back
        self.tokens = 0

    def __repr__(self):
        return f"{self.name} on {self.model}, conversation {self.conversations}, turn {self.n_answered}"

    def question(self):
        return long_text(self.rng.randrange(20, 250), salt=f"{self.rng.random():.6f}") + f" [[len={self.rng.randrange(10, 70)}]]"

    def next_messages(self):
        if self.tokens > TOKENS_MAX:
            self.begin()
        if not self.messages:
            salt = f"{self.name} {self.model} {self.rng.random():.9f}"
            return [{"role": "system", "content": long_text(self.rng.randrange(*self.size), salt=salt)},
                    {"role": "user", "content": self.question()}], False
        edit = self.n_answered > 1 and self.rng.random() < 0.1
        kept = self.messages[:-2] if edit else self.messages
        return [*kept, {"role": "user", "content": self.question()}], edit

    def say(self, s, after_end=False, may_change=False, **params):
        """One turn; what was asked in vain is asked again, if it may change now and then something else. Raises what the connection raised."""
        if self.sent is None or (may_change and self.rng.random() < 0.3):
            self.sent = self.next_messages()
        messages, edit = self.sent
        answer = Answer(s.chat(self.model, messages, agent=self.name, debug=True, **params))
        n_saved = self.n_saved if self.n_saved > self.edited_at else 0
        self.unchecked.append((self.conversations, self.n_answered, messages, answer, edit, after_end, n_saved, params))
        self.messages = [*messages, {"role": "assistant", "content": answer.text}]
        self.sent = None
        if edit:
            self.edited_at = self.n_answered
        self.n_answered += 1
        self.tokens = answer.prompt + answer.generated
        return answer

    def is_saved(self, s):
        """Looks; when the server says so, all that was answered until now must be there for ever."""
        n = self.n_answered
        r = s.get(f"/admin/agents/{self.name}?model={self.model}")
        if r.status == 404:
            return False
        if not r.ok()["agents"][0]["saved"]:
            return False
        self.n_saved, self.known = n, True
        return True

    def check(self, references):
        """Compares the answers since the last time."""
        for conversation, n, messages, answer, edit, after_end, n_saved, params in self.unchecked:
            r = Answer(references[self.model].chat(self.model, messages, agent=self.name, debug=True, **params))
            states = self.states.setdefault(conversation, [])
            assert len(states) == n, (self, states, n)
            states.append(r.cached)
            what = f"{self.name} on {self.model}, turn {n}, after an end: {after_end}, cached {answer.cached}, reference {r.cached}"
            assert answer.text == r.text, f"another text: {what}\n{answer.text}\n{r.text}"
            assert answer.logits == r.logits and answer.logits, f"other logits: {what}"
            assert answer.cached <= answer.prompt - 1, what
            assert answer.decoded <= answer.prompt - answer.cached + answer.generated + 1, (what, answer.hotseat)
            if answer.cached == r.cached:
                assert answer.kv == r.kv, f"other KV bytes: {what}"
            if edit:
                continue
            least = states[n_saved] if after_end else r.cached
            assert answer.cached >= least, f"{what}, at least {least}: saved were {n_saved} turns of {states}"
        self.unchecked = []


class Life:
    """All of them on one server. end(how) ends it while they talk; check() starts it again and looks."""

    def __init__(self, server, references, seed, who):
        self.s, self.references = server, references
        self.rng = random.Random(seed)
        self.people = [Person(name, model, seed) for name, model in who]
        self.visitor = None  # a person whose deletion was confirmed
        self.errors = []
        self.ends = 0
        self.was_killed = False  # the last end
        self.asked_at = {}

    # ---- living ----

    def asked(self, p):
        self.asked_at[p] = time.monotonic()

    def _talk(self, p, polite, stop):
        try:
            while not stop.is_set():
                self.asked(p)
                p.say(self.s)
                if polite:
                    wait_until(lambda: stop.is_set() or self.asked(p) or p.is_saved(self.s), what=f"{p} is saved", every=0.01)
        except GONE as e:
            self.gone.append((self.asked_at[p], p, e))
        except ApiError as e:
            self.refused.append(e)
        except Exception as e:  # noqa: BLE001 - the main thread raises it
            self.errors.append(e)

    def _administrate(self, visitor, stop):
        """Pins one, and has a visitor come, be saved, and be deleted."""
        pinned = self.rng.choice(self.people)
        try:
            wish = self.rng.random() < 0.7
            pinned.pinned = None
            r = self.s.post(f"/admin/agents/{pinned.name}/{'pin' if wish else 'unpin'}?model={pinned.model}")
            if r.status != 404:  # not on the disk yet
                r.ok()
                pinned.pinned = wish
            while not stop.is_set():
                visitor.say(self.s)
                wait_until(lambda: stop.is_set() or visitor.is_saved(self.s), what=f"{visitor} is saved", every=0.01)
                if not visitor.known:
                    return
                self.visitor = None  # from now on it may be there or not
                gone = self.s.request("DELETE", f"/admin/agents/{visitor.name}?model={visitor.model}").ok()
                assert gone["files"] > 0, gone
                self.visitor = (visitor, visitor.messages[:-1])
                return
        except GONE as e:
            self.gone.append((time.monotonic(), visitor, e))
        except ApiError as e:
            if e.code != "no_seat":  # a seat that kept memory (a sanitizer's) was replaced during the deletion; it answers 503 then
                self.refused.append(e)
        except Exception as e:  # noqa: BLE001
            self.errors.append(e)

    def live(self, end, least_s=0.0, most_s=0.4):
        """Everybody talks; after a random time end() is called."""
        self.gone, self.refused, self.was_killed = [], [], False
        stop = threading.Event()
        visitor = Person(f"visitor-{self.ends}", self.rng.choice(self.people).model, self.rng.random())
        threads = [threading.Thread(target=self._talk, args=(p, self.rng.random() < 0.5, stop), daemon=True) for p in self.people]
        threads.append(threading.Thread(target=self._administrate, args=(visitor, stop), daemon=True))
        for t in threads:
            t.start()
        time.sleep(self.rng.uniform(least_s, most_s))
        ended_at = time.monotonic()
        end()
        self.ends += 1
        stop.set()
        for t in threads:
            t.join(60)
            assert not t.is_alive(), "a client hangs"
        visitor.check(self.references)
        if self.errors:
            raise self.errors[0]
        return ended_at

    def killed(self):
        """kill -9 of front and seats while they talk. Nobody may have been refused until then."""
        self.live(self.s.kill_everything)
        self.was_killed = True
        assert not self.refused, self.refused

    def start(self):
        """Starts it; now and then it is killed while it opens its store."""
        while self.rng.random() < 0.2:
            self.s.start(ready=False)
            time.sleep(self.rng.uniform(0, 0.08))
            self.s.kill_everything()
            self.ends += 1
        self.s.start()

    # ---- looking ----

    def agents(self):
        return {(a["id"], a["model"]): a for a in self.s.get("/admin/agents").ok()["agents"]}

    def all_saved(self):
        wait_until(lambda: all([p.is_saved(self.s) for p in self.people if p.n_answered]), what="all are saved")

    def check(self):
        """After a start: who was there is there, everybody's next turn is right, and nothing was found damaged."""
        there = self.agents()
        for p in self.people:
            if p.known:
                assert (p.name, p.model) in there, f"{p} has vanished: {sorted(there)}"
            if p.known and p.pinned is not None:
                assert there[p.name, p.model]["pinned"] == p.pinned, p
        if self.visitor:
            assert (self.visitor[0].name, self.visitor[0].model) not in there, "deleted, and back again"
        models = sorted({p.model for p in self.people})
        self.rng.shuffle(models)
        for model in models:
            for p in self.people:
                if p.model == model:
                    # Of a turn that a kill cut off the server may have known the end, unlike its client: then another question is an
                    # edit, and goes on from further back.
                    p.say(self.s, after_end=True, may_change=not self.was_killed)
            if self.visitor and self.visitor[0].model == model:
                v, messages = self.visitor
                again = Answer(self.s.chat(v.model, messages, agent=v.name, debug=True))
                assert again.cached == 0, f"blocks of a deleted agent were used: {again.usage}"
                self.s.request("DELETE", f"/admin/agents/{v.name}?model={v.model}")
                self.visitor = None
        self.all_saved()
        for p in self.people:
            p.check(self.references)
        cache = self.s.get("/admin/cache").ok()
        assert not any(cache["refused"].values()), cache["refused"]
        assert cache["quarantined"] == 0
        assert not list((self.s.cache / "blocks").rglob(".tmp-*")), "a temporary file was left behind"


def settled(s):
    """Nothing waits for the disk, in the seat's figures of this moment."""
    def look():
        agents = s.get("/admin/agents").ok()["agents"]
        return all(a["saved"] for a in agents)
    wait_until(look, what="all agents are on the disk")


def check_figures(s, settle=True):
    """What GET /admin/agents and /admin/cache say, against the files: names, counts, bytes. Nothing may be written meanwhile.
    settle=False: some may be in the cells only (the budget has evicted them); the caller knows that the disk is quiet."""
    if settle:
        settled(s)
    files = {}
    for name, (_, _, _, size) in s.block_files().items():
        stem, kind = name.rsplit("/", 1)[1].split(".")
        assert kind in ("kv", "win"), name
        files.setdefault((name.split("/")[1], stem), {})[kind] = size
    assert all("kv" in parts for parts in files.values()), "a window part without its block"
    headers = {key: read_header(s.cache, key) for key in files}
    cache = s.get("/admin/cache").ok()
    assert cache["blocks"] == len(files)
    by_tag = {m["tag"]: m for m in cache["models"]}
    for tag, m in by_tag.items():
        mine = {k: v for k, v in files.items() if k[0] == tag}
        assert m["blocks"] == len(mine), m
        assert m["bytes"] == sum(rounded(size) for parts in mine.values() for size in parts.values()), m
        assert m["agents"] == sum("chains" in a for a in s.get(f"/admin/agents?model={m['model']}").ok()["agents"])
    assert {tag for tag, _ in files} <= set(by_tag)
    wait_until(lambda: s.get("/admin/cache").ok()["bytes"] == folder_bytes(s.cache), what="bytes of the folder", timeout=5)
    owners = {}
    for key, h in headers.items():
        assert (h["tag"], h["name"]) == key
        if h["agent"]:
            owners.setdefault((h["agent"], h["model"]), []).append(key)
    tag_of = {m["model"]: m["tag"] for m in cache["models"]}
    agents = s.get("/admin/agents").ok()["agents"]
    listed = {(a["id"], a["model"]): a for a in agents if "chains" in a}
    # Whose first turn's end found no room has a file for its prompt's end, and is in the list for what is in the cells.
    missing = set(owners) - {(a["id"], a["model"]) for a in agents}
    assert not missing, f"in the files, and not in the list: {missing}"
    compared = 0
    for a in listed.values():
        chain = chain_of(headers, tag_of[a["model"]], a)
        if chain is None:
            continue
        compared += 1
        assert a["blocks"] == len(chain), (a, len(chain))
        assert a["bytes"] == sum(sum(files[k].values()) for k in chain), a
    return cache, compared


def folder_bytes(cache):
    """As the budget counts: files and folders in units of 4,096."""
    total = 4096 + (0 if (cache / "LOCK").exists() else 4096)
    for folder, folders, names in os.walk(cache):
        total += 4096 * len(folders)
        for n in names:
            try:
                total += rounded((pathlib.Path(folder) / n).stat().st_size)
            except FileNotFoundError:
                pass  # renamed or removed just now
    return total


def chain_of(headers, tag, a):
    """Of an agent with one chain: its blocks, if its end can be told by the files alone (one tail of its own that is as long)."""
    if a["chains"] != 1:
        return None
    ends = [k for k, h in headers.items() if k[0] == tag and h["agent"] == a["id"] and h["first_pos"] + h["n_tokens"] == a["tokens"]]
    if len(ends) != 1:
        return None
    chain, key = [], ends[0]
    while key[1] != "0" * 32:
        chain.append(key)
        key = (tag, headers[key]["parent"])
    return chain


def rounded(size):
    return (size + 4095) // 4096 * 4096


def read_header(cache, key):
    """docs/store-format.md, by somebody else than the store."""
    tag, name = key
    data = (cache / "blocks" / tag / name[:2] / f"{name}.kv").read_bytes()[:2048]
    return parse_header(data)


def parse_header(data):
    def number(at, size):
        return int.from_bytes(data[at:at + size], "little")
    assert data[:8] == b"hotseatB" and number(8, 4) == 1, data[:16]
    m, a, n = number(18, 2), number(20, 2), number(24, 4)
    assert number(12, 4) == 104 + m + a + 4 * n + 8
    return {"size": number(12, 4), "kind": data[16], "n_tokens": n, "first_pos": number(28, 4), "part": number(40, 8),
            "tag": data[56:72].hex(), "parent": data[72:88].hex(), "name": data[88:104].hex(), "model": data[104:104 + m].decode(),
            "agent": data[104 + m:104 + m + a].decode()}
