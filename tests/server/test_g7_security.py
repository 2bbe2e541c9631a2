"""G7: ids on every answer, who may call (Host, Origin, keys), and what pages are told (CORS)."""
import re
import socket
import subprocess

import pytest
from fakes import add, wait_until
from hotseat_harness import Server
from raw_http import HOST, ask, get, post, read_answer

CHAT = {"messages": [{"role": "user", "content": "[[say:hi]]"}]}
CORS = "access-control-allow-origin"


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "api").write_text("api-secret\n")
    (tmp_path / "admin").write_text("admin-secret\n")
    return {"api": ["--api-key", str(tmp_path / "api")], "admin": ["--admin-key", str(tmp_path / "admin")]}


def everything(port):
    """Requests that end with each status, as (status, what to send); 401 and 403 need a server with keys."""
    key = "x-api-key: api-secret"
    return [
        (200, get("/health")), (200, get("/v1/models", key)), (200, get("/metrics", key)), (200, post("/v1/chat/completions", CHAT, key)),
        (200, get("/admin/models/current", "x-api-key: admin-secret")), (204, get("/v1/models", "Origin: http://localhost").replace(b"GET", b"OPTIONS")),
        (400, post("/v1/chat/completions", b"{", key)), (400, post("/v1/chat/completions", {}, key)),
        (400, b"GET /health HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n"), (400, get("/health", "Host: localhost")),
        (401, get("/v1/models")), (401, post("/v1/chat/completions", CHAT)), (401, get("/admin/swap", key)),
        (403, b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n"), (403, get("/admin/swap", "Origin: http://evil.example")),
        (404, get("/nowhere", key)), (404, get("/v1/models/nobody", key)), (404, post("/v1/chat/completions", {**CHAT, "model": "x"}, key)),
        (404, post("/admin/models/swap", {"model": "x"}, "x-api-key: admin-secret")),
        (405, post("/health", {})), (405, get("/v1/chat/completions", key)),
        (413, post("/v1/chat/completions", b"", key).replace(b"Content-Length: 0", b"Content-Length: 9000000")),
        (414, get("/health?" + "a" * 5000)), (431, get("/health", "X-A: " + "a" * 40000)), (431, get("/health", "X-A: " + "a" * 90000)),
        (505, b"GET /health HTTP/3.0\r\n" + HOST + b"\r\n"),
    ]


def test_g7_every_answer_has_an_id_of_its_own(server, keys):
    s = server(model="a", options=keys["api"] + keys["admin"])
    seen = set()
    for status, data in everything(s.port):
        r = ask(s, data)
        assert r.status == status, (data[:100], r.status, r.body)
        assert re.fullmatch(r"[!-~]{1,128}", r.headers["x-request-id"]), data[:100]
        seen.add(r.headers["x-request-id"])
    assert len(seen) == len(everything(s.port))
    r = ask(s, post("/v1/chat/completions", CHAT, "x-api-key: api-secret"))
    assert f"request={r.headers['x-request-id']} " in s.log  # the same one as in the log


def test_g7_the_clients_own_id_comes_back_on_every_answer(server, keys):
    s = server(model="a", options=keys["api"] + keys["admin"])
    for i, (status, data) in enumerate(everything(s.port)):
        if b"HTTP/3.0" in data or b"a" * 90000 in data:
            continue  # refused before the headers are read
        line, rest = data.split(b"\r\n", 1)
        r = ask(s, line + b"\r\nX-Request-ID: my/id-%d\r\n" % i + rest)
        assert (r.status, r.headers["x-request-id"]) == (status, f"my/id-{i}"), data[:100]
    for bad in (b"", b"two words", b"x" * 129, b"\xc3\xa4", b"a\x01"):
        r = ask(s, b"GET /health HTTP/1.1\r\n" + HOST + b"X-Request-ID: " + bad + b"\r\n\r\n")
        assert r.status == 200 and re.fullmatch(r"req-[0-9a-f]+", r.headers["x-request-id"]), bad


def test_g7_streams_have_an_id(server):
    s = server(model="a")
    stream = s.stream("a", "[[say:x]]", headers={"X-Request-ID": "stream-1"}).read_all()
    assert stream.headers["X-Request-ID"] == "stream-1" and stream.done
    assert re.fullmatch(r"req-[0-9a-f]+", s.stream("a", "[[say:x]]").read_all().headers["X-Request-ID"])
    events = s.open_stream("/admin/events", None, method="GET")
    assert events.headers["X-Request-ID"]
    events.close()


def test_g7_ids_differ_after_a_restart(server):
    s = server(model="a")
    one = {s.get("/health").headers["x-request-id"] for _ in range(20)}
    s.restart()
    assert len(one) == 20 and not one & {s.get("/health").headers["x-request-id"] for _ in range(20)}


# ---- Host ----

@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/admin/swap", "/nowhere"])
def test_g7_a_foreign_host_is_403(server, path):
    s = server(model="a")

    def status(host):
        return ask(s, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).status
    for host in ("evil.example", f"evil.example:{s.port}", "localhost.evil.example", "127.0.0.1.nip.io", f"localhost:{s.port + 1}", "",
                 "localhost:", "[::2]", "localhost@evil.example"):
        assert status(host) == 403, host
    for host in ("localhost", f"localhost:{s.port}", "LOCALHOST", "127.0.0.1", f"127.0.0.1:{s.port}", "[::1]", f"[::1]:{s.port}"):
        assert status(host) != 403, host


def test_g7_another_loopback_address_answers_to_its_own_name(server):
    s = server(model="a", options=["--host", "127.0.0.2"], ready=False)
    for host, status in ((f"127.0.0.2:{s.port}", 200), ("localhost", 200), ("127.0.0.3", 403), ("evil.example", 403)):
        with socket.create_connection(("127.0.0.2", s.port), timeout=10) as c:
            c.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert read_answer(c).status == status, host


@pytest.mark.parametrize("given", [[], ["api"], ["admin"]])
def test_g7_another_address_needs_both_keys(models, tmp_path, keys, given):
    s = Server(tmp_path / "s", models, options=["--host", "0.0.0.0", *(o for g in given for o in keys[g])])
    done = subprocess.run(s.command(), capture_output=True, text=True, timeout=30, env=s.clean_env(), stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and "key" in done.stderr, done


# ---- Origin, CORS ----

def preflight(s, path, origin, method="POST", headers="authorization, content-type, x-hotseat-agent"):
    return ask(s, f"OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n"
               f"Access-Control-Request-Headers: {headers}\r\n\r\n".encode())


def test_g7_pages_on_this_machine_may_call_others_not(server):
    s = server(model="a")
    for origin in ("http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:5173"):
        r = preflight(s, "/v1/chat/completions", origin)
        assert r.status == 204 and r.headers[CORS] == origin and r.body == b"", r.headers
        assert "POST" in r.headers["access-control-allow-methods"]
        assert "authorization" in r.headers["access-control-allow-headers"] and "Origin" in r.headers["vary"]
        r = ask(s, post("/v1/chat/completions", CHAT, f"Origin: {origin}"))
        assert r.status == 200 and r.headers[CORS] == origin and "X-Request-ID" in r.headers["access-control-expose-headers"]
        assert ask(s, get("/nowhere", f"Origin: {origin}")).headers[CORS] == origin  # a page may read the error
        stream = s.stream("a", "[[say:x]]", headers={"Origin": origin}).read_all()
        assert stream.headers["Access-Control-Allow-Origin"] == origin
        assert preflight(s, "/admin/models/swap", origin).status == 204
    for origin in ("http://evil.example", "https://localhost.evil.example", "null", "http://127.0.0.1@evil.example", "file://",
                   "http://localhost/", "localhost"):
        r = preflight(s, "/v1/chat/completions", origin)
        assert r.status == 403 and not any(h.startswith("access-control-") for h in r.headers), (origin, r.headers)
        r = ask(s, post("/v1/chat/completions", CHAT, f"Origin: {origin}"))
        assert not any(h.startswith("access-control-") for h in r.headers), (origin, r.headers)


def test_g7_origins_option_replaces_the_list(server):
    s = server(model="a", options=["--origins", "https://app.example, http://other.example:3000"])
    for origin, ok in (("https://app.example", True), ("http://other.example:3000", True), ("http://app.example", False),
                       ("http://other.example", False), ("http://localhost", False), ("https://app.example.evil", False)):
        assert (CORS in ask(s, get("/v1/models", f"Origin: {origin}")).headers) is ok, origin
        assert preflight(s, "/v1/models", origin, "GET").status == (204 if ok else 403), origin
        assert ask(s, get("/admin/swap", f"Origin: {origin}")).status == (200 if ok else 403), origin


def test_g7_every_page_but_never_for_admin(server):
    s = server(model="a", options=["--origins", "*"])
    assert ask(s, get("/v1/models", "Origin: http://any.example")).headers[CORS] == "http://any.example"
    assert ask(s, get("/admin/swap", "Origin: http://any.example")).status == 403
    assert preflight(s, "/admin/models/swap", "http://any.example").status == 403


def test_g7_admin_with_a_foreign_origin_is_403_without_a_preflight(server):
    """What a page can send without asking first: a simple POST. It must not swap."""
    s = server(model="a")
    for path in ("/admin/models/swap", "/admin/models/offload", "/admin/reload", "/admin/agents/ann/pin", "/admin/nowhere"):
        data = post(path, {"model": "b"}, "Origin: http://evil.example").replace(b"application/json", b"text/plain")
        r = ask(s, data)
        assert r.status == 403 and r.json()["error"]["code"] == "forbidden", (path, r.body)
        assert not any(h.startswith("access-control-") for h in r.headers)
    assert s.current()["model"] == "a"
    assert ask(s, post("/admin/models/swap", {"model": "b"}, "Origin: http://localhost:3000")).status == 200
    assert s.current()["model"] == "b"


# ---- keys ----

def status(s, path, *headers, body=None):
    return ask(s, post(path, body, *headers) if body is not None else get(path, *headers)).status


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "authorization: bearer {}", "x-api-key: {}", "X-API-Key: {}"])
def test_g7_either_header_carries_a_key(server, keys, header):
    s = server(model="a", options=keys["api"] + keys["admin"])
    api, admin, wrong = (header.format(k) for k in ("api-secret", "admin-secret", "api-secre"))
    for path, body in (("/v1/models", None), ("/v1/chat/completions", CHAT), ("/v1/completions", {"prompt": "[[say:x]]"}), ("/metrics", None)):
        assert status(s, path, body=body) == 401
        assert status(s, path, wrong, body=body) == 401
        assert status(s, path, api, body=body) == 200
        assert status(s, path, admin, body=body) == 200
    for path in ("/admin/swap", "/admin/models/current", "/admin/agents", "/admin/ps"):
        assert status(s, path) == 401 and status(s, path, wrong) == 401
        assert status(s, path, api) == 401, "the api key does not open /admin when there is an admin key"
        assert status(s, path, admin) == 200
    assert status(s, "/health") == status(s, "/health/live") == status(s, "/health/ready") == 200
    assert status(s, "/nowhere") == 401  # who has no key is not told what there is
    r = ask(s, get("/v1/models"))
    assert r.headers["www-authenticate"].startswith("Bearer") and r.json()["error"]["code"] == "invalid_api_key"


def test_g7_one_right_key_of_two_is_enough(server, keys):
    s = server(model="a", options=keys["api"] + keys["admin"])
    assert status(s, "/v1/models", "Authorization: Bearer wrong", "x-api-key: api-secret") == 200
    assert status(s, "/v1/models", "Authorization: Bearer api-secret", "x-api-key: wrong") == 200
    assert status(s, "/v1/models", "Authorization: Basic api-secret") == 401
    assert status(s, "/v1/models", "Authorization: Bearer ") == 401
    assert status(s, "/v1/models", "x-api-key:") == 401


def test_g7_the_api_key_alone_opens_admin(server, keys):
    s = server(model="a", options=keys["api"])
    assert status(s, "/admin/swap") == 401 and status(s, "/admin/swap", "x-api-key: api-secret") == 200


def test_g7_the_admin_key_alone_leaves_v1_open(server, keys):
    s = server(model="a", options=keys["admin"])
    assert status(s, "/v1/models") == 200 and status(s, "/v1/chat/completions", body=CHAT) == 200
    assert status(s, "/admin/swap") == 401 and status(s, "/metrics") == 401
    assert status(s, "/admin/swap", "x-api-key: admin-secret") == 200


def test_g7_a_preflight_needs_no_key_but_the_request_does(server, keys):
    s = server(model="a", options=keys["api"] + keys["admin"])
    assert preflight(s, "/v1/chat/completions", "http://localhost").status == 204
    r = ask(s, post("/v1/chat/completions", CHAT, "Origin: http://localhost"))
    assert r.status == 401 and r.headers[CORS] == "http://localhost"  # so that the page can read why


def test_g7_keys_are_in_no_log(server, keys, models):
    add(models, "quick", seed=3)
    s = server(model="a", options=keys["api"] + keys["admin"])
    assert status(s, "/v1/models", "x-api-key: api-secret") == 200
    status(s, "/v1/models", "Authorization: Bearer wrong-but-secret")
    wait_until(lambda: "/v1/models" in s.log, what="the log has it")
    assert not re.search("api-secret|admin-secret|wrong-but-secret", s.log)
