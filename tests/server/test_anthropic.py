"""Anthropic's API on the fake engine: G2 and G3 in its shapes, the order of its events, tools, stop sequences, errors, pings, counts."""
import json
import time

import anthropic
import pytest
from fakes import add, in_threads, long_text, running, seconds, wait_until
from hotseat_harness import ApiError

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
TOOLS = [{"name": "look", "description": "looks", "input_schema": {"type": "object", "properties": {"query": {"type": "string"}}}},
         {"name": "run", "input_schema": {"type": "object"}}]


def body_for(content, **params):
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return {"model": "a", "max_tokens": 600, "temperature": 0, "messages": messages, **params}


def ask(s, content, headers=None, **params):
    return s.post(PATH, body_for(content, **params), headers=headers).ok()


def open_stream(s, content, headers=None, **params):
    return s.open_stream(PATH, body_for(content, **params, stream=True), headers=headers)


def put_together(stream):
    """The message that a client makes of a stream's events, which must come in their order."""
    message, at, inputs = None, None, {}
    state = "before"
    for name, event in stream.events:
        assert name == event["type"], (name, event)
        if name == "ping":
            continue
        assert state != "end", event
        if name == "message_start":
            assert state == "before" and message is None
            message, state = dict(event["message"]), "between"
            assert message["content"] == [] and message["stop_reason"] is None and message["usage"]["output_tokens"] == 0
            message["start_usage"] = message["usage"]
        elif name == "content_block_start":
            assert state == "between" and event["index"] == len(message["content"]), event
            at, state = event["index"], "block"
            message["content"].append(dict(event["content_block"]))
        elif name == "content_block_delta":
            assert state == "block" and event["index"] == at, event
            delta, block = event["delta"], message["content"][at]
            key = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[delta["type"]]
            assert delta[key], "an empty delta"
            if key == "partial_json":
                inputs[at] = inputs.get(at, "") + delta[key]
            else:
                block[key] += delta[key]
        elif name == "content_block_stop":
            assert state == "block" and event["index"] == at, event
            state = "between"
            if at in inputs:
                message["content"][at]["input"] = json.loads(inputs[at])
        elif name == "message_delta":
            assert state == "between", event
            message.update(event["delta"], usage=event["usage"])
            state = "delta"
        else:
            assert name == "message_stop" and state == "delta" and set(event) == {"type"}, event
            state = "end"
    assert state == "end", state
    return message


def comparable(message):
    return {k: message[k] for k in ("type", "role", "model", "content", "stop_reason", "stop_sequence")}


def total(usage):
    return usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]


# ---- G3 ----

SAID = {
    "babble": ("[[len=400]]", {}, "end_turn"), "emoji": ("[[emoji=30]]", {}, "end_turn"),
    "spaces": ("[[say:    four\n        eight  two \n\n\ttab ]]", {}, "end_turn"),
    "quotes": ('[[say:"quoted" \\ back \u2028 \u00e9\u00df\u65e5\u672c]]', {}, "end_turn"),
    "markup": ("[[say:data: not an event\n\nevent: x\n: no comment\r\n]]", {}, "end_turn"),
    "thoughts": ("[[think:let me see]][[say:so it is]]", {}, "end_turn"),
    "cut": ("[[len=400]]", {"max_tokens": 17}, "max_tokens"), "cut in thoughts": ("[[think:let me see]][[say:x]]", {"max_tokens": 12}, "max_tokens"),
    "stop": ("[[say:one two END three]]", {"stop_sequences": ["zzz", "END"]}, "stop_sequence"),
    "stop at once": ("[[say:END three]]", {"stop_sequences": ["END"]}, "stop_sequence"),
    "tool": ("[[tool:look]]", {"tools": TOOLS}, "tool_use"), "text and tool": ("[[say:I look.]][[tool:look]]", {"tools": TOOLS}, "tool_use"),
    "two tools": ('[[think:hm]][[say:Both.]][[tool:look]][[tool:run:{"a": [1, {"b": "\u00e9"}]}]]', {"tools": TOOLS}, "tool_use"),
    "no input": ("[[tool:run:{}]]", {"tools": TOOLS}, "tool_use"),
}


@pytest.mark.parametrize("name", SAID)
def test_g3_a_stream_is_the_whole_answer(server, name):
    s = server(model="a")
    prompt, params, reason = SAID[name]
    whole = ask(s, prompt, **params)
    stream = open_stream(s, prompt, **params).read_all()
    streamed = put_together(stream)
    assert comparable(streamed) == comparable(whole) and whole["stop_reason"] == reason
    assert streamed["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    assert total(streamed["usage"]) == total(whole["usage"]) == total(streamed["start_usage"])
    assert whole["stop_sequence"] == ("END" if reason == "stop_sequence" else None)
    assert whole["id"].startswith("msg_") and whole["id"] != streamed["id"]
    assert not stream.done, "[DONE] is OpenAI's"
    assert stream.hotseat["model"] == whole["hotseat"]["model"] == "a"
    assert "\ufffd" not in stream.raw.decode()


@pytest.mark.parametrize("name", SAID)
def test_it_says_what_openais_api_says(server, name):
    """The same conversation, the same tokens, the same text."""
    s = server(model="a")
    prompt, params, reason = SAID[name]
    system = long_text(700)
    message = ask(s, prompt, system=system, **params)
    openai = {"max_tokens": params.get("max_tokens", 600)}
    if "tools" in params:
        openai["tools"] = [{"type": "function", "function": {"name": t["name"], **({"description": t["description"]} if "description" in t else {}),
                                                             "parameters": t["input_schema"]}} for t in TOOLS]
    if "stop_sequences" in params:
        openai["stop"] = params["stop_sequences"]
    answer = s.chat("a", [{"role": "system", "content": system}, {"role": "user", "content": prompt}], **openai)
    said = answer["choices"][0]["message"]
    blocks = message["content"]
    assert "".join(b["text"] for b in blocks if b["type"] == "text") == (said["content"] or "")
    assert "".join(b["thinking"] for b in blocks if b["type"] == "thinking") == said.get("reasoning_content", "")
    assert [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"] == [
        (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in said.get("tool_calls", [])]
    assert total(message["usage"]) == answer["usage"]["prompt_tokens"]
    assert message["usage"]["output_tokens"] == answer["usage"]["completion_tokens"]
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0  # and so the cache is the same


def test_a_call_that_is_cut_has_what_was_whole_of_it(server):
    s = server(model="a")
    prompt = '[[tool:run:{"first": "one", "second": [1, 2, 3], "third": "and so on"}]]'
    inputs = []
    for n in range(40, 120, 7):
        message = ask(s, prompt, tools=TOOLS, max_tokens=n)
        stream = open_stream(s, prompt, tools=TOOLS, max_tokens=n).read_all()
        cut = message["stop_reason"] == "max_tokens"
        pieces = "".join(e["delta"]["partial_json"] for name, e in stream.events if name == "content_block_delta")
        blocks = [b for b in message["content"] if b["type"] == "tool_use"]
        assert len(blocks) <= 1 and stream.events[-2][1]["delta"]["stop_reason"] == message["stop_reason"]
        if blocks:
            inputs.append(blocks[0]["input"])
            assert cut or json.loads(pieces) == inputs[-1]
    assert {} in inputs and {"first": "one"} in inputs and any(len(i) == 3 for i in inputs), inputs
    for shorter, longer in zip(inputs, inputs[1:]):
        assert shorter.items() <= longer.items() or len(longer["second"]) > len(shorter["second"])


def test_the_shape_of_a_stream(server):
    s = server(model="a")
    stream = open_stream(s, "[[think:hm]][[say:yes]]").read_all()
    assert stream.headers["Content-Type"].startswith("text/event-stream") and stream.headers["Cache-Control"] == "no-cache"
    names = [name for name, _ in stream.events]
    assert names == ["message_start", "content_block_start", *["content_block_delta"] * 2, "content_block_stop",
                     "content_block_start", *["content_block_delta"] * 3, "content_block_stop", "message_delta", "message_stop"]
    assert stream.events[1][1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}
    assert stream.events[5][1] == {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}
    assert stream.headers["request-id"] == stream.headers["X-Request-ID"]


# ---- tools ----

def test_a_loop_of_tools(server):
    s = server(model="a")
    messages = [{"role": "user", "content": "[[tool:look:{\"query\": \"x\"}]]"}]
    first = ask(s, messages, tools=TOOLS)
    call = first["content"][0]
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "look", {"query": "x"}) and first["stop_reason"] == "tool_use"
    messages += [{"role": "assistant", "content": first["content"]},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "42"}]},
                                              {"type": "text", "text": "[[say:It is 42.]]"}]}]
    second = s.post(PATH, body_for(messages, tools=TOOLS))
    assert "x-hotseat-ignored" not in second.headers  # a server's own answer comes back with every turn
    assert second.ok()["content"] == [{"type": "text", "text": "It is 42."}] and second.ok()["stop_reason"] == "end_turn"
    assert second.ok()["usage"]["cache_read_input_tokens"] > 0


def test_tool_choice(server):
    s = server(model="a")
    calls = lambda **kw: [b["name"] for b in ask(s, "hello", tools=TOOLS, **kw)["content"] if b["type"] == "tool_use"]  # noqa: E731
    assert calls(tool_choice={"type": "any"}) == ["look"]
    assert calls(tool_choice={"type": "tool", "name": "run"}) == ["run"]
    assert calls(tool_choice={"type": "auto", "disable_parallel_tool_use": True}) == []
    none = ask(s, "[[say:no]][[tool:look]]", tools=TOOLS, tool_choice={"type": "none"})
    assert none["content"] == [{"type": "text", "text": "no"}] and none["stop_reason"] == "end_turn"


def test_thinking_may_be_switched_off(server):
    s = server(model="a")
    for thinking, kinds in ((None, ["thinking", "text"]), ({"type": "enabled", "budget_tokens": 1024}, ["thinking", "text"]),
                            ({"type": "adaptive"}, ["thinking", "text"]), ({"type": "disabled"}, ["text"])):
        r = s.post(PATH, body_for("[[think:hm]][[say:yes]]", thinking=thinking))
        assert [b["type"] for b in r.ok()["content"]] == kinds, thinking
        assert r.headers.get("x-hotseat-ignored") == ("thinking.budget_tokens" if thinking and thinking["type"] == "enabled" else None)


# ---- G2 ----

def text_of(message):
    return "".join(b["text"] for b in message["content"] if b["type"] == "text")


def test_g2_what_asks_for_nothing_changes_nothing(server):
    s = server(model="a")
    plain = text_of(ask(s, "[[len=60]]"))
    for name, value in {"system": None, "tools": [], "tool_choice": {"type": "auto"}, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"},
                        "cache_control": {"type": "ephemeral"}, "speed": "standard", "user_profile_id": "x", "workspace_id": "x", "mcp_servers": [],
                        "context_management": None, "output_format": None, "top_p": 1, "top_k": 0, "stop_sequences": [], "stream": False,
                        "metadata": {}, "service_tier": "auto", "inference_geo": "eu", "diagnostics": {}, "container": None}.items():
        r = s.post(PATH, body_for("[[len=60]]", **{name: value}), headers={"anthropic-version": "2023-06-01"})
        assert r.status == 200 and "x-hotseat-ignored" not in r.headers, (name, r.body, r.headers)
        assert text_of(r.json()) == plain, name


def test_g2_sampling_and_length(server):
    s = server(model="a")
    greedy = text_of(ask(s, "[[len=60]]"))
    assert len({text_of(ask(s, "[[len=60]]", temperature=1)) for _ in range(4)}) > 1
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}):
        assert text_of(ask(s, "[[len=60]]", temperature=1, **narrow)) == greedy, narrow
    for n in (1, 7, 59):
        message = ask(s, "[[len=60]]", max_tokens=n)
        assert message["usage"]["output_tokens"] == n and message["stop_reason"] == "max_tokens"


def test_system_is_read(server):
    s = server(model="a")
    counts = [s.post(COUNT, {"messages": [{"role": "user", "content": "x"}], **more}).ok()["input_tokens"]
              for more in ({}, {"system": "be brief"}, {"system": [{"type": "text", "text": "be brief"}]})]
    assert counts[0] < counts[1] == counts[2]
    one = ask(s, "[[say:x]]", system="be brief")["usage"]
    assert s.chat("a", [{"role": "system", "content": "be brief"}, {"role": "user", "content": "[[say:x]]"}])["usage"]["prompt_tokens"] == total(one)


def test_who_is_talking(server):
    s = server(model="a")
    ask(s, long_text(600) + "[[say:x]]", metadata={"user_id": "anna"})
    ask(s, long_text(600, "other") + "[[say:x]]", headers={"X-Hotseat-Agent": "bob"}, metadata={"user_id": "anna"})
    assert {a["id"] for a in s.get("/admin/agents").ok()["agents"]} == {"anna", "bob"}
    message = ask(s, long_text(600) + "[[say:x]]", metadata={"user_id": "anna"})
    assert message["hotseat"]["agent"] == "anna"
    assert message["usage"]["cache_read_input_tokens"] > 500 and message["usage"]["input_tokens"] < 100


# ---- errors ----

def test_errors_have_anthropics_shape(server, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret\n")
    s = server(model="a", options=["--api-key", str(key)])
    good = {"x-api-key": "secret", "X-Request-ID": "my-id"}

    def error(status, kind, body=None, path=PATH, method="POST", headers=good):
        r = s.request(method, path, body=body if body is not None else body_for("x"), headers=headers)
        value = r.json()
        assert r.status == status, value
        assert value["type"] == "error" and value["error"]["type"] == kind and value["error"]["message"], value
        assert value["request_id"] == r.headers["request-id"] == r.headers["x-request-id"], (value, r.headers)
        return value["error"]
    assert error(400, "invalid_request_error", b"{")["code"] == "invalid_json"
    assert error(400, "invalid_request_error", {"messages": [{"role": "user", "content": "x"}]})["param"] == "max_tokens"
    assert "messages[0].content[0].type" in error(400, "invalid_request_error", body_for([{"role": "user", "content": [{"type": "image"}]}]))["message"]
    assert error(400, "invalid_request_error", body_for(long_text(20000)))["code"] == "context_length_exceeded"
    error(401, "authentication_error", headers={"x-api-key": "wrong"})
    error(401, "authentication_error", headers={})
    error(403, "permission_error", headers={**good, "Host": "evil.example"})
    assert error(404, "not_found_error", body_for("x", model="nobody"))["code"] == "model_not_found"
    error(404, "not_found_error", path="/v1/messages/batches")
    error(405, "invalid_request_error", method="DELETE")
    error(408, "timeout_error", headers={**good, "X-Hotseat-Timeout-S": "0.001"}, body=body_for("[[len=500]]"))
    error(413, "request_too_large", b" " * (9 << 20))
    error(400, "invalid_request_error", b"{", path=COUNT)
    assert s.get("/v1/nothing", headers=good).json().keys() == {"error"}  # OpenAI's elsewhere
    assert "request-id" not in s.get("/health").headers


def test_an_error_inside_of_a_stream(server, models):
    add(models, "frail", step_us=50_000)  # what it said leaves the seat before it dies
    s = server(model="frail")
    stream = open_stream(s, "[[say:I will die]][[die]]", model="frail").read_all()
    name, event = stream.events[-1]
    assert name == "error" and event["type"] == "error" and event["error"]["type"] == "api_error" and event["error"]["code"] == "engine_died"
    assert event["request_id"] == stream.headers["request-id"]
    assert "message_stop" not in [n for n, _ in stream.events]


# ---- waiting ----

def test_who_waits_for_another_model_is_pinged(server, models):
    add(models, "slow", step_us=5000)
    s = server(model="slow", options=["--patience", "0", "--wait-bound", "60"])
    busy = s.stream("slow", "[[len=1500]]")
    next(iter(busy))
    _, errors = in_threads([busy.read_all, lambda: late(s)])
    assert errors == [None, None]


def late(s):
    began = time.monotonic()
    stream = open_stream(s, "[[say:b answers]]", model="b")
    assert time.monotonic() - began < seconds(2)  # headers do not wait
    stream.read_all()
    names = [name for name, _ in stream.events]
    pings = names.count("ping")
    assert pings >= 2 and names[:pings] == ["ping"] * pings and names[pings] == "message_start", names
    assert all(e == {"type": "ping"} for n, e in stream.events if n == "ping")
    assert len(stream.comments) == pings and all("waiting model=b position=1" in c for _, c in stream.comments), stream.comments
    times = [began, *stream.times]
    assert all(b - a < seconds(5.5) for a, b in zip(times, times[1:])), times
    assert put_together(stream)["content"] == [{"type": "text", "text": "b answers"}]
    assert stream.hotseat["queue_ms"] > 2000


def test_a_long_prompt_is_pinged_too(server, models):
    add(models, "reads", token_us=800)
    s = server(model="reads")
    stream = open_stream(s, long_text(9000) + "[[say:read]]", model="reads").read_all()
    names = [name for name, _ in stream.events]
    assert names[0] == "message_start" and "ping" in names, names
    assert put_together(stream)["content"] == [{"type": "text", "text": "read"}]


def test_priority_goes_first(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--parallel", "1"])
    busy = s.stream("a", "[[len=500]]")
    next(iter(busy))
    running(s, 1)
    ends = []

    def one(name, before):
        wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") >= before, what="its turn to ask")
        ask(s, f"[[say:{name}]]", headers={"X-Hotseat-Priority": name})
        ends.append(name)
    _, errors = in_threads([lambda: one("normal", 0), lambda: one("interactive", 1), busy.read_all])
    assert errors == [None] * 3 and ends == ["interactive", "normal"]


# ---- counting ----

CONVERSATION = [{"role": "user", "content": "first"}, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
                {"role": "user", "content": [{"type": "text", "text": long_text(700)}, {"type": "text", "text": "[[say:x]]"}]}]


@pytest.mark.parametrize("more", [{}, {"system": "be brief"}, {"tools": TOOLS, "tool_choice": {"type": "none"}}], ids=["plain", "system", "tools"])
def test_a_count_is_what_the_call_has(server, more):
    s = server(model="a")
    body = {"model": "a", "messages": CONVERSATION, **more}
    count = s.post(COUNT, body).ok()
    cold = ask(s, CONVERSATION, **more)["usage"]
    assert count == {"input_tokens": cold["input_tokens"]} and cold["cache_read_input_tokens"] == 0  # the count left nothing behind
    warm = ask(s, CONVERSATION, **more)["usage"]
    assert warm["cache_read_input_tokens"] > 500
    assert s.post(COUNT, body).ok()["input_tokens"] == total(warm) == total(cold)


def test_a_count_waits_for_its_model_and_may_be_too_long_for_it(server):
    s = server(model="a")
    counts = s.post(COUNT, {"model": "b", "messages": [{"role": "user", "content": "x"}]}).ok()
    assert counts["input_tokens"] > 0 and s.current()["model"] == "b"
    assert s.post(COUNT, {"messages": [{"role": "user", "content": long_text(30000)}]}).ok()["input_tokens"] > 30000
    ask(s, "[[say:x]]", model="b")
    before = s.metrics().sum("hotseat_tokens_total")
    assert before > 0
    s.post(COUNT, {"messages": [{"role": "user", "content": long_text(5000)}]}).ok()
    assert s.metrics().sum("hotseat_tokens_total") == before
    with pytest.raises(ApiError) as e:
        s.post(COUNT, {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}).ok()
    assert e.value.status == 404


def test_counts_do_not_make_others_look_short(server, models):
    """How long a request takes in the seat is learned from those that are read and answered."""
    add(models, "slow", step_us=5000)
    s = server(model="slow", options=["--parallel", "1"])
    ask(s, "[[len=400]]", model="slow")  # two seconds
    for _ in range(40):
        s.post(COUNT, {"model": "slow", "messages": [{"role": "user", "content": "x"}]}).ok()
    busy = s.stream("slow", "[[len=500]]")
    next(iter(busy))
    waits = open_stream(s, "[[say:x]]", model="slow")
    _, errors = in_threads([busy.read_all, waits.read_all])
    assert errors == [None, None]
    assert int(waits.comments[0][1].split("eta_ms=")[1]) > 500, waits.comments


# ---- the official client, where no real model is needed ----

def test_the_client_sees_errors_of_streams_and_passes_over_pings(server, models):
    add(models, "slow", step_us=5000)
    add(models, "frail", step_us=50_000)
    s = server(model="slow", options=["--patience", "0"])
    hello = [{"role": "user", "content": "[[say:I will die]][[die]]"}]
    with anthropic.Anthropic(base_url=s.url, api_key="none", max_retries=0) as client:
        busy = s.stream("slow", "[[len=700]]")
        next(iter(busy))
        with client.messages.stream(model="a", max_tokens=50, messages=[{"role": "user", "content": "[[say:late]]"}]) as stream:
            kinds = [e.type for e in stream]
            assert kinds[0] == "message_start" and "ping" not in kinds and stream.get_final_text() == "late"
        busy.read_all()
        with pytest.raises(anthropic.APIStatusError) as e, client.messages.stream(model="frail", max_tokens=50, messages=hello) as stream:
            stream.until_done()
        assert e.value.type == "api_error" and "died" in str(e.value)
        with pytest.raises(anthropic.InternalServerError) as e:
            client.messages.create(model="frail", max_tokens=50, messages=hello)
        assert e.value.type == "api_error" and e.value.request_id
        beta = client.beta.messages.create(model="a", max_tokens=50, messages=[{"role": "user", "content": "[[say:beta]]"}], betas=["x-1"])
        assert beta.content[0].text == "beta"
