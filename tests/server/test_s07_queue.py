"""S7, S8, S11, S16: waiting for a turn, what is seen meanwhile, several swaps at once, and whose answer one gets."""
import asyncio
import re
import time

import pytest
from crowd import Crowd, elsewhere, until
from fakes import add, in_threads, running, seated, seconds, wait_until
from hotseat_harness import ApiError

WAITING = re.compile(r"waiting model=(\S+) position=(\d+) eta_ms=(\d+)")


def test_s7_requests_for_b_wait_with_signs_of_life_and_are_answered_in_order(server, models):
    add(models, "a", seed=0, step_us=5000)
    add(models, "b", seed=1, step_us=5000)  # so that one answer ends well before the next
    s = server(model="a", options=["--patience", "0", "--parallel", "1"])
    began, ends = time.monotonic(), {}

    def on_a():
        return s.stream("a", "[[len=1600]]").read_all()

    def on_b(i):
        time.sleep(0.3 + 0.2 * i)
        start = time.monotonic()
        st = s.stream("b", f"[[say:b answers {i}]]")
        headers = time.monotonic() - start
        st.read_all()
        ends[i] = time.monotonic()
        return st, headers
    results, errors = in_threads([on_a, *[lambda i=i: on_b(i) for i in range(3)]])
    assert errors == [None] * 4
    assert time.monotonic() - began > 6
    assert results[0].done and len(results[0].text.encode()) >= 1600
    for i, (st, headers) in enumerate(results[1:]):
        assert headers < seconds(2)
        assert st.done and st.text == f"b answers {i}"
        assert {e["model"] for _, e in st.events if e.get("model")} == {"b"}
        found = [(at, WAITING.search(c)) for at, c in st.comments]
        assert found and all(m and m[1] == "b" and int(m[2]) >= 1 for _, m in found), st.comments
        times = [at for at, _ in found] + [st.times[0]]
        assert all(b - a < seconds(5.5) for a, b in zip(times, times[1:])), times
        assert st.hotseat["queue_ms"] > 2000, st.hotseat
    positions = [int(WAITING.search(st.comments[0][1])[2]) for st, _ in results[1:]]
    assert positions == sorted(positions)
    assert ends[0] <= ends[1] <= ends[2]


def test_s7_64_wait_for_b_and_are_answered_in_order(server):
    """Half of them come while a is held, half while b loads."""
    s = server(model="a", options=["--parallel", "1"], env={"HOTSEAT_FAKE_LOAD_MS": 1500, "HOTSEAT_FAKE_STEP_US": 2000}, log_level="info")
    crowd = Crowd(s)

    async def all_of_it():
        await elsewhere(s.swap, "a", hold_s=60)
        tasks, swap = [], None
        for i in range(64):
            if i == 32:
                await until(lambda: all(len(a.comments) >= 2 for a in crowd.asked), 20, "two comments for each")
                swap = asyncio.create_task(elsewhere(s.swap, "b", hold_s=0))
                await until(lambda: s.ready()[0] == 503, 20, "b loads", every=0.01)
            tasks.append(asyncio.create_task(crowd.ask("b", f"[[say:b answers {i}]]")))
            await until(lambda: s.metrics().sum("hotseat_requests_waiting") == i + 1, 20, "it waits", every=0.002)
        assert not swap.done(), "the last ones were to come during the load"
        await asyncio.gather(swap, *tasks)
    asyncio.run(all_of_it())
    for i, a in enumerate(crowd.asked):
        a.check(f"b answers {i}")
        times = [a.sent, *(at for at, _ in a.comments), a.moves[0]]
        assert a.headers - a.sent < seconds(2) and all(b - a < seconds(5.5) for a, b in zip(times, times[1:])), times
        found = [WAITING.search(text) for _, text in a.comments]
        assert all(m and m[1] == "b" for m in found) and [int(m[2]) for m in found][:1] in ([], [i + 1]), a.comments
    ends = [a.moves[-1] for a in crowd.asked]
    assert ends == sorted(ends)


def test_s7_requests_that_come_while_b_loads(server, models):
    add(models, "b", seed=1, load_ms=1500)
    s = server(model="a")

    def late(i):
        wait_until(lambda: s.ready()[0] == 503, what="swapping")
        body = s.chat("b", f"[[say:late {i}]]")
        return body["model"], body["choices"][0]["message"]["content"]
    results, errors = in_threads([lambda: s.swap("b"), lambda: late(0), lambda: late(1)])
    assert errors == [None] * 3
    assert results[1:] == [("b", "late 0"), ("b", "late 1")]


def test_s7_short_wait_has_no_comment(server):
    s = server(model="a")
    st = s.stream("a", "[[say:quick]]").read_all()
    assert st.comments == [] and st.text == "quick"


def test_s8_what_is_seen_during_a_load(server, models):
    add(models, "b", seed=1, load_ms=2500)
    s = server(model="a")
    stream, events = s.events()
    seen, slowest = [], 0

    def watch():
        nonlocal slowest
        wait_until(lambda: s.swap_status()["state"] != "SERVING" or None, what="a swap")
        while True:
            began = time.monotonic()
            assert s.get("/health/live").status == 200
            slowest = max(slowest, time.monotonic() - began)
            status, ready = s.swap_status(), s.ready()
            if status["state"] == "SERVING":
                return
            seen.append((status, ready))
            time.sleep(0.05)
    results, errors = in_threads([lambda: s.swap("b"), watch])
    assert errors == [None, None]
    assert slowest < seconds(0.1)
    loading = [(st, r) for st, r in seen if st["state"] == "LOADING"]
    assert len(loading) > 5
    for st, (code, text) in loading:
        assert code == 503 and "swapping" in text
        assert (st["from"], st["to"]) == ("a", "b") and st["elapsed_ms"] >= 0, st
    percents = [st["percent"] for st, _ in loading]
    assert percents == sorted(percents) and percents[0] < 50 < percents[-1], percents
    assert s.ready()[0] == 200 and "ready" in s.ready()[1]
    text = str(events)
    wait_until(lambda: "SERVING" in str(events), what="the last event")
    for state in ("DRAINING", "EVICTING", "UNLOADING", "LOADING", "CONFIGURING", "SERVING"):
        assert state in str(events), (state, text)
    stream.close()


def test_s8_history_keeps_32_swaps(server):
    s = server(model="a")
    for i in range(18):
        s.swap("b"), s.swap("a")
    history = s.swap_status()["swaps"]
    assert len(history) == 32
    assert all(h["to"] in ("a", "b") for h in history)


def test_s11_same_target_joins_another_waits(server, models):
    add(models, "b", seed=1, load_ms=1200)
    s = server(model="a")

    def later(model, delay):
        time.sleep(delay)
        return s.swap(model, hold_s=0)
    results, errors = in_threads([lambda: later("b", 0), lambda: later("b", 0.4), lambda: later("c", 0.6)])
    assert errors == [None] * 3
    assert [r["status"] for r in results] == ["swapped", "joined", "swapped"], results
    assert [r["to"] for r in results] == ["b", "b", "c"]
    assert seated(s) == "c"
    assert s.metrics().sum("hotseat_model_seated") == 1


def test_s11_no_wait_conflicts_and_is_accepted(server, models):
    add(models, "b", seed=1, load_ms=1200)
    s = server(model="a")
    r = s.post("/admin/models/swap", {"model": "b", "wait": False})
    assert r.status == 202, r.body
    assert r.json().get("id") is not None or r.json().get("swap"), r.body
    wait_until(lambda: s.swap_status()["state"] != "SERVING", what="under way")
    with pytest.raises(ApiError) as e:
        s.swap("c", wait=False)
    assert (e.value.status, e.value.code) == (409, "swap_in_progress"), e.value
    wait_until(lambda: seated(s) == "b", what="b seated")


def test_s11_swap_to_the_seated_model_moves_nothing(server):
    s = server(model="a")
    pid, before = s.seat_pid(), s.block_files()
    began = time.monotonic()
    answer = s.swap("a")
    assert time.monotonic() - began < seconds(0.5)
    assert answer["status"] == "already_seated"
    assert s.seat_pid() == pid and s.block_files() == before
    assert s.metrics().sum("hotseat_swaps_total") == 0


def test_s11_many_swaps_at_once_leave_one_model(server):
    s = server(model="a")
    results, errors = in_threads([lambda m=m: s.swap(m, hold_s=0) for m in "bcabcabc"])
    assert errors == [None] * 8
    assert seated(s) in "abc"
    assert s.metrics().sum("hotseat_model_seated") == 1
    assert s.chat(None, "[[say:fine]]")["model"] == seated(s)


def test_s16_a_name_gets_that_model_or_an_error(server):
    s = server(model="a", options=["--patience", "0", "--stay-min", "0"])
    # The fake engine's text is made of its weights: the label comes from the front, the text from who really sat there.
    own = {m: s.chat(m, "who are you? [[len=60]]")["choices"][0]["message"]["content"] for m in "abc"}
    assert len(set(own.values())) == 3

    def ask(i):
        model = "abc"[i % 3]
        body = s.chat(model, "who are you? [[len=60]]")
        return body["model"] == model and body["hotseat"]["model"] == model and body["choices"][0]["message"]["content"] == own[model]
    results, errors = in_threads([lambda i=i: ask(i) for i in range(24)])
    assert errors == [None] * 24 and all(results)


def test_s16_no_name_is_whoever_is_seated(server):
    s = server(model="b")
    assert s.chat(None, "[[say:x]]")["model"] == "b"
    assert s.chat("default", "[[say:x]]")["model"] == "b"
    s.swap("c")
    assert s.chat(None, "[[say:x]]")["model"] == "c"
    s.offload()
    assert s.ready() == (200, s.ready()[1]) and "empty" in s.ready()[1]
    assert s.chat("default", "[[say:x]]")["model"] == "c"


def test_s16_answers_differ_by_model_so_a_mix_up_would_show(server):
    s = server(model="a")
    texts = {m: s.chat(m, "the same [[len=80]]")["choices"][0]["message"]["content"] for m in "abc"}
    assert len(set(texts.values())) == 3


def test_s16_alias(server, models):
    s = server(model="a", config=f"[model b]\nalias = bee, gpt-4o\npath = {models / 'b.gguf'}\n")
    assert s.chat("gpt-4o", "[[say:x]]")["hotseat"]["model"] == "b"


def test_s16_auto_swap_off(server):
    s = server(model="a", options=["--auto-swap", "off"])
    with pytest.raises(ApiError) as e:
        s.chat("b", "hello")
    assert (e.value.status, e.value.code) == (503, "auto_swap_off"), e.value
    assert seated(s) == "a"
    assert s.swap("b")["status"] == "swapped"


def test_s7_client_that_leaves_leaves_the_queue(server, models):
    add(models, "a", seed=0, step_us=5000)
    s = server(model="a")
    busy = s.stream("a", "[[len=400]]")
    next(iter(busy))
    running(s, 1)
    waiting = s.stream("b", "[[say:never]]")
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 1, what="one waits")
    waiting.close()
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 0, what="nobody waits", timeout=3)
    busy.read_all()
    assert seated(s) == "a"


def test_s11_a_hold_of_the_model_that_sits_already(server):
    """Without patience an idle model leaves at once for who waits; held, it stays so long."""
    s = server(model="a", options=["--patience", "0", "--stay-min", "0"])
    assert s.swap("a", hold_s=3)["status"] == "already_seated"
    began = time.monotonic()
    assert s.chat("b", "[[say:on b]]")["choices"][0]["message"]["content"] == "on b"
    assert time.monotonic() - began > 2.5
    began = time.monotonic()
    assert s.chat("a", "[[say:on a]]")["choices"][0]["message"]["content"] == "on a"
    assert time.monotonic() - began < seconds(2.5)


def first_eta_ms(s, model):
    """What somebody who asks now is told at once."""
    stream = s.stream(model, "[[say:x]]")
    found = next(WAITING.search(line) for line in stream.lines() if line.startswith(":"))
    stream.close()
    return int(found[3])


def test_estimates_know_the_hold_of_the_swap_under_way(server, models):
    add(models, "b", seed=1, load_ms=3000)
    s = server(model="a", options=["--patience", "0"])
    s.chat("c", "[[say:x]]")
    s.swap("a", hold_s=0)
    assert s.post("/admin/models/swap", {"model": "b", "hold_s": 60, "wait": False}).status == 202
    assert first_eta_ms(s, "c") > 50_000


def test_estimates_do_not_fall_when_a_swap_takes_longer_than_expected(server):
    """Who waits for c comes after b, which has work for longer than its least time: not at once, because a sat for so long before."""
    s = server(model="a", options=["--patience", "0", "--wait-bound", "0", "--stay-min", "5", "--step-timeout", "20", "--parallel", "1"])
    s.chat("c", "[[say:x]]")  # how long swaps take is known
    s.swap("a", hold_s=0)
    seated_at = time.monotonic()
    wait_until(lambda: time.monotonic() - seated_at > 5.5, what="a has sat for its least time", timeout=20)
    s.fault("unload_hang")
    waits = [s.stream("b", "[[say:x]]") for _ in range(8)]
    wait_until(lambda: s.swap_status()["step"] == "unload" and s.swap_status()["eta_ms"] == 0, what="the unload is late")
    assert first_eta_ms(s, "c") > 4500
    for stream in waits:
        stream.close()
