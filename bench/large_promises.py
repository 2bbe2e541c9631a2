"""What swaps promise, on models of true size: S4 (refused before anything is unloaded), S5 (a load that fails brings the old model back, its agents too),
S10 (the memory comes back), S15 (what hangs or keeps its memory is replaced by a new process). tests/server holds the same on small ones; here the
figures are those of gigabytes. The first promise that is not kept ends the run."""
import dataclasses
import json
import pathlib
import re
import time
import urllib.error
import urllib.request

from common import get, hotseat, post, prompt_of, saved, seat_of
from large_models import SHAPES, write

MIB = 1 << 20
LEAK_BYTES = 1 << 30
LOAD_TIMEOUT_S = 10
COOLING_S_MOST = 300


def must(ok, what, *seen):
    if not ok:
        raise RuntimeError(f"{what}: " + ", ".join(map(str, seen)))


def refusal(server, path, body):
    """(status, error object, milliseconds) of a request that is to fail."""
    began = time.monotonic()
    try:
        seen = post(server.url, path, body)
    except urllib.error.HTTPError as e:
        with e:
            return e.code, json.load(e)["error"], (time.monotonic() - began) * 1e3
    raise RuntimeError(f"{path} {body} is to be refused: {seen}")


def unloads(server):
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as r:
        found = re.search(r'^hotseat_swap_step_seconds_count\{[^}]*step="unload"[^}]*\} (\d+)', r.read().decode(), re.M)
    return int(found[1]) if found else 0


def private_bytes(pid):
    return sum(int(kb) << 10 for kb in re.findall(r"^Private_(?:Clean|Dirty):\s*(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M))


class Life:
    def __init__(self, server, files):
        self.server, self.files, self.words, self.rows = server, files, {}, []
        self.empty_bytes = private_bytes(seat_of(server))

    def say(self, promise, what, ms, seen):
        self.rows.append(f"| {promise} | {what} | {ms:,.0f} ms | {seen} |")
        print(f"  {self.rows[-1]}", flush=True)

    def turn(self, name):
        """The agent's next one: it must read no more than its new words. Text of what was cached."""
        before = self.words.get(name, 0)
        self.words[name] = before + 10 if before else 100
        body = post(self.server.url, "/v1/completions", {"model": self.files[name].stem, "prompt": prompt_of(self.words[name], 1), "max_tokens": 1,
                                                         "temperature": 0, "ignore_eos": True, "user": "large"})
        usage = body["usage"]
        n, cached = usage["prompt_tokens"], (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        must(not before or n - cached < 30, f"{name} was to be warm", body)
        saved(self.server)
        return f"{cached} of {n} cached"

    def swap(self, name):
        began = time.monotonic()
        answer = post(self.server.url, "/admin/models/swap", {"model": self.files[name].stem, "hold_s": 0})
        return answer, (time.monotonic() - began) * 1e3

    def fault(self, fault, arg=0):
        post(self.server.url, "/admin/debug/fault", {"name": fault, "times": 1, "arg": arg})

    def seated(self):
        return get(self.server.url, "/admin/models/current")["model"]


def bad_files(folder, shape):
    """{name: (status, code, what it is)} of files nobody can load; their weights are holes."""
    cut, table, huge = (folder / f"{n}.gguf" for n in ("cut", "table", "huge"))
    write(cut, shape, hollow=True)
    with cut.open("r+b") as f:
        f.truncate(cut.stat().st_size - MIB)
    write(table, shape, hollow=True)
    with table.open("r+b") as f:  # the first tensor's number of dimensions
        first = b"token_embd.weight"
        f.seek(f.read(64 * MIB).index(first) + len(first))
        f.write(b"\xff" * 4)
    write(huge, dataclasses.replace(SHAPES["qwen2.5-14b"], layers=160), hollow=True)
    return {"cut": (422, "model_invalid", "its last MiB is missing"), "table": (422, "model_invalid", "a tensor of 4,294,967,295 dimensions"),
            "huge": (422, "model_too_large", f"{huge.stat().st_size / 1e9:.0f} GB"), "nobody": (404, "model_not_found", "no such file")}


def refused(life, a, bad):
    life.swap(a)
    life.turn(a)
    pid, before = seat_of(life.server), unloads(life.server)
    for name, (status, code, what) in bad.items():
        for path, body in (("/admin/models/swap", {"model": name}), ("/v1/completions", {"model": name, "prompt": "x", "max_tokens": 1})):
            got, error, ms = refusal(life.server, path, body)
            must((got, error["code"]) == (status, code), f"{name} is {code}", got, error)
            must(code != "model_too_large" or error["needed_bytes"] > error["available_bytes"], "figures", error)
        must((life.seated(), seat_of(life.server), unloads(life.server)) == (life.files[a].stem, pid, before), "nothing may be unloaded", life.seated())
        figures = f", {error['needed_bytes'] / 1e9:.1f} GB needed, {error['available_bytes'] / 1e9:.1f} available" if "needed_bytes" in error else ""
        life.say("S4", what, ms, f"{status} {code}{figures}; {a}: {life.turn(a)}")


def failed(life, a, b):
    life.fault("load_fail")
    status, error, ms = refusal(life.server, "/admin/models/swap", {"model": life.files[b].stem, "hold_s": 0})
    must((status, error["code"], life.seated()) == (500, "swap_failed", life.files[a].stem), "the old model is back", status, error, life.seated())
    life.say("S5", f"{b} fails while it loads", ms, f"{status} {error['code']}; {a}: {life.turn(a)}")
    status, error, ms = refusal(life.server, "/admin/models/swap", {"model": life.files[b].stem, "hold_s": 0})
    must((status, error["code"]) == (503, "model_cooling_down"), "it cools down", status, error)
    end = time.monotonic() + COOLING_S_MOST
    while True:
        try:
            life.swap(b)
            break
        except urllib.error.HTTPError as e:
            with e:
                must(e.code == 503 and time.monotonic() < end, "it may load again", e.code, e.read())
            time.sleep(1)
    life.say("S5", "and again at once", ms, f"{status} {error['code']}; loaded later; {b}: {life.turn(b)}")


def given_back(life, order):
    pid = seat_of(life.server)
    for old, new in zip(order, order[1:]):
        answer, ms = life.swap(new)
        size, kept = life.files[old].stat().st_size, answer["memory"]["unloaded_bytes"] - life.empty_bytes
        mapped = life.files[old].name in pathlib.Path(f"/proc/{pid}/maps").read_text()
        must(answer["kind"] == "hot" and seat_of(life.server) == pid and not mapped and kept <= max(16 * MIB, size // 50), "all of it", answer, mapped)
        life.say("S10", f"{old} leaves, {new} comes", ms, f"hot, {kept / 1e6:+.1f} MB against a new seat after the unload, nothing of {old} mapped; {new}: {life.turn(new)}")


def replaced(life, a, b):
    for fault, arg, what in (("unload_leak", LEAK_BYTES, f"{a} keeps 1 GiB"), ("load_hang", 0, f"{b} hangs while it loads, limit {LOAD_TIMEOUT_S} s")):
        life.swap(a)
        pid = seat_of(life.server)
        life.fault(fault, arg)
        answer, ms = life.swap(b)
        must(answer["kind"] == "process" and seat_of(life.server) != pid and not pathlib.Path(f"/proc/{pid}").exists(), "a new process", answer)
        life.say("S15", what, ms, f"swap by a new process; {b}: {life.turn(b)}")


def bench_promises(args, files):
    names = list(files)
    order = [names[1], names[0], *names[2:], *names[1:2], *names[2:], names[0]]
    bad = bad_files(args.folder, SHAPES[names[1]])
    extra = ("--debug", "--memory", args.memory, "--pool", args.pool, "--patience", 0, "--cache-disk", "4G", "--load-timeout", LOAD_TIMEOUT_S,
             *(("--models", args.folder) if args.models != args.folder else ()))
    cache = args.folder / "cache"
    with hotseat(cache, "none", extra, models=args.models) as server:
        life = Life(server, files)
        refused(life, names[0], bad)
        failed(life, names[0], names[1])
        given_back(life, order)
        replaced(life, names[0], names[1])
    print("\n| promise | what happens | answered after | and then |\n|---|---|---|---|\n" + "\n".join(life.rows))
    return {"rows": life.rows}
