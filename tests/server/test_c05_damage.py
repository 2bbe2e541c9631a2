"""C5: what lies in the cache folder is damaged in every way, while the server runs, while it does not, and without its database:
a miss with a reason and a counter, the same text as ever, never a crash; the file is kept in quarantine; and the next turn mends it.

Each test first shows that the undamaged store hits. HOTSEAT_LONG=1 flips every byte of a header and more of the bodies.
"""
import os
import random
import shutil
import sqlite3

import gguf_writer
import pytest
from fakes import long_text, saved, wait_until
from hotseat_harness import LONG, Answer, Server, Talk
from life import References, parse_header, seed_of_run

QUESTION = "once more [[len=40]]"
LATER = "and then [[len=20]]"
OPTIONS = ["--patience", "0", "--stay-min", "0", "--wait-bound", "0", "--pool", "24M"]
ANNS = [f"ann-{i}" for i in range(24)]   # on a
WIMS = [f"wim-{i}" for i in range(8)]    # on w, with a window of 512
MODEL = {**{n: "a" for n in ANNS}, **{n: "w" for n in WIMS}}


class Farm:
    """A store that many agents have filled, to be copied and damaged, and what each of them is answered next."""

    def __init__(self, folder):
        self.folder, self.models, self.template = folder, folder / "models", folder / "template"
        self.models.mkdir()
        for i, name in enumerate("ab"):
            gguf_writer.write(self.models / f"{name}.gguf", name=f"fake {name}", seed=i, context=16384)
        gguf_writer.write(self.models / "w.gguf", architecture="gemma3", name="fake w", layers=6, seed=9, window=512, context=16384)
        self.references = References(folder, self.models)
        self.history, self.expected, self.later, self.chain = {}, {}, {}, {}

    def fill(self, s):
        for name, model in MODEL.items():
            talk = Talk(s, model, agent=name, system=long_text(1300, salt=name))
            for i in range(2):
                talk.say(f"turn {i} [[len=60]]")
            self.history[name] = talk.messages
        saved(s)
        s.stop()
        shutil.copytree(s.cache, self.template)
        for name, model in MODEL.items():
            r = Talk(self.references[model], model, agent=name)
            r.messages = list(self.history[name][:3])
            for m in self.history[name][3::2]:
                r.say(m["content"])  # so that it has the same in its cells
            r.messages = list(self.history[name])
            self.expected[name] = r.say(QUESTION)
            self.later[name] = (list(r.messages), r.say(LATER))
        self.read_chains()

    def read_chains(self):
        """The names of each agent's full blocks, from the first on, by the files alone."""
        blocks, tails = {}, []
        for p in self.template.rglob("*.kv"):
            h = dict(parse_header(p.read_bytes()[:2048]), path=p.relative_to(self.template))
            blocks[h["name"]] = h
            if h["agent"]:
                tails.append(h)
        for t in tails:
            chain, name = [], t["parent"]
            while name in blocks:
                chain.append(blocks[name])
                name = blocks[name]["parent"]
            assert name == "0" * 32 and len(chain) >= 5, "too short to say anything"
            self.chain[t["agent"]] = chain[::-1]


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    f = Farm(tmp_path_factory.mktemp("farm"))
    s = Server(f.folder / "filler", f.models, model="a", options=OPTIONS).start()
    try:
        f.fill(s)
    finally:
        s.kill()
    yield f
    f.references.stop()


class Patient:
    """A server on a copy of the farm's store."""

    def __init__(self, farm, server, folder, **kw):
        self.farm, self.cache = farm, folder / "cache"
        shutil.copytree(farm.template, self.cache)
        self.s = server(models=farm.models, model="b", options=OPTIONS, cache=self.cache, log_level="warn", start=False, **kw)

    def renew(self):
        shutil.rmtree(self.cache)
        shutil.copytree(self.farm.template, self.cache)

    def path(self, name, k, ending=".kv"):
        return (self.cache / self.farm.chain[name][k]["path"]).with_suffix(ending)

    def ask(self, name):
        """The next turn, whatever is cached: text and logits are the undisturbed ones."""
        return self._ask(name, self.farm.history[name], QUESTION, self.farm.expected[name])

    def _ask(self, name, history, question, r):
        messages = [*history, {"role": "user", "content": question}]
        answer = Answer(self.s.chat(MODEL[name], messages, agent=name, debug=True))
        assert answer.text == r.text and answer.logits == r.logits, f"{name}: a wrong answer with {answer.cached} cached"
        assert answer.decoded <= answer.prompt - answer.cached + answer.generated + 1
        if answer.cached == r.cached:
            assert answer.kv == r.kv, name
        return answer

    def shows_that_it_hits(self, names):
        """On the undamaged copy, which is renewed afterwards."""
        self.s.start()
        for name in names:
            assert self.ask(name).cached == self.farm.expected[name].cached > 1000, name
        assert not any(self.refused().values())
        self.s.stop()
        self.renew()

    def refused(self):
        return self.s.get("/admin/cache").ok()["refused"]

    def quarantine(self):
        return {p.name.split("-", 2)[2]: p.read_bytes() for p in (self.cache / "quarantine").iterdir()}

    def check_counters(self):
        """The metric comes once a second."""
        cache = self.s.get("/admin/cache").ok()
        assert cache["corrupt"] == sum(cache["refused"].values())
        wait_until(lambda: self.s.metrics().sum("hotseat_blocks_corrupt_total") == cache["corrupt"], what="the metric")
        return cache["refused"]

    def check_mended(self, names):
        """What was missing has been written again: the turn after the next is warm, for everybody."""
        self.s.swap("b", hold_s=0)
        for name in names:
            history, r = self.farm.later[name]
            answer = self._ask(name, history, LATER, r)
            assert answer.cached >= r.cached, (name, answer.usage)


@pytest.fixture
def patient(farm, server, tmp_path):
    return Patient(farm, server, tmp_path)


def put(path, data):
    path.unlink()
    path.write_bytes(data)


def with_bytes(at, new):
    return lambda d, other: d[:at] + new + d[at + len(new):]


HEADER = 104 + 1 + 4 * 256 + 8
# name: (what becomes of a block's bytes, given another agent's block of the same place; why it is refused)
KINDS = {
    "empty": (lambda d, o: b"", "corrupt"),
    "cut in the fixed header": (lambda d, o: d[:50], "corrupt"),
    "cut in the tokens": (lambda d, o: d[:400], "corrupt"),
    "cut after the header": (lambda d, o: d[:HEADER], "corrupt"),
    "cut in the part": (lambda d, o: d[:HEADER + 1000], "corrupt"),
    "one byte short": (lambda d, o: d[:-1], "corrupt"),
    "one byte long": (lambda d, o: d + b"x", "corrupt"),
    "zeros": (lambda d, o: bytes(len(d)), "corrupt"),
    "zeros for a header": (lambda d, o: bytes(HEADER) + d[HEADER:], "corrupt"),
    "zeros for a part": (lambda d, o: d[:HEADER] + bytes(len(d) - HEADER), "corrupt"),
    "a page of zeros": (lambda d, o: d[:8192] + bytes(4096) + d[12288:], "corrupt"),
    "a flipped bit": (lambda d, o: d[:-1] + bytes([d[-1] ^ 1]), "corrupt"),
    "text": (lambda d, o: b"Dear Sir or Madam,\n" * 1000, "corrupt"),
    "a model": (lambda d, o: b"GGUF\x03\0\0\0" + d[8:], "corrupt"),
    "a later version": (with_bytes(8, b"\x02\0\0\0"), "version"),
    "a far version": (with_bytes(8, b"\xff\xff\xff\xff"), "version"),
    "another agent's block": (lambda d, o: o, "mismatch"),
}
NOT_FILES = ["gone", "a link", "a folder", "a pipe"]


def damage_all(patient, names, k):
    """One kind of damage for each agent, in its block k; the reasons that are owed. {name: (kind, bytes, reason)}"""
    before = {n: patient.path(n, k).read_bytes() for n in names}
    out = {}
    for name, (kind, (what, reason)) in zip(names, KINDS.items()):
        data = what(before[name], before[names[-1]])
        put(patient.path(name, k), data)
        out[name] = (kind, data, reason)
    return out


@pytest.mark.parametrize("mode", ["running", "restarted", "rebuilt"])
@pytest.mark.parametrize("k", [0, 2])
def test_c05_damaged_blocks_are_a_miss(patient, mode, k):
    names = ANNS
    patient.shows_that_it_hits(names)
    s = patient.s
    if mode == "running":
        s.start()
    damaged = damage_all(patient, names, k)
    if mode == "rebuilt":
        for p in patient.cache.glob("index.db*"):
            p.unlink()
    if mode != "running":
        s.start()
    owed = {}
    for name, (kind, data, reason) in damaged.items():
        answer = patient.ask(name)
        assert answer.cached == 256 * k, (kind, answer.usage)
        owed[reason] = owed.get(reason, 0) + 1
        file = patient.path(name, k).name
        assert patient.quarantine().get(file) == data, f"{kind}: not in quarantine"
    assert len(damaged) == len(KINDS)
    for name in names:
        if name not in damaged:
            assert patient.ask(name).cached == patient.farm.expected[name].cached, f"{name} was not damaged"
    assert patient.check_counters() == {"corrupt": 0, "version": 0, "mismatch": 0, "missing": 0, "unreadable": 0, **owed}
    assert s.get("/admin/cache").ok()["quarantined"] == len(damaged)
    patient.check_mended(names)


@pytest.mark.parametrize("mode", ["running", "restarted", "rebuilt"])
def test_c05_what_is_no_file_is_a_miss(patient, tmp_path, mode):
    names = ANNS[:len(NOT_FILES)]
    patient.shows_that_it_hits(names)
    s = patient.s
    if mode == "running":
        s.start()
    for name, kind in zip(names, NOT_FILES):
        path = patient.path(name, 1)
        path.rename(tmp_path / f"kept-{name}")
        if kind == "a link":
            path.symlink_to(tmp_path / f"kept-{name}")
        elif kind == "a folder":
            path.mkdir()
        elif kind == "a pipe":
            os.mkfifo(path)
    if mode == "rebuilt":
        for p in patient.cache.glob("index.db*"):
            p.unlink()
    if mode != "running":
        s.start()
    for name in names:
        assert patient.ask(name).cached == 256, name
    refused = patient.check_counters()
    if mode == "running":
        assert (refused["missing"], refused["unreadable"]) == (1, 3), refused
    assert refused["corrupt"] == refused["version"] == refused["mismatch"] == 0
    assert s.get("/admin/cache").ok()["quarantined"] == 0
    assert (tmp_path / f"kept-{names[1]}").exists(), "what a link led to is not ours"


@pytest.mark.parametrize("mode", ["running", "restarted", "rebuilt"])
def test_c05_damaged_window_parts_are_a_miss(patient, mode):
    """The window part of the last full block: a resume needs it."""
    names = WIMS
    patient.shows_that_it_hits(names)
    s = patient.s
    if mode == "running":
        s.start()
    owed, size = {}, {}
    kinds = [("one byte short", lambda d, base, other: d[:-1], "corrupt"), ("empty", lambda d, base, other: b"", "corrupt"),
             ("a flipped byte", lambda d, base, other: d[:-5] + bytes([d[-5] ^ 64]) + d[-4:], "corrupt"),
             ("a flipped token", lambda d, base, other: d[:200] + bytes([d[200] ^ 1]) + d[201:], "corrupt"),
             ("a later version", lambda d, base, other: d[:8] + b"\x02" + d[9:], "version"),
             ("its own base part", lambda d, base, other: base, "mismatch"),
             ("another agent's", lambda d, base, other: other, "mismatch")]
    last = {n: max(k for k in range(len(patient.farm.chain[n])) if patient.path(n, k, ".win").exists()) for n in names}
    other = patient.path(names[-1], last[names[-1]], ".win").read_bytes()
    for name, (kind, what, reason) in zip(names, kinds):
        path, base = patient.path(name, last[name], ".win"), patient.path(name, last[name])
        put(path, what(path.read_bytes(), base.read_bytes(), other))
        owed[reason] = owed.get(reason, 0) + 1
        size[name] = kind
    if mode == "rebuilt":
        for p in patient.cache.glob("index.db*"):
            p.unlink()
    if mode != "running":
        s.start()
    for name, kind in size.items():
        answer = patient.ask(name)
        assert answer.cached <= 256 * last[name], (kind, answer.usage)
    assert patient.ask(names[-1]).cached == patient.farm.expected[names[-1]].cached
    refused = patient.check_counters()
    assert refused == {"corrupt": 0, "version": 0, "mismatch": 0, "missing": 0, "unreadable": 0, **owed}
    patient.check_mended(names)


def test_c05_damaged_base_parts_of_a_window_model(patient):
    names = WIMS
    patient.shows_that_it_hits(names)
    for i, name in enumerate(names):
        path = patient.path(name, i % 4)
        data = path.read_bytes()
        put(path, data[:-9] + bytes([data[-9] ^ 2]) + data[-8:])
    patient.s.start()
    for i, name in enumerate(names):
        assert patient.ask(name).cached <= 256 * (i % 4), name
    assert patient.check_counters()["corrupt"] == len(names)
    patient.check_mended(names)


@pytest.mark.hot_swaps  # what the store has refused is counted since its process began
def test_c05_flipped_bits_in_headers(patient):
    """One byte of a header at a time; all agents at once, so that a swap serves 24 of them."""
    rng = random.Random(f"{seed_of_run()}")
    patient.shows_that_it_hits(ANNS)
    s, k = patient.s, 2
    s.start()
    offsets = list(range(HEADER)) if LONG else sorted({*range(0, HEADER, 8), *range(0, 24), *range(HEADER - 8, HEADER)})
    assert parse_header(patient.path(ANNS[0], k).read_bytes())["size"] == HEADER
    versions = 0
    for at in range(0, len(offsets), len(ANNS)):
        part = list(zip(ANNS, offsets[at:at + len(ANNS)]))
        s.swap("b", hold_s=0)
        before = patient.refused()
        for name, offset in part:
            path = patient.path(name, k)
            data = path.read_bytes()
            put(path, data[:offset] + bytes([data[offset] ^ (1 << rng.randrange(8))]) + data[offset + 1:])
        for name, offset in part:
            answer = patient.ask(name)
            assert answer.cached == 256 * k, f"byte {offset} of {name}'s header: {answer.usage}"
        after = patient.refused()
        versions = sum(8 <= o < 12 for _, o in part)
        assert after["version"] - before["version"] == versions
        assert after["corrupt"] - before["corrupt"] == len(part) - versions, (before, after, part)
    patient.check_counters()
    patient.check_mended(ANNS)


@pytest.mark.hot_swaps
def test_c05_flipped_bytes_in_parts(patient):
    rng = random.Random(f"{seed_of_run()}")
    patient.shows_that_it_hits([*ANNS, *WIMS])
    s = patient.s
    s.start()
    for _ in range(40 if LONG else 3):
        s.swap("b", hold_s=0)
        before, hurt = patient.refused(), {}
        for name in [*ANNS, *WIMS]:
            hurt[name] = rng.randrange(len(patient.farm.chain[name]))
            path = patient.path(name, hurt[name])
            data = path.read_bytes()
            offset = rng.randrange(HEADER, len(data))
            put(path, data[:offset] + bytes([data[offset] ^ rng.randrange(1, 256)]) + data[offset + 1:])
        for name, k in hurt.items():
            answer = patient.ask(name)
            assert answer.cached == 256 * k if name in ANNS else answer.cached <= 256 * k, (name, k, answer.usage)
        assert patient.refused()["corrupt"] - before["corrupt"] == len(hurt)
    patient.check_counters()
    patient.check_mended([*ANNS, *WIMS])


def test_c05_swapped_files(patient):
    """X's file under Y's name: of the same chain, of another agent, of another model, base for window."""
    patient.shows_that_it_hits([*ANNS[:4], *WIMS[:2]])
    s = patient.s

    def swap(one, two):
        a, b = one.read_bytes(), two.read_bytes()
        put(one, b), put(two, a)
    swap(patient.path("ann-0", 1), patient.path("ann-0", 2))     # one chain
    swap(patient.path("ann-1", 0), patient.path("ann-2", 0))     # two agents, the same place
    swap(patient.path("ann-3", 3), patient.path("wim-0", 3))     # two models
    last = max(k for k in range(len(patient.farm.chain["wim-1"])) if patient.path("wim-1", k, ".win").exists())
    swap(patient.path("wim-1", last), patient.path("wim-1", last, ".win"))  # the two parts of one block
    s.start()
    for name, most in {"ann-0": 256, "ann-1": 0, "ann-2": 0, "ann-3": 768}.items():
        assert patient.ask(name).cached == most, name
    assert patient.ask("wim-0").cached <= 768
    assert patient.ask("wim-1").cached <= 256 * last
    refused = patient.check_counters()
    # Who goes cold at the first bad block of a chain never comes to the second; a start looks at files of another length.
    assert refused["mismatch"] >= 6 and refused["corrupt"] == refused["version"] == 0, refused
    patient.check_mended([*ANNS[:4], *WIMS[:2]])


def test_c05_strangers_in_the_folder_are_left_alone(patient):
    names = [*ANNS[:2], *WIMS[:1]]
    patient.shows_that_it_hits(names)
    folder = patient.path("ann-0", 0).parent
    strangers = [folder / "README", folder / "x.kv", patient.cache / "blocks" / "notes.txt", patient.cache / "mine",
                 folder / ("0" * 31 + ".kv"), folder / ("G" * 32 + ".kv")]
    for p in strangers:
        p.write_text("not yours")
    (folder / "deep").mkdir()
    patient.s.start()
    for name in names:
        assert patient.ask(name).cached == patient.farm.expected[name].cached
    saved(patient.s)
    patient.s.stop()
    assert all(p.read_text() == "not yours" for p in strangers) and (folder / "deep").is_dir()


# ---- the database ----

def sql(path, *commands):
    c = sqlite3.connect(path)
    for command in commands:
        c.execute(command)
    c.commit()
    c.close()


def no_log(cache):
    for p in cache.glob("index.db-*"):
        p.unlink()


def db_gone(cache):
    for p in cache.glob("index.db*"):
        p.unlink()


def db_empty(cache):
    no_log(cache)
    (cache / "index.db").write_bytes(b"")


def db_garbage(cache):
    no_log(cache)
    (cache / "index.db").write_bytes(random.Random(1).randbytes(40960))


def db_cut(cache):
    no_log(cache)
    data = (cache / "index.db").read_bytes()
    assert len(data) > 16384
    (cache / "index.db").write_bytes(data[:len(data) // 2 // 4096 * 4096])


def db_cut_in_a_page(cache):
    no_log(cache)
    data = (cache / "index.db").read_bytes()
    (cache / "index.db").write_bytes(data[:5000])


def db_zero_page(cache):
    no_log(cache)
    data = (cache / "index.db").read_bytes()
    (cache / "index.db").write_bytes(data[:4096] + bytes(4096 * 3) + data[16384:])


def db_later_version(cache):
    sql(cache / "index.db", "PRAGMA user_version = 99")


def db_earlier_version(cache):
    sql(cache / "index.db", "PRAGMA user_version = 1")


def db_foreign(cache):
    db_gone(cache)
    sql(cache / "index.db", "CREATE TABLE blocks (recipe TEXT)", "INSERT INTO blocks VALUES ('soup')")


def db_foreign_id(cache):
    sql(cache / "index.db", "PRAGMA application_id = 1")


def db_without_a_table(cache):
    sql(cache / "index.db", "DROP TABLE agents")


def db_without_rows(cache):
    sql(cache / "index.db", "DELETE FROM agents", "DELETE FROM blocks", "DELETE FROM models", "DELETE FROM files", "DELETE FROM numbers")


def db_garbage_log(cache):
    (cache / "index.db-wal").write_bytes(random.Random(2).randbytes(50000))
    (cache / "index.db-shm").write_bytes(random.Random(3).randbytes(32768))


# what is done to it: whether it lands in quarantine
DATABASES = {db_gone: False, db_empty: None, db_garbage: True, db_cut: True, db_cut_in_a_page: True, db_zero_page: True,
             db_later_version: True, db_earlier_version: True, db_foreign: True, db_foreign_id: True, db_without_a_table: True,
             db_without_rows: None, db_garbage_log: None}
SOME = [*ANNS[:4], *WIMS[:2]]


@pytest.mark.parametrize("harm", DATABASES, ids=lambda f: f.__name__)
def test_c05_a_database_that_can_not_be_used_is_filled_from_the_files(patient, harm):
    patient.shows_that_it_hits(SOME)
    s = patient.s
    harm(patient.cache)
    s.start()
    assert {(a["id"], a["model"]) for a in s.get("/admin/agents").ok()["agents"]} == set(MODEL.items())
    for name in SOME:
        assert patient.ask(name).cached == patient.farm.expected[name].cached, name
    if DATABASES[harm] is not None:
        assert ("index.db" in patient.quarantine()) == DATABASES[harm]
    assert s.get("/admin/cache").ok()["corrupt"] == 0, "no file was damaged"
    saved(s)
    s.restart()  # the new one is as good as the old one
    assert {(a["id"], a["model"]) for a in s.get("/admin/agents").ok()["agents"]} == set(MODEL.items())
    assert patient.ask(SOME[0]).cached >= patient.farm.expected[SOME[0]].cached


def test_c05_an_old_database_under_newer_files(patient):
    """A folder that was copied back in parts: what the files say wins."""
    patient.shows_that_it_hits(SOME)
    s = patient.s
    s.start()
    talks = {}
    for name in SOME:
        patient.ask(name)
        talks[name] = Talk(s, MODEL[name], agent=name)
        talks[name].messages = list(patient.farm.history[name])
        talks[name].say(QUESTION), talks[name].say("and more [[len=300]]")
    late = Talk(s, "a", agent="late", system=long_text(900, "late"))
    late.say("hello [[len=30]]")
    saved(s)
    s.stop()
    db_gone(patient.cache)
    for p in patient.farm.template.glob("index.db*"):
        shutil.copy(p, patient.cache / p.name)
    s.start()
    there = {a["id"]: a for a in s.get("/admin/agents").ok()["agents"]}
    assert set(there) == {*MODEL, "late"}
    for name, talk in {**talks, "late": late}.items():
        last = Answer(talk.answers[-1])
        answer = talk.say("now [[len=20]]")
        assert answer.cached >= last.prompt + last.generated - 2, (name, answer.usage, last.usage)
        assert there[name]["tokens"] >= last.prompt + last.generated - 2, there[name]
    assert s.get("/admin/cache").ok()["corrupt"] == 0


def test_c05_old_files_under_a_newer_database(patient):
    patient.shows_that_it_hits(SOME)
    s = patient.s
    s.start()
    for name in SOME:
        patient.ask(name)
    Talk(s, "a", agent="late", system=long_text(900, "late")).say("hello [[len=30]]")
    saved(s)
    s.stop()
    shutil.rmtree(patient.cache / "blocks")
    shutil.copytree(patient.farm.template / "blocks", patient.cache / "blocks")
    s.start()
    assert {a["id"] for a in s.get("/admin/agents").ok()["agents"]} == set(MODEL), "an agent without any file"
    for name in SOME:
        assert patient.ask(name).cached == patient.farm.expected[name].cached, name
    assert s.get("/admin/cache").ok()["corrupt"] == 0


def test_c05_flipped_bytes_in_the_database(patient):
    """SQLite has no checksums: whatever it says then, no answer is wrong and nothing ends."""
    rng = random.Random(f"{seed_of_run()}")
    patient.shows_that_it_hits(SOME)
    for _ in range(100 if LONG else 6):
        no_log(patient.cache)
        path = patient.cache / "index.db"
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 8, 64])):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        patient.s.start()
        for name in SOME[::2]:
            patient.ask(name)
        patient.s.stop()
        patient.renew()
