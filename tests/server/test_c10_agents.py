"""C10, C11, C12: names of agents, what an answer says was reused, and the administration of caches."""
import os

import pytest
from fakes import add, long_text, saved, warm_talk
from hotseat_harness import ApiError, Talk, quote, run_cli

GOOD = ["ann@example.org", "a.b.c", "Jürgen Groß", "日本語", "🙂", "..", ".", "...", "a b", "%2e%2e", "x" * 256, "a/b", "~", "con", "-rf"]
BAD = {"path": "../x", "newline": "a\nb", "nul": "a\0b", "long": "x" * 4096, "tab": "a\tb", "delete": "a\x7fb"}


def agents(s, model=None):
    return s.get("/admin/agents" + (f"?model={quote(model)}" if model else "")).ok()["agents"]


def tree(folder):
    return sorted(os.path.join(r, f) for r, _, files in os.walk(folder) for f in files)


def test_c10_names_that_work(server, tmp_path):
    s = server(model="a")
    usable = [g for g in GOOD if g not in ("..", ".", "a/b")]
    outside = tree(tmp_path / "models")
    for name in usable:
        body = s.chat("a", [{"role": "user", "content": long_text(400, salt=name) + "[[len=20]]"}], user=name)
        assert body["hotseat"]["agent"] == name
    saved(s)
    assert {a["id"] for a in agents(s)} == set(usable)
    for name in usable:
        found = s.get(f"/admin/agents/{quote(name)}").ok()["agents"]
        assert [a["id"] for a in found] == [name]
    assert tree(tmp_path / "models") == outside
    for path in tree(tmp_path / "server0"):
        assert os.path.relpath(path, tmp_path / "server0").split(os.sep)[0] in ("cache", "log.1"), path


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("where", ["user", "prompt_cache_key"])
def test_c10_names_that_are_refused_before_anything_runs(server, name, where):
    s = server(model="a")
    decoded = s.metrics().sum("hotseat_decode_calls_total")
    with pytest.raises(ApiError) as e:
        s.chat("a", "hello", **{where: BAD[name]})
    assert (e.value.status, e.value.code) == (400, "invalid_request"), e.value
    assert s.metrics().sum("hotseat_decode_calls_total") == decoded


def test_c10_header_wins_and_is_checked_too(server):
    s = server(model="a")
    body = s.chat("a", "hi [[len=5]]", agent="from-header", user="from-user", prompt_cache_key="from-key")
    assert body["hotseat"]["agent"] == "from-header"
    assert s.chat("a", "hi [[len=5]]", user="from-user", prompt_cache_key="from-key")["hotseat"]["agent"] == "from-key"
    with pytest.raises(ApiError) as e:
        s.chat("a", "hi", agent="../x")
    assert e.value.status == 400
    r = s.get(f"/admin/agents/{quote('../x')}")
    assert r.status == 400


def test_c11_cached_tokens_say_what_was_reused(server):
    s = server(model="a")
    talk = Talk(s, "a", agent="ann", system=long_text(1000, "ann"))
    first = talk.say("one [[len=50]]")
    assert first.cached == 0 and first.hotseat["prefill_tokens"] == first.prompt
    second = talk.say("two [[len=50]]")
    assert second.cached >= first.prompt and second.hotseat["prefill_tokens"] == second.prompt - second.cached
    assert second.decoded <= second.prompt - second.cached + second.generated + 1
    s.swap("b", hold_s=0), s.swap("a", hold_s=0)
    third = talk.say("three [[len=50]]")
    assert third.cached >= second.prompt - 1
    assert third.hotseat["restore_ms"] >= 0 and third.hotseat["swap_ms"] >= 0
    m = s.metrics()
    assert m.sum("hotseat_tokens_total", kind="reused") == first.cached + second.cached + third.cached
    assert m.sum("hotseat_tokens_total", kind="read") == sum(a.hotseat["prefill_tokens"] for a in (first, second, third))


def test_c11_a_restore_that_did_nothing_says_0(server):
    s = server(model="a")
    talk = warm_talk(s, "a", n=1000)
    s.swap("b", hold_s=0)
    deleted = s.request("DELETE", "/admin/cache").ok()
    assert deleted["files"] > 0
    s.swap("a", hold_s=0)
    answer = talk.say("after all was deleted [[len=20]]")
    assert answer.cached == 0 and answer.hotseat["prefill_tokens"] == answer.prompt
    assert answer.decoded >= answer.prompt


def test_c11_streams_say_it_too(server):
    s = server(model="a")
    messages = [{"role": "user", "content": long_text(800) + "[[len=20]]"}]
    s.stream("a", messages, agent="ann").read_all()
    again = s.stream("a", messages, agent="ann").read_all()
    assert again.usage["prompt_tokens_details"]["cached_tokens"] >= 768
    assert again.hotseat["prefill_tokens"] == again.usage["prompt_tokens"] - again.usage["prompt_tokens_details"]["cached_tokens"]


def test_c12_list_inspect_pin_delete(server):
    s = server(model="a")
    warm_talk(s, "a", agent="ann", n=1000)
    warm_talk(s, "a", agent="bob", n=1000)
    warm_talk(s, "b", agent="ann", n=1000)
    saved(s)
    listed = agents(s)
    assert {(a["id"], a["model"]) for a in listed} == {("ann", "a"), ("bob", "a"), ("ann", "b")}
    for a in listed:
        assert a["tokens"] > 1000 and a["blocks"] >= 4 and a["bytes"] > 1000 * 500 and a["pinned"] is False, a
    assert {(a["id"], a["model"]) for a in agents(s, "b")} == {("ann", "b")}
    assert s.get("/admin/agents/nobody").status == 404
    assert s.post("/admin/agents/nobody/pin").status == 404
    s.post("/admin/agents/ann/pin?model=a").ok()
    assert {(a["id"], a["model"]): a["pinned"] for a in agents(s)}[("ann", "a")] is True
    s.post("/admin/agents/ann/unpin?model=a").ok()
    assert not any(a["pinned"] for a in agents(s))


def test_c12_deletion_is_counted_and_true(server):
    s = server(model="a")
    warm_talk(s, "a", agent="ann", n=1000)
    warm_talk(s, "a", agent="bob", n=1000)
    talk_b = warm_talk(s, "b", agent="ann", n=1000)
    saved(s)
    before = s.block_files()
    gone = s.request("DELETE", "/admin/agents/ann?model=a").ok()  # of a model that is not seated
    after = s.block_files()
    missing = set(before) - set(after)
    assert gone["files"] == len(missing) > 0
    assert gone["bytes"] == sum(before[f][3] for f in missing)
    assert {(a["id"], a["model"]) for a in agents(s)} == {("bob", "a"), ("ann", "b")}
    assert talk_b.say("still here [[len=10]]").cached > 1000
    gone = s.request("DELETE", "/admin/agents/ann").ok()  # of the seated one
    assert {(a["id"], a["model"]) for a in agents(s)} == {("bob", "a")}
    assert talk_b.say("now cold [[len=10]]").cached == 0
    assert s.request("DELETE", "/admin/agents/ann?model=a").status == 404


def test_c12_shared_blocks_stay_for_the_other_agent(server):
    s = server(model="a")
    system = long_text(1000, "shared")
    for agent in ("ann", "bob"):
        Talk(s, "a", agent=agent, system=system).say("hi [[len=20]]")
    saved(s)
    s.request("DELETE", "/admin/agents/ann").ok()
    s.swap("b", hold_s=0), s.swap("a", hold_s=0)
    assert Talk(s, "a", agent="bob", system=system).say("again [[len=20]]").cached >= 768


def test_c12_cache_figures_are_the_files(server):
    s = server(model="a", options=["--cache-disk", "64M"])
    warm_talk(s, "a", agent="ann", n=1500)
    warm_talk(s, "b", agent="bob", n=1500)
    saved(s)
    cache = s.get("/admin/cache").ok()
    files = s.block_files()
    assert cache["budget_bytes"] == 64 << 20
    assert cache["bytes"] >= sum(f[3] for f in files.values())
    assert cache["blocks"] == len(files)
    assert {m["model"] for m in cache["models"]} == {"a", "b"}
    gone = s.request("DELETE", "/admin/cache?model=a").ok()
    assert gone["files"] == len(files) - len(s.block_files()) > 0
    s.request("DELETE", "/admin/cache").ok()
    assert s.block_files() == {}
    assert agents(s) == []


def test_c12_commands(server, models):
    add(models, "d", seed=4)
    s = server(model="a")
    warm_talk(s, "a", agent="ann", n=600)
    saved(s)
    listed = run_cli(s, "agents")
    assert listed.returncode == 0 and "ann" in listed.stdout and "AGENT" in listed.stdout, listed
    assert run_cli(s, "agents", "pin", "ann").returncode == 0
    assert agents(s)[0]["pinned"] is True
    assert run_cli(s, "agents", "unpin", "ann").returncode == 0
    cache = run_cli(s, "cache", "--json")
    assert cache.returncode == 0 and '"budget_bytes"' in cache.stdout
    gone = run_cli(s, "agents", "rm", "ann")
    assert gone.returncode == 0 and "files" in gone.stdout, gone
    assert run_cli(s, "agents", "rm", "ann").returncode == 1
