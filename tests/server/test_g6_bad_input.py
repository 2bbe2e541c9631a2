"""G6 and bad input in general: each is one answer that says what was wrong; nothing crashes, hangs or grows, others go on."""
import json
import re
import socket

import pytest
from fakes import add, assert_warm, long_text, running, slots, wait_until, warm_talk
from hotseat_harness import SLOW, ApiError, memory_bytes
from raw_http import HOST, ask, ended, get, post, read_answer

CHAT = {"messages": [{"role": "user", "content": "[[say:hello]]"}]}
POST = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST


def refused(r, status, code=None):
    assert r.status == status, r.body
    error = r.json()["error"]
    assert error["message"] and error["type"] and "param" in error, error
    assert code is None or error["code"] == code, error
    assert re.fullmatch(r"[!-~]{1,128}", r.headers["x-request-id"]), r.headers
    return error


def ran(s):
    """How many requests have reached the front: every one of them ends in this counter, at once."""
    m = s.metrics()
    return m.sum("hotseat_requests_total") + m.sum("hotseat_streams_running") + m.sum("hotseat_requests_waiting")


def still_well(s):
    """Nothing hangs about, and the next request is answered."""
    assert s.chat("a", "[[say:fine]]")["choices"][0]["message"]["content"] == "fine"
    wait_until(lambda: s.metrics().sum("hotseat_http_requests_open") == 1, what="only this one is open")


MALFORMED = {
    "no version": (b"GET /health\r\n\r\n", 400),
    "another protocol": (b"GET /health SPAM/9\r\n" + HOST + b"\r\n", 400),
    "http 2": (b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "line without a colon": (b"GET /health HTTP/1.1\r\n" + HOST + b"nothing here\r\n\r\n", 400),
    "space before the colon": (b"GET /health HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n", 400),
    "content-length with a space": (POST + b"Content-Length : 2\r\n\r\n{}", 400),
    "folded first header": (b"GET /health HTTP/1.1\r\n X-A: b\r\n" + HOST + b"\r\n", 400),
    "control byte in a name": (b"GET /health HTTP/1.1\r\n" + HOST + b"X\x01: b\r\n\r\n", 400),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /health HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "length that is no number": (POST + b"Content-Length: abc\r\n\r\n", 400),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "length that overflows": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 413),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400),
    "bad chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "other coding": (POST + b"Transfer-Encoding: gzip\r\n\r\nxx", 400),
    "two codings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "length and coding": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "headers of 40 KB": (b"GET /health HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 40000 + b"\r\n\r\n", 431),
    "headers of 100 KB": (b"GET /health HTTP/1.1\r\n" + HOST + b"X-A: " + b"a" * 100000 + b"\r\n\r\n", 431),
    "2,000 headers": (b"GET /health HTTP/1.1\r\n" + HOST + b"".join(b"X-Header-%d: value\r\n" % i for i in range(2000)) + b"\r\n", 431),
    "URL of 5 KB": (b"GET /health?" + b"a" * 5000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "URL of 100 KB": (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
}


def test_g6_malformed_http_gets_one_answer_and_is_counted(server):
    s = server(model="a")
    for name, (data, status) in MALFORMED.items():
        try:
            refused(ask(s, data), status)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from None
    m = s.metrics()
    assert m.sum("hotseat_http_clients_left_total") == 0 and m.sum("hotseat_http_responses_total", **{"class": "none"}) == 0
    still_well(s)


def test_g6_a_refused_connection_runs_nothing_that_follows(server):
    """What stands behind a request with two readings may be a smuggled one: it is not looked at."""
    s = server(model="a")
    before = ran(s)
    smuggled = post("/v1/chat/completions", CHAT)
    for name in ("length and coding", "content-length with a space", "two codings", "two lengths", "bad chunk"):
        with s.raw(MALFORMED[name][0] + smuggled) as c:
            assert read_answer(c).headers.get("connection") == "close", name
            assert ended(c), name
    assert ran(s) == before


def test_g6_malformed_after_a_good_request_on_the_same_connection(server):
    s = server(model="a")
    for name in ("no version", "line without a colon", "length that is no number", "bad chunk", "headers of 100 KB"):
        with s.raw(get("/health", "X-Request-ID: first")) as c:
            assert read_answer(c).headers["x-request-id"] == "first"
            c.sendall(MALFORMED[name][0])
            r = read_answer(c)
            refused(r, MALFORMED[name][1])
            assert r.headers["x-request-id"] != "first", name
            assert ended(c), name


def test_g6_bytes_that_are_no_request_at_all(server):
    s = server(model="a")
    for data in (b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n\r\n\r\n", b"\x00" * 100, b"GET", b""):
        s.raw(data).close()
    with s.raw(b"GARBAGE\r\n\r\n") as c:
        assert ended(c)
    still_well(s)


def test_g6_body_of_10_mb(server):
    s = server(model="a")
    body = b'{"messages": [{"role": "user", "content": "' + b"x" * (10 << 20) + b'"}]}'
    refused(ask(s, post("/v1/chat/completions", body)), 413, "too_large")
    chunks = b"".join(b"10000\r\n" + body[i:i + 65536].ljust(65536) + b"\r\n" for i in range(0, len(body), 65536))
    refused(ask(s, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"), 413, "too_large")
    still_well(s)


def test_g6_json_that_would_take_much_memory(server):
    s = server(model="a")
    before = memory_bytes(s.process.pid)
    body = b'{"x":[' + b",".join([b"{}"] * 2700000) + b"]}"
    error = refused(s.post("/v1/chat/completions", body), 400, "invalid_json")
    assert "too many objects and arrays" in error["message"] and "column" in error["message"], error
    body = b'{"x":[' + b",".join([b"1"] * 4000000) + b"]}"
    assert "too many values" in refused(s.post("/v1/chat/completions", body), 400, "invalid_json")["message"]
    assert memory_bytes(s.process.pid) - before < 200 << 20
    r = s.post("/v1/completions", {"prompt": [65] * 1000000})
    assert "1000000 tokens" in refused(r, 400, "context_length_exceeded")["message"]  # a million ids are read


@pytest.mark.parametrize("body", [b"[" * 1000, b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000 + b"1" + b"}" * 1000,
                                  b'{"messages": ' + b"[" * 1000 + b"]" * 1000 + b"}"], ids=["open", "array", "object", "inside"])
def test_g6_json_of_1000_levels(server, body):
    s = server(model="a")
    for path in ("/v1/chat/completions", "/v1/completions", "/admin/models/swap"):
        error = refused(s.post(path, body), 400, "invalid_json")
        assert "nested too deep" in error["message"] and "line 1, column " in error["message"], error


@pytest.mark.parametrize("body, words", [
    (b"", ["ends"]), (b"{", ["line 1, column 2"]), (b'{"messages": [}', ["line 1, column 15"]), (b'{\n "a": 1,\n}', ["line 3, column 1"]),
    (b'{"a": 1} x', ["line 1, column 10"]), (b"{'a': 1}", ["line 1, column 2"]), (b'{"a": NaN}', ["line 1, column 7"]),
    (b'{"a": "\xff"}', ["UTF-8", "column 8"]), (b'{"a": 1, "a": 2}', ["twice"]), (b'{"a": "\\ud800"}', ["surrogate"]), (b'{"a": 01}', ["0"]),
    (b'"x"', ["object"]), (b"[]", ["object"]), (b"null", ["object"]), (b"7", ["object"])])
def test_g6_bad_json_names_the_place(server, body, words):
    s = server(model="a")
    for path in ("/v1/chat/completions", "/v1/completions"):
        error = refused(s.post(path, body), 400)
        assert all(w in error["message"] for w in words), error
        assert error["message"].count("line ") <= 1, error


WRONG = [
    ({"messages": "hi"}, "messages"), ({"messages": []}, "messages"), ({"messages": [7]}, "messages[0]"), ({}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"), ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": 7}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({**CHAT, "temperature": "warm"}, "temperature"), ({**CHAT, "temperature": 2.5}, "temperature"), ({**CHAT, "top_p": 1.5}, "top_p"),
    ({**CHAT, "max_tokens": 0}, "max_tokens"), ({**CHAT, "max_tokens": 1.5}, "max_tokens"), ({**CHAT, "stream": "yes"}, "stream"),
    ({**CHAT, "stop": [""]}, "stop[0]"), ({**CHAT, "stop": ["a", 7]}, "stop[1]"), ({**CHAT, "stop": ["x"] * 17}, "stop"),
    ({**CHAT, "seed": "one"}, "seed"), ({**CHAT, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({**CHAT, "tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
    ({**CHAT, "tool_choice": "required"}, "tool_choice"), ({**CHAT, "model": 7}, "model"), ({**CHAT, "user": "../x"}, "user"),
    ({**CHAT, "response_format": {"type": "xml"}}, "response_format.type"),
    ({**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "response_format.json_schema.schema"),
]


def test_g6_wrong_types_name_the_place(server):
    s = server(model="a")
    before = ran(s)
    for body, param in WRONG:
        error = refused(s.post("/v1/chat/completions", body), 400)
        assert error["param"] == param and param in error["message"], (body, error)
    for body, param in (({"prompt": 7}, "prompt"), ({"prompt": []}, "prompt"), ({"prompt": [1, -1]}, "prompt[1]"), ({}, "prompt"),
                        ({"prompt": [1, "x"]}, "prompt[1]"), ({"prompt": ["a", 7]}, "prompt[1]")):
        assert refused(s.post("/v1/completions", body), 400)["param"] == param
    for path, body, param in (("/admin/models/swap", {}, "model"), ("/admin/models/swap", {"model": 7}, "model"),
                              ("/admin/models/swap", {"model": "b", "drain_timeout_s": -1}, "drain_timeout_s"),
                              ("/admin/models/swap", {"model": "b", "on_deadline": "maybe"}, "on_deadline"),
                              ("/admin/models/swap", {"model": "b", "wait": "yes"}, "wait"),
                              ("/admin/models/swap", {"model": "b", "colour": 1}, None),
                              ("/admin/models/offload", {"wait": 1}, "wait"), ("/admin/debug/fault", {}, "name")):
        assert refused(s.post(path, body), 400)["param"] == param, body
    assert ran(s) == before
    assert s.current()["model"] == "a"


@pytest.mark.parametrize("stream", [False, True])
def test_g6_too_long_a_prompt_names_both_numbers(server, models, stream):
    add(models, "short", context=2048)
    s = server(model="short")
    body = {"model": "short", "stream": stream, "messages": [{"role": "user", "content": "x" * 5000}]}
    r = s.post("/v1/chat/completions", body)
    error = refused(r, 400, "context_length_exceeded")
    numbers = [int(n) for n in re.findall(r"\d+", error["message"])]
    assert len(numbers) >= 2 and numbers[0] > 5000 and 2048 in numbers, error
    refused(s.post("/v1/completions", {"model": "short", "prompt": [65] * 2048}), 400, "context_length_exceeded")
    assert s.complete("short", "[[say:x]]")["choices"][0]["text"] == "x"


def test_g6_bodies_that_stop_half_way(server):
    """Clients that leave in the middle of their body are forgotten; nothing of it ran."""
    s = server(model="a")
    before = ran(s)
    clients = []
    for data in (POST + b"Content-Length: 1000\r\n\r\n", POST + b'Content-Length: 1000\r\n\r\n{"messages": [', POST[:-4], POST,
                 POST + b"Transfer-Encoding: chunked\r\n\r\n100\r\n{", POST + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n'):
        clients.append(s.raw(data))
    wait_until(lambda: s.metrics().sum("hotseat_http_requests_open") >= 5, what="they are being received")
    assert s.chat("a", "[[say:others go on]]")["choices"][0]["message"]["content"] == "others go on"
    for c in clients:
        c.close()
    wait_until(lambda: s.metrics().sum("hotseat_http_requests_open") == 1, what="they are forgotten")
    assert ran(s) == before + 1
    assert s.metrics().sum("hotseat_http_clients_left_total") >= 4


def test_g6_a_refusal_does_not_wait_for_a_body_that_stops(server, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    s = server(model="a", options=["--api-key", str(tmp_path / "key")])
    for head, status in ((b"POST /v1/completions HTTP/1.1\r\n" + HOST, 401), (b"DELETE /health HTTP/1.1\r\n" + HOST, 405),
                         (b"POST /v1/completions HTTP/1.1\r\nHost: evil.example\r\n", 403), (b"POST /nowhere HTTP/1.1\r\n" + HOST +
                                                                                              b"x-api-key: secret\r\n", 404)):
        for framing in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n"):
            refused(ask(s, head + framing, timeout=3), status)


def test_g6_clients_that_never_read_lose_their_stream_alone(server, models):
    add(models, "a", seed=0, context=32768, step_us=100 if SLOW == 1 else 300)  # no faster than all others can be served
    s = server(model="a", options=["--parallel", "4"])
    deaf = []
    for i in range(2):
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(("127.0.0.1", s.port))
        c.sendall(post("/v1/chat/completions", {"model": "a", "stream": True, "messages": [{"role": "user", "content": "[[len=30000]]"}]}))
        deaf.append(c)
    running(s, 1)
    good = s.stream("a", "[[len=300]]").read_all()
    assert good.done and good.error is None
    wait_until(lambda: s.metrics().sum("hotseat_http_slow_clients_total") == 2, what="both were ended", timeout=60)
    wait_until(lambda: slots(s) == 0, what="their work has stopped", timeout=5)
    assert s.metrics().sum("hotseat_requests_total", outcome="canceled") == 2
    for c in deaf:
        c.close()
    still_well(s)


@pytest.mark.parametrize("name", [b"a\x01b", b"a\x7fb", b"a\x1bb", b"\xff\xfe", b"a\xc2\x85b", b"a/b", b"..", b"x" * 300])
def test_g6_agent_names_in_raw_headers(server, name):
    s = server(model="a")
    before = ran(s)
    body = json.dumps(CHAT).encode()
    data = POST + b"X-Hotseat-Agent: " + name + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert refused(ask(s, data), 400, "invalid_request")["param"] == "X-Hotseat-Agent"
    assert ran(s) == before
    good = POST + b"X-Hotseat-Agent: J\xc3\xbcrgen\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert ask(s, good).json()["hotseat"]["agent"] == "J\u00fcrgen"


@pytest.mark.parametrize("fault", ["disk_full", "disk_readonly"])
def test_g6_c6_a_cache_that_cannot_be_written(server, fault):
    s = server(model="a")
    s.fault(fault, times=-1)
    body = s.chat("a", long_text(1500) + "[[say:all the same]]", agent="ann")
    assert body["choices"][0]["message"]["content"] == "all the same"
    wait_until(lambda: s.metrics().sum("hotseat_agents_unsaved") >= 1, what="the agent is unsaved")
    assert s.metrics().sum("hotseat_cache_write_failures_total") >= 1
    ann = [a for a in s.get("/admin/agents").ok()["agents"] if a["id"] == "ann"]
    assert ann and ann[0]["saved"] is False, ann
    again = s.chat("a", long_text(1500) + "[[say:warm]]", agent="ann")  # from memory
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 1000
    assert s.swap("b")["status"] == "swapped"  # a full disk is no reason not to
    assert s.chat("b", "[[say:on b]]")["choices"][0]["message"]["content"] == "on b"
    assert re.search(r"level=(warn|error) program=seat id=seat\.put err=\w+ agent=ann", s.log), s.log[-2000:]
    s.fault(fault, times=0)
    s.chat("b", long_text(1500) + "[[say:x]]", agent="bob")
    wait_until(lambda: any(a["id"] == "bob" and a["saved"] for a in s.get("/admin/agents").ok()["agents"]), what="bob is saved")


@pytest.mark.parametrize("method, path", [("DELETE", "/admin/cache"), ("DELETE", "/admin/agents/ann"), ("POST", "/admin/agents/ann/pin"),
                                          ("POST", "/admin/agents/ann/unpin"), ("POST", "/admin/reload")])
def test_g6_a_body_that_would_be_ignored(server, method, path):
    """A model named in the body would be ignored, and every model's cache hit."""
    s = server(model="a")
    talk = warm_talk(s, "a", agent="ann")
    body = b'{"model": "b"}'
    head = b"%s %s HTTP/1.1\r\n" % (method.encode(), path.encode()) + HOST
    for framing in (b"Content-Length: %d\r\n\r\n" % len(body) + body, b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)):
        assert "?model=" in refused(ask(s, head + framing, timeout=10), 400, "invalid_request")["message"]
    assert_warm(talk)
    assert ask(s, head + b"Content-Length: 0\r\n\r\n").status == 200


def test_g6_broken_queries_and_paths(server):
    s = server(model="a")
    for path in ("/admin/agents/%zz", "/admin/agents/%00", "/admin/agents/a%2fb", "/admin/agents/a%0ab", "/admin/agents?model=%zz",
                 "/admin/agents?modell=a", "/admin/agents?model=", "/admin/cache?x"):
        refused(ask(s, get(path)), 400)
    r = s.request("DELETE", "/admin/cache?modell=a")
    refused(r, 400)
    for path in ("/v1/models/nobody", "/v1", "/", "//health", "/health/", "/admin/../health", "/%68ealth"):
        refused(ask(s, get(path)), 404)


def test_g6_errors_while_streaming_has_not_begun_are_statuses(server):
    s = server(model="a")
    with pytest.raises(ApiError) as e:
        s.stream("nobody", "hello")
    assert (e.value.status, e.value.code) == (404, "model_not_found")
    assert e.value.error["param"] == "model"
