"""The members of answers that docs/api.md and API.md promise, and the statuses that need a state of the server: 404 405 429 503."""
import re
import resource
import signal
import socket
import time

import pytest
from fakes import add, in_threads, long_text, running, seconds, wait_until, warm_talk
from hotseat_harness import BUILD, ApiError
from raw_http import HOST, ask, get, post, read_answer

KINDS = {"hot"} if BUILD.name not in ("asan", "tsan") else {"hot", "process"}  # a sanitizer may keep too much memory
CHAT = {"messages": [{"role": "user", "content": "[[say:hi]]"}]}
ROUTES = {
    "/v1/chat/completions": "POST", "/v1/completions": "POST", "/tokenize": "POST", "/detokenize": "POST", "/apply-template": "POST",
    "/v1/models": "GET", "/v1/models/a": "GET", "/health": "GET",
    "/health/live": "GET", "/health/ready": "GET", "/metrics": "GET", "/openapi.json": "GET",
    "/admin/models/swap": "POST", "/admin/models/offload": "POST",
    "/admin/models/current": "GET", "/admin/models/available": "GET", "/admin/swap": "GET", "/admin/events": "GET", "/admin/ps": "GET",
    "/admin/agents": "GET", "/admin/agents/ann": "GET, DELETE", "/admin/agents/ann/pin": "POST", "/admin/agents/ann/unpin": "POST",
    "/admin/cache": "GET, DELETE", "/admin/reload": "POST", "/admin/debug/fault": "POST",
}


# ---- models ----

def test_models_list(server, models):
    s = server(model="a")
    warm_talk(s, "a", agent="ann"), warm_talk(s, "a", agent="bob")
    answer = s.get("/v1/models").ok()
    assert answer["object"] == "list" and [m["id"] for m in answer["data"]] == ["a", "b", "c", "w"]
    for m in answer["data"]:
        assert m["object"] == "model" and m["owned_by"] == "hotseat"
        assert abs(m["created"] - (models / f"{m['id']}.gguf").stat().st_mtime) < 2
        h = m["hotseat"]
        assert set(h) >= {"seated", "state", "architecture", "parameters", "file_bytes", "context", "cached_agents"}
        assert h["seated"] is (m["id"] == "a") and h["state"] == ("seated" if m["id"] == "a" else "available")
        assert h["architecture"] == ("gemma3" if m["id"] == "w" else "llama")
        assert h["file_bytes"] == (models / f"{m['id']}.gguf").stat().st_size and h["parameters"] > 10000
        assert 0 < h["context"] <= 16384 and h["cached_agents"] == (2 if m["id"] == "a" else 0), m
    assert s.get("/v1/models/a").ok() == answer["data"][0]
    assert s.get("/v1/models?limit=20").status == 200  # as some clients ask
    r = s.get("/v1/models/nobody")
    assert r.status == 404 and r.json()["error"]["code"] == "model_not_found" and r.json()["error"]["param"] == "model"


def test_models_available_and_current(server, models):
    (models / "broken.gguf").write_bytes(b"GGUFxxxx" * 100)
    s = server(model="a")
    listed = {m["id"]: m for m in s.get("/admin/models/available").ok()["models"]}
    assert set(listed) == {"a", "b", "c", "w", "broken"}
    for name in "abcw":
        m = listed[name]
        assert m["path"] == str(models / f"{name}.gguf") and m["seated"] is (name == "a") and m["state"] in ("seated", "available")
        assert m["file_bytes"] > 0 and m["parameters"] > 0 and m["context"] > 0 and m["kv"] == "q8_0" and m["pinned"] is False
    assert listed["broken"]["state"] == "invalid" and listed["broken"]["reason"], listed["broken"]
    assert "broken" not in {m["id"] for m in s.get("/v1/models").ok()["data"]}
    now = s.current()
    assert now["model"] == "a" and now["state"] == "SERVING" and now["path"] == listed["a"]["path"]
    assert now["cells"] >= now["context"] >= 1024 and now["pool_bytes"] > 0 and now["sequences"] >= 4 and now["running"] == 0
    assert now["cache_on"] is True and re.fullmatch(r"[0-9a-f]{16,64}", now["tag"]) and now["seated_ms"] >= 0 and now["memory_bytes"] >= 0
    s.offload()
    now = s.current()
    assert now["model"] is None and now["state"] == "EMPTY" and "tag" not in now


# ---- the answers of inference ----

def test_a_whole_chat(server):
    s = server(model="a")
    before = int(time.time())
    answer = s.chat("a", "[[len=25]]", agent="ann")
    assert answer["object"] == "chat.completion" and answer["id"].startswith("chatcmpl-") and answer["model"] == "a"
    assert before <= answer["created"] <= time.time() and answer["system_fingerprint"]
    choice = answer["choices"][0]
    assert len(answer["choices"]) == 1 and choice["index"] == 0 and choice["logprobs"] is None and choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant" and choice["message"]["refusal"] is None and len(choice["message"]["content"].encode()) == 25
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] and usage["completion_tokens"] in (25, 26)
    assert set(answer["hotseat"]) == {"model", "agent", "queue_ms", "swap_ms", "restore_ms", "prefill_ms", "prefill_tokens", "first_token_ms",
                                      "decode_ms", "decode_tokens"}
    h = answer["hotseat"]
    assert (h["model"], h["agent"]) == ("a", "ann") and h["prefill_tokens"] == usage["prompt_tokens"]
    assert h["decode_tokens"] in (24, 25, 26) and all(h[k] >= 0 for k in h if k.endswith("_ms")) and h["first_token_ms"] >= h["prefill_ms"]
    assert s.chat("a", "[[say:x]]")["hotseat"]["agent"] is None


def test_c11_restore_ms_is_0_when_nothing_was_restored(server):
    s = server(model="a")
    talk = warm_talk(s, "a", turns=1, n=1000)
    assert talk.answers[0]["hotseat"]["restore_ms"] == 0  # cold
    warm = talk.say("again [[len=20]]")
    assert warm.cached > 0 and warm.hotseat["restore_ms"] == 0  # it never left memory
    s.swap("b", hold_s=0)
    assert s.chat("b", "[[say:x]]", agent="ann")["hotseat"]["restore_ms"] == 0  # nothing there of this model
    s.swap("a", hold_s=0)
    back = talk.say("and now [[len=20]]")
    assert back.cached > 500 and back.hotseat["restore_ms"] > 0  # the control


def test_queue_ms_and_swap_ms_are_told_apart(server, models):
    add(models, "b", seed=1, load_ms=600)
    s = server(model="a", options=["--patience", "0"])
    h = s.chat("b", "[[say:x]]")["hotseat"]
    assert h["swap_ms"] >= 550 and h["queue_ms"] < 550, h
    assert s.chat("b", "[[say:x]]")["hotseat"]["swap_ms"] == 0


# ---- streams ----

def test_s7_headers_by_1_s_when_the_seated_model_is_full(server, models):
    add(models, "a", seed=0, step_us=4000)
    s = server(model="a", options=["--parallel", "1"])
    busy = s.stream("a", "[[len=1200]]")
    running(s, 1)
    began = time.monotonic()
    second = s.stream("a", "[[say:my turn]]")
    took = time.monotonic() - began
    assert 0.5 < took < seconds(2.5), took
    second.read_all()
    found = re.match(r"waiting model=a position=(\d+) eta_ms=\d+", second.comments[0][1])
    assert found and found[1] == "1", second.comments
    assert second.text == "my turn" and second.done and second.hotseat["queue_ms"] > 1000
    assert busy.read_all().done


def test_errors_after_the_headers_are_one_event_and_no_done(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a")
    stream = s.stream("a", "[[len=5000]]")
    events = iter(stream)
    next(events), next(events)
    s.swap("b", drain_timeout_s=0, on_deadline="cancel")
    for _ in events:
        pass
    assert stream.error["code"] == "swap_canceled_request" and stream.error["retry_after_s"] >= 1 and stream.error["message"]
    assert not stream.done and b"[DONE]" not in stream.raw and stream.finish is None
    assert stream.raw.count(b'"error"') == 1 and stream.raw.rstrip().split(b"\n")[-1].startswith(b'data: {"error":')


def test_a_long_prompt_is_read_with_signs_of_life(server, models):
    add(models, "a", seed=0, token_us=1000)
    s = server(model="a")
    began = time.monotonic()
    stream = s.stream("a", long_text(9000) + "[[say:read]]").read_all()
    assert stream.text == "read" and time.monotonic() - began > 6
    times = [began, *(at for at, _ in stream.comments), stream.times[-1]]
    assert any(c == "working" for _, c in stream.comments), stream.comments
    assert all(b - a < seconds(5) for a, b in zip(times, times[1:])), times


# ---- administration ----

def test_a_swaps_answer(server):
    s = server(model="a")
    warm_talk(s, "a", n=1500)
    answer = s.swap("b")
    assert set(answer) >= {"status", "from", "to", "kind", "steps_ms", "total_ms", "blocks_written", "bytes_written", "parked", "memory"}
    assert (answer["status"], answer["from"], answer["to"], answer["parked"]) == ("swapped", "a", "b", 0) and answer["kind"] in KINDS
    steps = answer["steps_ms"]
    assert set(steps) - {"start"} == {"drain", "evict", "unload", "load", "configure"} and all(v >= 0 for v in steps.values())
    assert steps["load"] > 0 and sum(steps.values()) <= answer["total_ms"] + 1 < seconds(20000), answer
    memory = answer["memory"]
    assert set(memory) == {"before_bytes", "unloaded_bytes", "after_bytes"}
    assert all(v > 0 for v in memory.values()), memory
    assert memory["before_bytes"] > memory["unloaded_bytes"] or answer["kind"] == "process", memory
    assert answer["bytes_written"] >= answer["blocks_written"] >= 0
    same = s.swap("b")
    assert same["status"] == "already_seated" and (same["from"], same["to"]) in (("b", "b"), (None, "b")), same
    off = s.offload()
    assert off["status"] == "offloaded" and off["from"] == "b" and off["to"] is None, off
    history = s.swap_status()["swaps"]
    assert {h["to"] for h in history} >= {"b", None}


def test_swap_status_members(server):
    s = server(model="a")
    status = s.swap_status()
    assert status["state"] == "SERVING" and status["step"] is None and status["model"] == "a"
    assert set(status) >= {"state", "step", "percent", "from", "to", "elapsed_ms", "eta_ms", "swaps"}


def named(events):
    return [name for name, _ in events]


def test_event_names_of_a_swap_a_rollback_and_a_restart(server, models):
    add(models, "broken", load_fail=1)
    s = server(model="a")
    stream, seen = s.events()
    wait_until(lambda: seen, what="where things stand")
    s.swap("b", hold_s=0)
    wait_until(lambda: "swap_done" in named(seen), what="swap_done")
    wait_until(lambda: [e["state"] for name, e in seen if name == "state"][-1] == "SERVING", what="the last state")
    states = [e["state"] for name, e in seen if name == "state"]
    order = ["DRAINING", "EVICTING", "UNLOADING", "LOADING", "CONFIGURING", "SERVING"]
    assert [st for st in states if st in order[:-1]] == order[:-1] and states[-1] == "SERVING", states
    assert [e["swap"]["to"] for name, e in seen if name == "swap_done"] == ["b"]
    with pytest.raises(ApiError) as e:
        s.swap("broken")
    assert (e.value.status, e.value.code) == (500, "swap_failed") and e.value.error["rolled_back"] is True, e.value.response.body
    wait_until(lambda: "rollback" in named(seen), what="rollback")
    event = [e for name, e in seen if name == "rollback"][0]
    assert event["swap"]["to"] == "broken" and event["swap"]["status"] == "rolled_back" and "load_fail" in event["swap"]["reason"]
    restarts = named(seen).count("seat_restart")
    s.kill_seat()
    wait_until(lambda: named(seen).count("seat_restart") == restarts + 1, what="seat_restart")
    event = [e for name, e in seen if name == "seat_restart"][-1]
    assert event["generation"] >= 1 and event["reason"], event
    assert all(abs(e["time"] - time.time()) < seconds(120) for _, e in seen)
    stream.close()
    wait_until(lambda: s.metrics().sum("hotseat_event_clients") == 0, what="the client is forgotten", timeout=3)


def test_event_swap_failed(server, models):
    add(models, "broken", load_fail=1)
    s = server(model="none")
    stream, seen = s.events()
    with pytest.raises(ApiError) as e:
        s.swap("broken")
    assert e.value.error.get("rolled_back") is False, e.value.response.body
    wait_until(lambda: "swap_failed" in named(seen), what="swap_failed")
    assert [e["swap"]["status"] for name, e in seen if name == "swap_failed"] == ["failed"]
    assert any(name == "model" and e["model"] == "broken" and e["to"] == "failed" for name, e in seen), seen
    stream.close()


def test_load_progress_is_an_event(server, models):
    add(models, "b", seed=1, load_ms=1200)
    s = server(model="a")
    stream, seen = s.events()
    s.swap("b")
    percents = [e["percent"] for name, e in seen if name == "progress" and e["state"] == "LOADING"]
    assert len(percents) >= 3 and percents == sorted(percents) and len(set(percents)) == len(percents), percents
    stream.close()


def test_events_end_with_the_server(server):
    s = server(model="a")
    stream, seen = s.events()
    wait_until(lambda: seen, what="the first event")
    s.stop()
    wait_until(lambda: "end" in named(seen), what="its end")


# ---- paths and methods ----

def test_405_names_what_is_allowed(server):
    s = server(model="a")
    for path, allowed in ROUTES.items():
        methods = set(allowed.split(", ")) | ({"HEAD"} if "GET" in allowed else set()) | {"OPTIONS"}
        for method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE"} - methods:
            r = s.request(method, path)
            assert r.status == 405, (method, path, r.status)
            assert set(r.headers["allow"].split(", ")) == methods, (path, r.headers)
            assert method == "HEAD" or r.json()["error"]["code"] == "method_not_allowed"
        r = s.request("OPTIONS", path)
        assert r.status == 204 and set(r.headers["allow"].split(", ")) == methods


def test_404_lists_what_there_is(server):
    s = server(model="a")
    for path in ("/", "/v2/models", "/admin/nothing", "/v1/chat"):
        r = s.get(path)
        assert r.status == 404 and r.json()["error"]["code"] == "not_found", path
        message = r.json()["error"]["message"]
        assert path in message and all(known in message for known in ("POST /v1/chat/completions", "GET /metrics", "POST /admin/models/swap")), message
    assert s.get("/x" * 300).status == 404


def test_head_is_taken_where_get_is(server):
    s = server(model="a")
    for path, allowed in ROUTES.items():
        if "GET" in allowed and path not in ("/admin/events", "/admin/agents/ann"):
            r = s.request("HEAD", path)
            assert r.status == 200 and r.body == b"" and int(r.headers["content-length"]) > 0, path


# ---- too much, and too late ----

def test_429_for_the_65th_event_client(server):
    s = server(model="a")
    streams = [s.open_stream("/admin/events", None, method="GET") for _ in range(64)]
    with pytest.raises(ApiError) as e:
        s.open_stream("/admin/events", None, method="GET")
    assert (e.value.status, e.value.code) == (429, "queue_full") and int(e.value.response.headers["retry-after"]) >= 1
    wait_until(lambda: s.metrics().sum("hotseat_event_clients") == 64, what="the front knows them all")
    streams.pop().close()
    wait_until(lambda: s.metrics().sum("hotseat_event_clients") == 63, what="one has left")
    streams.append(s.open_stream("/admin/events", None, method="GET"))
    for st in streams:
        st.close()


def test_429_when_the_queue_is_full(server, models):
    """2,048 wait for one model; the next is told to come later. Those that wait leave, and there is room again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    add(models, "a", seed=0, step_us=20000)
    s = server(model="a", options=["--parallel", "1"])
    busy = s.stream("a", "[[len=15000]]", max_tokens=15000)
    running(s, 1)
    data = post("/v1/chat/completions", {"model": "a", **CHAT})
    waiting = []
    try:
        for _ in range(2048):
            waiting.append(s.raw(data))
        wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 2048, what="2,048 wait")
        r = ask(s, data)
        assert r.status == 429 and r.json()["error"]["code"] == "queue_full" and int(r.headers["retry-after"]) >= 1, r.body
        assert r.json()["error"]["retry_after_s"] == int(r.headers["retry-after"]) and r.headers["x-request-id"]
        r = ask(s, post("/v1/chat/completions", {"model": "a", "stream": True, **CHAT}))
        assert r.status == 429  # a stream too: as a status
        assert s.get("/health").status == 200 and s.metrics().sum("hotseat_queue_depth", model="a") == 2048
    finally:
        for c in waiting:
            c.close()
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 0, what="they have left", timeout=10)
    busy.close()
    assert s.chat("a", "[[say:room]]")["choices"][0]["message"]["content"] == "room"


def test_503_while_shutting_down(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--drain-timeout", "20"])
    stream = s.stream("a", "[[len=500]]")
    running(s, 1)
    open_before = s.raw()
    s.process.send_signal(signal.SIGTERM)

    def refused():
        r = s.post("/v1/chat/completions", {"model": "a", **CHAT})
        return r if r.status != 200 else None
    r = wait_until(refused, what="a refusal", timeout=5)
    assert r.status == 503 and r.json()["error"]["code"] == "shutting_down" and int(r.headers["retry-after"]) >= 1, r.body
    assert r.headers["x-request-id"]
    open_before.sendall(get("/admin/swap"))
    assert read_answer(open_before).status == 503
    assert s.get("/health/live").status == 200
    assert stream.read_all().done and len(stream.text.encode()) == 500  # who was in goes on to the end
    assert s.process.wait(seconds(30)) == 0


def test_connections_stay_open_and_serve_many(server):
    s = server(model="a")
    with s.raw() as c:
        for i in range(20):
            c.sendall(post("/v1/chat/completions", {"messages": [{"role": "user", "content": f"[[say:{i}]]"}]}))
            assert read_answer(c).json()["choices"][0]["message"]["content"] == str(i)
        c.sendall(get("/health") + get("/health/ready"))  # two at once
        c.settimeout(10)
        data = b""
        while data.count(b'{"status":') < 2:
            data += c.recv(65536)
        assert data.index(b'"live"') < data.index(b'"ready"')


def test_expect_100_continue(server):
    s = server(model="a")
    body = b'{"messages": [{"role": "user", "content": "[[say:sent]]"}]}'
    head = b"POST %s HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with s.raw(head % (b"/v1/chat/completions", len(body))) as c:
        c.settimeout(10)
        assert c.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        c.sendall(body)
        assert read_answer(c).json()["choices"][0]["message"]["content"] == "sent"
    assert ask(s, head % (b"/nowhere", len(body))).status == 404  # no body was asked for


def test_http_1_0(server):
    s = server(model="a")
    with s.raw(b"GET /health HTTP/1.0\r\n\r\n") as c:
        c.settimeout(10)
        data = b""
        while piece := c.recv(65536):
            data += piece
        assert data.startswith(b"HTTP/1.") and b"200 OK" in data and data.endswith(b'{"status":"live"}')


def test_chunked_bodies_are_taken(server):
    s = server(model="a")
    body = b'{"messages": [{"role": "user", "content": "[[say:in pieces]]"}]}'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    data = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    with s.raw() as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), 50):
            c.sendall(data[i:i + 50])
        assert read_answer(c).json()["choices"][0]["message"]["content"] == "in pieces"


def test_many_at_once(server):
    s = server(model="a", options=["--parallel", "8"])
    results, errors = in_threads([lambda i=i: s.chat("a", f"[[say:{i}]]")["choices"][0]["message"]["content"] for i in range(64)])
    assert errors == [None] * 64 and results == [str(i) for i in range(64)]
