"""S13: kill -9 of the seat at any step. The front answers on, a new seat comes, streams go on: no token lost, none twice."""
import json
import threading
import time

import pytest
from fakes import add, assert_warm, in_threads, running, saved, seated, wait_until, warm_talk
from hotseat_harness import ApiError

TOOLS = [{"type": "function", "function": {"name": "look", "description": "looks", "parameters": {"type": "object", "properties": {
    "query": {"type": "string"}}}}}]


@pytest.fixture
def slow(models):
    add(models, "a", seed=0, step_us=3000)
    add(models, "w", seed=9, step_us=3000, architecture="gemma3", layers=6, window=512)
    return models


def calls_of(stream):
    """The tool calls, put together from their deltas as clients do."""
    out = {}
    for _, e in stream.events:
        for choice in e.get("choices") or []:
            for d in (choice.get("delta") or {}).get("tool_calls") or []:
                c = out.setdefault(d["index"], {"id": None, "name": "", "arguments": ""})
                c["id"] = d.get("id") or c["id"]
                c["name"] += (d.get("function") or {}).get("name") or ""
                c["arguments"] += (d.get("function") or {}).get("arguments") or ""
    return out


def killed_at(s, model, ask, event, times=1, gap=15):
    """Streams ask and kills the seat after so many events, `times` times with gap events between."""
    stream = s.stream(model, **ask)
    kill_at = {event + i * gap for i in range(times)}
    for i, _ in enumerate(stream):
        if i in kill_at:
            s.kill_seat()
    return stream


def check_equal(stream, reference):
    assert stream.error is None and stream.done, stream.raw[-600:]
    assert stream.text == reference.text
    assert calls_of(stream) == calls_of(reference)
    assert stream.finish == reference.finish
    assert stream.usage["completion_tokens"] == reference.usage["completion_tokens"]
    assert stream.usage["prompt_tokens"] == reference.usage["prompt_tokens"]


CASES = {
    "babble": (dict(messages="go [[len=160]]"), [3, 40, 120]),
    "emoji": (dict(messages="go [[emoji=40]]"), [2, 7, 21]),
    "tool": (dict(messages="go [[say:I look.]][[tool:look]]", tools=TOOLS), [4, 12, 30]),
    "think": (dict(messages="go [[think:well, well, well]][[len=60]]"), [2, 20]),
    "stop": (dict(messages="go [[say:one two three STOP four]]", stop=["STOP"]), [4]),
}


@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize("case", CASES)
def test_s13_killed_in_a_stream(server, slow, case, temperature):
    ask, events = CASES[case]
    ask = dict(ask, temperature=temperature, seed=11)
    s = server(model="a")
    reference = s.stream("a", **ask).read_all()
    assert reference.done
    for event in events:
        check_equal(killed_at(s, "a", ask, event), reference)
    assert s.metrics().sum("hotseat_seat_deaths_total") == len(events)
    assert s.metrics().sum("hotseat_streams_resubmitted_total") >= len(events)


def test_s13_control_the_tool_case_is_a_tool_call(server, slow):
    s = server(model="a")
    stream = s.stream("a", **CASES["tool"][0]).read_all()
    calls = calls_of(stream)
    assert stream.finish == "tool_calls" and calls[0]["name"] == "look" and calls[0]["id"]
    assert set(json.loads(calls[0]["arguments"])) == {"query"}
    assert stream.text == "I look."
    emoji = s.stream("a", **CASES["emoji"][0]).read_all()
    assert len(emoji.text.encode()) > 2.5 * len(emoji.text)
    other = s.stream("a", **dict(CASES["babble"][0], temperature=0.8, seed=12)).read_all()
    assert other.text != s.stream("a", **dict(CASES["babble"][0], temperature=0.8, seed=11)).read_all().text


def test_s13_seed_drawn_by_the_front_survives(server, slow):
    """Without a seed of the client's the text still goes on as it began: nothing is sent twice, the figures add up."""
    s = server(model="a")
    stream = killed_at(s, "a", dict(messages="go [[len=200]]", temperature=0.8), 50)
    assert stream.done and stream.usage["completion_tokens"] in (200, 201)
    assert len(stream.text.encode()) == 200


def test_s13_killed_again_and_again(server, slow):
    s = server(model="a")
    ask = dict(messages="go [[len=200]]", temperature=0.8, seed=3)
    reference = s.stream("a", **ask).read_all()
    check_equal(killed_at(s, "a", ask, 10, times=4, gap=20), reference)


def test_s13_window_model_killed_past_its_window(server, slow):
    s = server(model="w")
    ask = dict(messages="x" * 900 + " go [[len=150]]", temperature=0.8, seed=3)
    reference = s.stream("w", **ask).read_all()
    check_equal(killed_at(s, "w", ask, 40), reference)


def test_s13_whole_answers_in_flight(server, slow):
    s = server(model="a", options=["--parallel", "4"])
    asks = [f"{i} [[len=150]]" for i in range(4)]
    expected = [s.chat("a", a)["choices"][0]["message"]["content"] for a in asks]

    def kill():
        running(s, 4)
        time.sleep(0.1)
        s.kill_seat()
    results, errors = in_threads([*[lambda a=a: s.chat("a", a) for a in asks], kill])
    assert errors == [None] * 5
    assert [r["choices"][0]["message"]["content"] for r in results[:4]] == expected


def test_s13_front_answers_on_while_there_is_no_seat(server, slow):
    s = server(model="a")
    s.kill_seat()
    assert s.get("/health/live").status == 200
    assert s.get("/v1/models").status == 200
    assert s.metrics().sum("hotseat_seat_deaths_total") <= 1
    assert s.chat("a", "[[say:back]]")["choices"][0]["message"]["content"] == "back"


def test_s13_idle_seat_killed_agents_go_on_warm(server):
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    saved(s)
    s.kill_seat()
    wait_until(lambda: s.seat_pid() not in (None, pid), what="a new seat")
    assert_warm(talk)


STEPS = ["DRAINING", "EVICTING", "UNLOADING", "LOADING", "CONFIGURING"]


@pytest.mark.parametrize("step", STEPS)
def test_s13_killed_at_each_step_of_a_swap(server, models, step):
    add(models, "a", seed=0, step_us=1000)
    add(models, "b", seed=1, load_ms=400)
    s = server(model="a")
    talk = warm_talk(s, "a")
    stream, events = s.events()
    in_stream = threading.Thread(target=lambda: s.stream("a", "[[len=400]]").read_all(), daemon=True)
    if step == "DRAINING":
        in_stream.start()
        running(s, 1)

    def kill():
        wait_until(lambda: step in str(events), what=step, every=0.001)
        s.kill_seat()
    (answer, _), errors = in_threads([lambda: s.post("/admin/models/swap", {"model": "b", "hold_s": 0}), kill])
    assert errors == [None, None]
    assert answer.status in (200, 500, 503), answer.body
    wait_until(lambda: s.ready()[0] == 200, what="ready again", timeout=30)
    if answer.status == 200:
        assert s.chat("b", "[[say:b lives]]")["choices"][0]["message"]["content"] == "b lives"
    if step == "DRAINING":
        in_stream.join(30)
        assert not in_stream.is_alive()
    stream.close()
    wait_until(lambda: try_chat(s, "a"), what="a answers")
    assert_warm(talk)


def try_chat(s, model):
    try:
        return s.chat(model, "[[say:yes]]")["choices"][0]["message"]["content"] == "yes"
    except ApiError as e:
        assert e.status in (500, 503), e
        return False


def test_s13_poisonous_request_ends_at_its_second_death_and_its_neighbours_live(server, slow):
    s = server(model="a", options=["--parallel", "4"])
    asks = [f"{i} [[len=250]]" for i in range(3)]
    expected = [s.chat("a", a)["choices"][0]["message"]["content"] for a in asks]

    def poison():
        running(s, 3)
        with pytest.raises(ApiError) as e:
            s.chat("a", "[[say:I will die]][[die]]")
        return e.value
    results, errors = in_threads([*[lambda a=a: s.chat("a", a) for a in asks], poison])
    assert errors == [None] * 4
    assert [r["choices"][0]["message"]["content"] for r in results[:3]] == expected
    assert results[3].code == "engine_died", results[3]
    deaths = s.metrics().sum("hotseat_seat_deaths_total")
    assert 2 <= deaths <= 3, deaths
    assert s.metrics().sum("hotseat_streams_lost_total") == 1
    assert s.chat("a", "[[say:on]]")["choices"][0]["message"]["content"] == "on"


def test_s13_death_in_prefill_counts_twice_then_ends(server, slow):
    s = server(model="a")
    with pytest.raises(ApiError) as e:
        s.chat("a", "[[die]]")
    assert e.value.status == 500 and e.value.code == "engine_died", e.value
    assert s.metrics().sum("hotseat_seat_deaths_total") == 2


def test_s13_progress_forgives_deaths(server, slow):
    """Each death came after new tokens: none is counted, however many there are."""
    s = server(model="a")
    ask = dict(messages="go [[len=300]]", temperature=0, seed=1)
    stream = killed_at(s, "a", ask, 5, times=6, gap=12)
    assert stream.done and stream.error is None
    assert s.metrics().sum("hotseat_streams_lost_total") == 0


def test_s13_killed_while_another_waits_for_its_turn(server, slow):
    s = server(model="a", options=["--patience", "0"])
    busy = threading.Thread(target=lambda: s.stream("a", "[[len=200]]").read_all(), daemon=True)
    busy.start()
    running(s, 1)

    def kill():
        wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") >= 1, what="one waits")
        s.kill_seat()
    results, errors = in_threads([lambda: s.chat("b", "[[say:b]]"), kill])
    assert errors == [None, None]
    assert results[0]["model"] == "b"
    busy.join(30)
    assert not busy.is_alive()
    assert seated(s) == "b"
