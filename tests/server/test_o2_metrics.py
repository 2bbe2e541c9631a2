"""O2: /health, /health/live, /health/ready, and /metrics as Prometheus reads it, with label sets that clients can't grow."""
import http.client
import json
import os
import re

import pytest
from fakes import add, long_text, running, seconds, wait_until
from hotseat_harness import ApiError

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)')


def parse(text):
    """Strict: (families {name: type}, samples [(name, labels, value)])."""
    families, samples, current = {}, [], None
    assert text.endswith("\n")
    for line in text.splitlines():
        found = re.fullmatch(r"# (HELP|TYPE) (\S+) (.+)", line)
        if found and found[1] == "HELP":
            current = found[2]
            assert current not in families, f"{current} stands in two places"
            families[current] = None
        elif found:
            assert found[2] == current and families[current] is None and found[3] in ("counter", "gauge", "histogram"), line
            families[current] = found[3]
        else:
            found = SAMPLE.fullmatch(line)
            assert found, f"not a sample: {line!r}"
            family = current
            assert found[1] == family or (families[family] == "histogram" and
                                          found[1] in (f"{family}_bucket", f"{family}_sum", f"{family}_count")), f"{line} under {family}"
            samples.append((found[1], found[2] or "", float(found[3])))
    assert all(families.values()), families
    return families, samples


def busy(s):
    """A server on which everything that is counted has happened."""
    s.chat("a", long_text(1200) + "[[len=30]]", agent="ann")
    s.swap("b", hold_s=0), s.swap("a", hold_s=0)
    s.chat("a", long_text(1200) + "[[len=30]]", agent="ann")
    with pytest.raises(ApiError):
        s.chat("nobody", "x")
    s.stream("a", long_text(1000, salt="new") + "[[len=20]]", agent="bob").read_all()  # written by this very process: its figures come once a second
    wait_until(lambda: s.metrics().sum("hotseat_blocks_written_total") > 0 and s.metrics().sum("hotseat_cache_dirty_bytes") == 0, what="written")


def test_o2_promised_names(server):
    """What issue and documents promise: requests by model and outcome, queues and waits, time to first token, tokens, swaps by step and
    outcome, blocks and bytes both ways, restores, restarts, memory."""
    s = server(model="a")
    busy(s)
    m = s.metrics()
    families, samples = set(re.findall(r"# TYPE (\S+)", m.text)), m.names()
    for name in ("hotseat_requests_total", "hotseat_queue_depth", "hotseat_queue_wait_seconds", "hotseat_time_to_first_token_seconds",
                 "hotseat_tokens_total", "hotseat_swaps_total", "hotseat_swap_step_seconds", "hotseat_swap_seconds",
                 "hotseat_blocks_written_total", "hotseat_blocks_read_total", "hotseat_block_bytes_written_total",
                 "hotseat_block_bytes_read_total", "hotseat_restores_total", "hotseat_restore_failures_total", "hotseat_seat_restarts_total",
                 "hotseat_memory_bytes", "hotseat_memory_budget_bytes", "hotseat_cache_write_failures_total", "hotseat_agents_unsaved",
                 "hotseat_http_responses_total", "hotseat_http_connections", "hotseat_http_requests_open", "hotseat_http_slow_clients_total",
                 "hotseat_http_clients_left_total", "hotseat_http_timeouts_total", "hotseat_http_lost_replies_total"):
        assert name in families, name
        assert name in samples or f"{name}_count" in samples, name
    assert m.sum("hotseat_requests_total", model="a", outcome="ok") == 3
    assert m.sum("hotseat_requests_total", outcome="refused") == 1
    assert m.sum("hotseat_time_to_first_token_seconds_count") == 3 and 0 < m.sum("hotseat_time_to_first_token_seconds_sum") < seconds(10)
    assert m.sum("hotseat_queue_wait_seconds_count") == 3
    for step in ("drain", "evict", "unload", "load", "configure"):
        assert m.sum("hotseat_swap_step_seconds_count", step=step) >= 2 or step == "drain", step
    assert m.sum("hotseat_swaps_total", outcome="ok") == 2 == m.sum("hotseat_swap_seconds_count")
    assert m.sum("hotseat_tokens_total", kind="generated") >= 80 and m.sum("hotseat_tokens_total", kind="reused") >= 1024
    assert m.sum("hotseat_memory_bytes", process="seat") > 100000
    for name in ("blocks_written", "block_bytes_written"):
        assert m.sum(f"hotseat_{name}_total") > 0
    assert m.sum("hotseat_http_responses_total", **{"class": "4xx"}) == 1


def test_o2_every_series_stands_once_under_its_family(server):
    s = server(model="a")
    busy(s)
    families, samples = parse(s.metrics().text)
    series_seen = [(name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))) for name, labels, _ in samples]
    assert len(series_seen) == len(set(series_seen)), sorted({x for x in series_seen if series_seen.count(x) > 1}, key=str)
    for name, kind in families.items():
        assert name.endswith("_total") == (kind == "counter"), name


def test_o2_histograms_are_cumulative(server):
    s = server(model="a")
    busy(s)
    samples = [(f[1], f[2] or "", float(f[3])) for f in map(SAMPLE.fullmatch, s.metrics().text.splitlines()) if f]
    names = {n[:-7] for n, _, _ in samples if n.endswith("_bucket")}
    assert len(names) >= 4
    for name in names:
        series = {}
        for n, labels, value in samples:
            if n == f"{name}_bucket":
                le = re.search(r'le="([^"]+)"', labels)[1]
                series.setdefault(re.sub(r',?le="[^"]+"', "", labels), []).append((float(le.replace("+Inf", "inf")), value))
        for labels, buckets in series.items():
            assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), (name, labels)
            assert [v for _, v in buckets] == sorted(v for _, v in buckets)
            counts = [v for n, other, v in samples if n == f"{name}_count" and other == (labels if labels != "{}" else "")]
            assert counts == [buckets[-1][1]], (name, labels, counts)


def test_o2_types_and_names(server):
    s = server(model="a")
    busy(s)
    text = s.metrics().text
    for name, kind in re.findall(r"# TYPE (\S+) (\S+)", text):
        assert name.startswith("hotseat_"), name
        assert name.endswith("_total") == (kind == "counter"), (name, kind)
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert not re.search(r"_(ms|us|ns|kb|mb)(_|$)", name), f"{name}: base units"
    r = s.get("/metrics")
    assert r.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_o2_counters_never_fall(server):
    s = server(model="a")
    busy(s)
    s.swap("b")
    one = s.metrics()
    restarts = one.sum("hotseat_seat_restarts_total")
    s.kill_seat()
    wait_until(lambda: s.metrics().sum("hotseat_seat_restarts_total") > restarts and s.get("/health/ready").status == 200, what="a new seat")
    busy_again = s.chat("b", long_text(600), agent="bob")
    assert busy_again["usage"]["completion_tokens"] > 0
    two = s.metrics()
    for (name, labels), value in one.items():
        if name.endswith(("_total", "_count", "_sum", "_bucket")):
            assert two[(name, labels)] >= value, (name, labels)
    assert two.sum("hotseat_seat_deaths_total") == 1 and two.sum("hotseat_seat_restarts_total") == restarts + 1


def series(s):
    return set(s.metrics())


def many(s, n, call):
    """n requests on one connection; call(i) -> (body, headers, wanted status)."""
    c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=seconds(30))
    for i in range(n):
        body, headers, status = call(i)
        c.request("POST", "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
        r = c.getresponse()
        r.read()
        assert r.status == status, (i, r.status)
    c.close()


def test_o2_a_thousand_names_add_no_series(server):
    s = server(model="a")
    say = [{"role": "user", "content": "[[say:x]]"}]

    def unknown(i):
        return {"model": f"unknown-{i}\"\n\\", "messages": say}, {"X-Request-ID": f"id-{i}"}, 404

    def agent(i):
        return {"model": "a", "messages": say, "user": f"user-{i}", "metadata": {"k": str(i)}}, {"Origin": f"http://localhost:{i + 1}"}, 200
    many(s, 1, unknown), many(s, 1, agent)
    before = series(s)
    many(s, 1000, unknown)
    many(s, 1000, agent)
    for i in range(100):
        assert s.request(f"M{i}", f"/nowhere/{i}").status == 404
    assert series(s) == before
    m = s.metrics()
    assert m.sum("hotseat_requests_total", outcome="refused") == 1001 and m.sum("hotseat_requests_total", model="a", outcome="ok") == 1001
    assert not re.search("unknown-|user-|id-", m.text)
    assert len(m.text) < 100000


def test_o2_models_are_the_only_names_in_labels(server):
    s = server(model="a")
    s.chat("a", "[[say:x]]"), s.chat("b", "[[say:x]]")
    values = {dict(labels).get("model") for _, labels in series(s)} - {None}
    assert values <= {"a", "b", "c", "w", "other"} and {"a", "b"} <= values, values


# ---- health ----

def test_o2_health(server):
    s = server(model="a")
    for path in ("/health", "/health/live"):
        r = s.get(path)
        assert (r.status, r.json()) == (200, {"status": "live"}), path
        head = s.request("HEAD", path)
        assert head.status == 200 and head.body == b"" and head.headers["content-length"] == str(len(r.body))
    assert (s.get("/health/ready").status, s.get("/health/ready").json()) == (200, {"status": "ready"})
    s.offload()
    assert (s.get("/health/ready").status, s.get("/health/ready").json()) == (200, {"status": "empty"})
    assert s.chat(None, "[[say:back]]")["choices"][0]["message"]["content"] == "back"  # the next request fills the seat


def test_o2_ready_says_loading_and_swapping(server, models):
    add(models, "a", seed=0, load_ms=1500)
    add(models, "b", seed=1, load_ms=1500)
    s = server(model="a", ready=False)
    r = s.get("/health/ready")
    assert (r.status, r.json()["status"]) == (503, "loading") and int(r.headers["retry-after"]) >= 1
    assert s.get("/health/live").status == 200
    wait_until(lambda: s.get("/health/ready").status == 200, what="ready")
    assert s.post("/admin/models/swap", {"model": "b", "wait": False}).status == 202
    assert wait_until(lambda: s.get("/health/ready").status == 503 and s.get("/health/ready").json()["status"], what="503") == "swapping"
    wait_until(lambda: s.get("/health/ready").status == 200, what="ready again")


def test_o2_ready_says_failed_and_a_request_for_a_good_model_mends_it(server, models, tmp_path):
    """Neither the new model nor the old one can be loaded: the old one's file was replaced by a broken one meanwhile."""
    add(models, "b", seed=1, load_fail=1)
    s = server(model="a")
    add(tmp_path, "a", seed=0, load_fail=1)
    os.replace(tmp_path / "a.gguf", models / "a.gguf")
    with pytest.raises(ApiError) as e:
        s.swap("b")
    assert e.value.status in (500, 503), e.value
    wait_until(lambda: s.get("/health/ready").json()["status"] == "failed", what="failed")
    assert s.get("/health/ready").status == 503 and s.get("/health/live").status == 200
    with pytest.raises(ApiError) as e:
        s.chat("a", "hello")
    assert e.value.status in (500, 503), e.value
    assert s.chat("c", "[[say:c is fine]]")["choices"][0]["message"]["content"] == "c is fine"
    assert s.get("/health/ready").json()["status"] == "ready"


def test_o2_health_and_metrics_answer_while_the_seat_hangs(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a")
    s.fault("decode_hang")
    stream = s.stream("a", "[[len=100]]")
    running(s, 1)
    for path in ("/health", "/health/live", "/metrics"):
        assert s.get(path, timeout=2).status == 200
    stream.close()
    s.kill_seat()
    wait_until(lambda: s.get("/health/ready").status == 200, what="a new seat")
