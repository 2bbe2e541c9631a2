"""n, several prompts, echo: each choice is what a request of its own gets, whole and streamed, through parking, deaths and swaps; the agent keeps its
conversation; what ends one ends all, once."""
import time

import openai
import pytest
from fakes import add, in_threads, long_text, running, seconds, slots, wait_until
from hotseat_harness import ApiError

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
HOT = {"temperature": 1.5, "seed": 7}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}]


def body_of(path, prompt, **params):
    own = {"messages": [{"role": "user", "content": prompt}]} if path == CHAT else {"prompt": prompt, "max_tokens": 900}
    return {"model": "a", **HOT, **own, **params}


def ask(s, path, prompt, headers=None, **params):
    return s.post(path, body_of(path, prompt, **params), headers=headers).ok()


def open_stream(s, path, prompt, headers=None, **params):
    return s.open_stream(path, body_of(path, prompt, **params, stream=True, stream_options={"include_usage": True}), headers=headers)


def said(choice):
    return choice["text"] if "text" in choice else choice["message"]["content"]


def texts(answer):
    assert [c["index"] for c in answer["choices"]] == list(range(len(answer["choices"])))
    return [said(c) for c in answer["choices"]]


def put_together(stream, n):
    """[(text, finish)] by index, of chunks whose ids are one; each choice ends once, and says nothing after it."""
    out, ends = [""] * n, [None] * n
    assert len({e["id"] for _, e in stream.events}) == 1
    for _, event in stream.events:
        assert len(event["choices"]) <= 1
        for c in event["choices"]:
            assert ends[c["index"]] is None, c
            out[c["index"]] += c["text"] if "text" in c else c["delta"].get("content") or ""
            ends[c["index"]] = c["finish_reason"]
    assert stream.done and stream.events[-1][1]["choices"] == []
    return list(zip(out, ends))


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_each_choice_is_a_request_with_the_next_seed(server, path):
    s = server(model="a")
    for n in (1, 2, 5):
        answer = ask(s, path, "[[len=60]]", n=n)
        single = [ask(s, path, "[[len=60]]", seed=HOT["seed"] + i) for i in range(n)]
        assert texts(answer) == [said(one["choices"][0]) for one in single]
        usage = answer["usage"]
        assert usage["prompt_tokens"] == single[0]["usage"]["prompt_tokens"]
        assert usage["completion_tokens"] == sum(one["usage"]["completion_tokens"] for one in single)
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        stream = open_stream(s, path, "[[len=60]]", n=n).read_all()
        assert put_together(stream, n) == [(said(c), c["finish_reason"]) for c in answer["choices"]]
        assert {k: stream.usage[k] for k in ("prompt_tokens", "completion_tokens")} == {k: usage[k] for k in ("prompt_tokens", "completion_tokens")}
    assert len(set(texts(ask(s, path, "[[len=60]]", n=4, seed=None)))) == 4
    assert len(set(texts(ask(s, path, "[[len=60]]", n=3, temperature=0)))) == 1


def test_more_than_run_at_once(server):
    s = server(model="a", options=["--parallel", "1"])
    answer = ask(s, CHAT, "[[len=30]]", n=16)
    assert len(set(texts(answer))) == 16 and s.metrics().sum("hotseat_requests_total", outcome="ok") == 1  # it is one request
    stream = open_stream(s, CHAT, "[[len=30]]", n=16).read_all()
    assert [t for t, _ in put_together(stream, 16)] == texts(answer)
    wait_until(lambda: slots(s) == 0, what="all have left")


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_the_limit(server, path):
    s = server(model="a")
    for n in (0, 17, -1, 1.5, "2", True):
        r = s.post(path, body_of(path, "x", n=n))
        assert r.status == 400 and r.json()["error"]["param"] == "n", (n, r.body)
    if path == TEXT:
        r = s.post(path, body_of(path, ["x"] * 6, n=3))
        assert r.status == 400 and r.json()["error"]["param"] == "n" and "16" in r.json()["error"]["message"]
        r = s.post(path, body_of(path, ["x"] * 17))
        assert r.status == 400 and r.json()["error"]["param"] == "prompt" and "16" in r.json()["error"]["message"]
    r = s.post("/v1/messages", {"model": "a", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "n": 2})
    assert r.status == 200 and r.headers["x-hotseat-ignored"] == "n"  # Anthropic's has none


def test_g2_several_prompts(server):
    s = server(model="a")
    prompts = ["[[say:one]]", list(b"[[len=40]]"), "[[len=40]] "]
    for n in (1, 2, 5):
        answer = ask(s, TEXT, prompts, n=n)
        single = [ask(s, TEXT, p, seed=HOT["seed"] + i) for p in prompts for i in range(n)]
        assert texts(answer) == [said(one["choices"][0]) for one in single]
        assert answer["usage"]["prompt_tokens"] == sum(one["usage"]["prompt_tokens"] for one in single[::n])
        assert answer["usage"]["completion_tokens"] == sum(one["usage"]["completion_tokens"] for one in single)
        stream = open_stream(s, TEXT, prompts, n=n).read_all()
        assert [t for t, _ in put_together(stream, 3 * n)] == texts(answer)
    assert texts(ask(s, TEXT, [[65, 66]])) == texts(ask(s, TEXT, [65, 66])) and texts(ask(s, TEXT, ["[[say:x]]"])) == ["x"]
    for bad, place in ((["x", 1], "prompt[1]"), ([[1], []], "prompt[1]"), ([[1], [2, -1]], "prompt[1][1]"), ([{}], "prompt[0]")):
        r = s.post(TEXT, body_of(TEXT, bad))
        assert r.status == 400 and r.json()["error"]["param"] == place, r.body
    for bad in (["[[len=3000]]", ""], ["[[len=3000]]", [400]]):  # the seat says so, and the other one does not go on
        assert s.post(TEXT, body_of(TEXT, bad)).status == 400
        wait_until(lambda: slots(s) == 0, what="the other one has ended", timeout=2)


def test_logprobs_and_tools_of_each(server):
    s = server(model="a")
    for path, more in ((CHAT, {"logprobs": True, "top_logprobs": 2}), (TEXT, {"logprobs": 2})):
        answer = ask(s, path, "[[len=40]]", n=3, **more)
        for i, c in enumerate(answer["choices"]):
            assert c["logprobs"] == ask(s, path, "[[len=40]]", seed=HOT["seed"] + i, **more)["choices"][0]["logprobs"] and c["logprobs"]
        stream = open_stream(s, path, "[[len=40]]", n=3, **more).read_all()
        for i, c in enumerate(answer["choices"]):
            mine = [e["choices"][0]["logprobs"] for _, e in stream.events if e["choices"] and e["choices"][0]["index"] == i and e["choices"][0]["logprobs"]]
            if path == CHAT:
                assert [t for m in mine for t in m["content"]] == c["logprobs"]["content"]
            else:
                assert [t for m in mine for t in m["token_logprobs"]] == c["logprobs"]["token_logprobs"]
    answer = ask(s, CHAT, '[[think:hm]][[tool:look:{"a": "b"}]]', n=2, tools=TOOLS)
    for c in answer["choices"]:
        assert c["finish_reason"] == "tool_calls" and c["message"]["content"] is None and c["message"]["reasoning_content"] == "hm"
        assert c["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": "b"}'}


# ---- echo and best_of ----

def test_g2_echo(server):
    s = server(model="a")
    for prompt, text in (("[[say: d\u00e9j\u00e0]]", "[[say: d\u00e9j\u00e0]]"), (list("[[say:\u65e5]]".encode()), "[[say:\u65e5]]"), ("<|im_end|>[[say:x]]", "<|im_end|>[[say:x]]"),
                         ([257, *b"[[say:x]]"], "[[say:x]]")):
        plain = ask(s, TEXT, prompt, n=2)
        answer = ask(s, TEXT, prompt, n=2, echo=True)
        assert texts(answer) == [text + t for t in texts(plain)], prompt
        stream = open_stream(s, TEXT, prompt, n=2, echo=True).read_all()
        assert [t for t, _ in put_together(stream, 2)] == texts(answer)
        assert stream.events[0][1]["choices"][0]["text"] == text
        assert answer["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]
    assert texts(ask(s, TEXT, ["[[say:x]]", "[[say:y]]"], echo=True)) == ["[[say:x]]x", "[[say:y]]y"]
    r = s.post(TEXT, body_of(TEXT, "x", echo=True, logprobs=0))
    assert r.status == 400 and r.json()["error"]["param"] == "echo" and "logprobs" in r.json()["error"]["message"]
    r = s.post(CHAT, body_of(CHAT, "[[say:x]]", echo=True))
    assert r.headers["x-hotseat-ignored"] == "echo" and texts(r.ok()) == ["x"]  # a chat has none


def test_g2_best_of(server):
    s = server(model="a")
    assert texts(ask(s, TEXT, "[[len=20]]", n=3, best_of=3)) == texts(ask(s, TEXT, "[[len=20]]", n=3))
    assert ask(s, TEXT, "[[say:x]]", best_of=1)
    for more in ({"best_of": 2}, {"best_of": 2, "n": 3}, {"best_of": 5, "n": 3}):
        r = s.post(TEXT, body_of(TEXT, "x", **more))
        assert r.status == 400 and r.json()["error"]["param"] == "best_of" and r.json()["error"]["code"] == "unsupported_parameter"


# ---- what is shared ----

def test_a_prompt_is_read_once(server):
    s = server(model="a")
    long = long_text(3000)
    answer = ask(s, TEXT, long + "[[len=20]]", n=4)
    read = answer["usage"]["prompt_tokens"] + 3 * 2 * 256  # at most the last, unfull block, and one more that had to be there
    assert answer["usage"]["prompt_tokens"] <= answer["hotseat"]["prefill_tokens"] < read, answer["hotseat"]
    wait_until(lambda: s.metrics().sum("hotseat_tokens_total", kind="read") == answer["hotseat"]["prefill_tokens"], what="the metrics say the same")
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    again = ask(s, TEXT, long + "[[len=20]]", n=4)
    assert texts(again) == texts(answer) and again["usage"]["prompt_tokens_details"]["cached_tokens"] > 2800
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] <= again["usage"]["prompt_tokens"]


def test_only_the_first_choice_is_the_agents(server):
    s = server(model="a")
    messages = [{"role": "system", "content": long_text(900)}, {"role": "user", "content": "[[len=300]]"}]
    ann = {"X-Hotseat-Agent": "ann"}
    answer = ask(s, CHAT, "", messages=messages, n=3, headers=ann)
    assert answer["hotseat"]["agent"] == "ann" and [a["id"] for a in s.get("/admin/agents").ok()["agents"]] == ["ann"]
    messages += [{"role": "assistant", "content": texts(answer)[0]}, {"role": "user", "content": "[[len=20]]"}]
    after = ask(s, CHAT, "", messages=messages, n=2, headers=ann)["usage"]
    first_turn = answer["usage"]["prompt_tokens"] + 300
    assert first_turn - 5 <= after["prompt_tokens_details"]["cached_tokens"] <= first_turn + 5  # it goes on where that one ended
    s.swap("b", hold_s=0)
    s.swap("a", hold_s=0)
    messages += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "[[len=20]]"}]
    back = ask(s, CHAT, "", messages=messages, headers=ann)["usage"]
    assert back["prompt_tokens_details"]["cached_tokens"] >= first_turn - 5
    assert [a["id"] for a in s.get("/admin/agents").ok()["agents"]] == ["ann"]


# ---- through what happens ----

def undisturbed(s, n, **more):
    return texts(ask(s, TEXT, "[[len=700]]", n=n, model="slow", **more))


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("disturb", ["swap", "kill"])
def test_choices_move_as_streams_do(server, models, disturb, parallel):
    add(models, "slow", step_us=1500)
    s = server(model="slow", options=["--parallel", str(parallel), "--patience", "0"])
    whole = undisturbed(s, 3, echo=True)
    stream = open_stream(s, TEXT, "[[len=700]]", n=3, model="slow", echo=True)
    events = iter(stream)
    for _ in range(60):
        next(events)
    if disturb == "swap":
        s.swap("b", drain_timeout_s=0, hold_s=0)
    else:
        s.kill_seat()
    for _ in events:
        pass
    assert [t for t, _ in put_together(stream, 3)] == whole and stream.text.count("[[len=700]]") == 3  # echoed once each
    wait_until(lambda: slots(s) == 0, what="all have left")


def test_a_client_that_leaves_takes_all_along(server, models):
    add(models, "slow", step_us=2000)
    s = server(model="slow", options=["--parallel", "2"])
    stream = open_stream(s, TEXT, "[[len=800]]", n=6, model="slow")
    next(iter(stream))
    running(s, 2)
    stream.close()
    wait_until(lambda: slots(s) == 0 and s.metrics().sum("hotseat_requests_waiting") == 0, what="nothing of it is left", timeout=2)
    assert s.metrics().sum("hotseat_requests_total", outcome="canceled") == 1
    assert said(ask(s, TEXT, "[[say:next]]")["choices"][0]) == "next"


def test_what_ends_one_ends_all_with_one_error(server, models):
    add(models, "slow", step_us=2000)
    add(models, "frail", step_us=50_000)  # what it said leaves the seat before it dies
    s = server(model="frail", options=["--parallel", "2"])
    for stream in (False, True):
        if stream:
            st = open_stream(s, TEXT, ["[[len=800]]", "[[say:I will die]][[die]]"], n=2, model="frail").read_all()
            assert st.error["code"] == "engine_died" and st.raw.count(b'"error"') == 1 and not st.done
        else:
            r = s.post(TEXT, body_of(TEXT, ["[[len=800]]", "[[say:I will die]][[die]]"], n=2, model="frail"))
            assert r.status == 500 and r.json()["error"]["code"] == "engine_died"
        wait_until(lambda: slots(s) == 0 and s.metrics().sum("hotseat_requests_waiting") == 0, what="nothing of it is left", timeout=5)
    assert s.metrics().sum("hotseat_requests_total", outcome="engine_died") == 2
    began = time.monotonic()
    r = s.post(TEXT, body_of(TEXT, "[[len=800]]", n=5, model="slow"), headers={"X-Hotseat-Timeout-S": "0.5"})
    assert r.status == 408 and time.monotonic() - began < seconds(3)
    assert s.metrics().sum("hotseat_requests_total", outcome="timeout") == 1
    st = open_stream(s, TEXT, "[[len=800]]", n=5, model="slow")
    next(iter(st))
    s.swap("b", drain_timeout_s=0, on_deadline="cancel")
    st.read_all()
    assert st.error["code"] == "swap_canceled_request" and st.raw.count(b'"error"') == 1
    wait_until(lambda: slots(s) == 0 and s.metrics().sum("hotseat_requests_waiting") == 0, what="nothing of it is left", timeout=5)
    assert s.metrics().sum("hotseat_requests_total") == 4


def test_a_server_that_stops_ends_them(server, models):
    add(models, "slow", step_us=3000)
    s = server(model="slow", options=["--parallel", "1", "--drain-timeout", "0"])
    stream = open_stream(s, TEXT, "[[len=2000]]", n=4, model="slow")
    next(iter(stream))
    s.stop()
    stream.read_all()
    assert stream.error["code"] == "shutting_down" and not stream.done


def test_others_have_their_turn_beside_many_choices(server, models):
    add(models, "slow", step_us=1000)
    s = server(model="slow", options=["--parallel", "2"])
    many = open_stream(s, TEXT, "[[len=300]]", n=16, model="slow")
    next(iter(many))
    results, errors = in_threads([many.read_all, lambda: ask(s, TEXT, "[[say:mine]]", model="slow", headers={"X-Hotseat-Priority": "interactive"})])
    assert errors == [None, None] and said(results[1]["choices"][0]) == "mine"
    assert results[1]["hotseat"]["queue_ms"] < 2500, results[1]["hotseat"]  # the next place was its own, not the seventeenth
    assert len(put_together(many, 16)) == 16


def test_the_official_client_gets_its_choices(server):
    s = server(model="a")
    with openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0) as client:
        ask = {"model": "a", "messages": [{"role": "user", "content": "[[len=50]]"}], "n": 3, "seed": 1}
        answer = client.chat.completions.create(**ask)
        assert [c.index for c in answer.choices] == [0, 1, 2] and len({c.message.content for c in answer.choices}) == 3
        heard = {i: "" for i in range(3)}
        for chunk in client.chat.completions.create(**ask, stream=True):
            heard[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
        assert [heard[i] for i in range(3)] == [c.message.content for c in answer.choices]
        plain = client.completions.create(model="a", prompt=["[[say:x]]", "[[say:y]]"], n=2, echo=True, best_of=2)
        assert [c.text for c in plain.choices] == ["[[say:x]]x"] * 2 + ["[[say:y]]y"] * 2
        with pytest.raises(openai.BadRequestError, match="n: must be from 1 to 16"):
            client.chat.completions.create(**{**ask, "n": 100})
    with pytest.raises(ApiError):
        s.chat("a", "x", n=100)
