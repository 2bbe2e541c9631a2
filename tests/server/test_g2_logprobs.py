"""G2, G3: logprobs, top_logprobs and logit_bias on the fake engine (a token is a byte): in OpenAI's shapes, a stream's the whole answer's,
and through every move of a stream."""
import math

import pytest
from fakes import add, running, wait_until
from hotseat_harness import ApiError, in_threads

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
COLUMNS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"query": {"type": "string"}}}}}]
LOOK = "[[say:I look.]][[tool:look]]"


def body_of(path, prompt, n_top=3, **params):
    own = {"messages": [{"role": "user", "content": prompt}], "logprobs": True, "top_logprobs": n_top} if path == CHAT else {
        "prompt": prompt, "max_tokens": 500, "logprobs": n_top}
    return {"model": "a", "temperature": 0, **own, **params}


def ask(s, path, prompt, n_top=3, **params):
    return s.post(path, body_of(path, prompt, n_top, **params)).ok()


def stream(s, path, prompt, n_top=3, **params):
    return s.open_stream(path, {**body_of(path, prompt, n_top, **params), "stream": True})


def joined(st, path):
    """A stream's logprobs, put together. Each chunk's stand beside text."""
    content, columns = [], {k: [] for k in COLUMNS}
    for _, event in st.events:
        for choice in event.get("choices") or []:
            text, logprobs = choice["delta"].get("content") if path == CHAT else choice["text"], choice["logprobs"]
            assert bool(text) is (logprobs is not None), choice
            if logprobs is None:
                continue
            if path == CHAT:
                assert set(logprobs) == {"content", "refusal"} and logprobs["refusal"] is None
                content += logprobs["content"]
            else:
                assert tuple(logprobs) == COLUMNS
                for k in COLUMNS:
                    columns[k] += logprobs[k]
    return {"content": content, "refusal": None} if path == CHAT else columns


def text_of(answer):
    choice = answer["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


def check_chat(logprobs, text, n_top):
    """The tokens are the text; each number can be one."""
    assert set(logprobs) == {"content", "refusal"}
    assert bytes(b for t in logprobs["content"] for b in t["bytes"]) == text.encode()
    for t in logprobs["content"]:
        assert set(t) == {"token", "logprob", "bytes", "top_logprobs"} and -9999 <= t["logprob"] <= 0
        assert len(t["top_logprobs"]) == n_top
        assert all(set(o) == {"token", "logprob", "bytes"} for o in t["top_logprobs"])
        numbers = [o["logprob"] for o in t["top_logprobs"]]
        assert numbers == sorted(numbers, reverse=True) and sum(math.exp(x) for x in numbers) <= 1
        assert not numbers or t["logprob"] <= numbers[0]
        assert all(o["logprob"] == t["logprob"] for o in t["top_logprobs"] if o["bytes"] == t["bytes"])


PROMPTS = {"babble": "[[len=80]]", "emoji": "[[emoji=9]]", "spaces": "[[say:    four\n  two \t]]", "quotes": '[[say:"q" \\ caf\u00e9 \u65e5]]'}


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("name", PROMPTS)
def test_g3_logprobs_streamed_are_the_whole_ones(server, path, name):
    s = server(model="a")
    for n_top in (0, 3, 5):
        whole = ask(s, path, PROMPTS[name], n_top)
        logprobs, text = whole["choices"][0]["logprobs"], text_of(whole)
        st = stream(s, path, PROMPTS[name], n_top).read_all()
        assert st.text == text and st.done and joined(st, path) == logprobs
        if path == CHAT:
            check_chat(logprobs, text, n_top)
        else:
            assert tuple(logprobs) == COLUMNS and {len(v) for v in logprobs.values()} == {len(text.encode())}
            at = logprobs["text_offset"]
            assert at[0] == len(PROMPTS[name]) and at == sorted(at) and at[-1] == len(PROMPTS[name]) + len(text) - 1
            for token, logprob, top, offset in zip(*logprobs.values()):
                assert top[token] == logprob and 1 <= len(top) <= n_top + 1  # fewer: some control tokens have no name
                assert token.startswith("bytes:\\x") or text[offset - at[0]] == token
    assert text_of(ask(s, path, PROMPTS[name], 2)) == text  # asking changes nothing
    plain = s.post(path, {k: v for k, v in body_of(path, PROMPTS[name]).items() if "logprobs" not in k}).ok()
    assert plain["choices"][0]["logprobs"] is None and text_of(plain) == text


def test_g2_a_chat_without_top_logprobs(server):
    s = server(model="a")
    body = body_of(CHAT, "[[len=20]]")
    del body["top_logprobs"]
    check_chat(s.post(CHAT, body).ok()["choices"][0]["logprobs"], text_of(ask(s, CHAT, "[[len=20]]")), 0)
    twenty = ask(s, CHAT, "[[len=20]]", 20)["choices"][0]["logprobs"]
    check_chat(twenty, text_of(ask(s, CHAT, "[[len=20]]")), 20)


def test_g2_logprobs_do_not_depend_on_how_is_drawn(server):
    """They are the model's own: the first token's are the same at every temperature, under filters, penalties and biases."""
    s = server(model="a")
    first = ask(s, CHAT, "[[len=20]]", 5)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    for params in ({"temperature": 2, "seed": 3}, {"top_k": 1, "temperature": 1}, {"presence_penalty": 2}, {"logit_bias": {"116": 50}}):
        assert ask(s, CHAT, "[[len=20]]", 5, **params)["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == first, params


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stop, left", [("END", "one two "), (["o E"], "one tw"), ("\u00e4", "one two END thr"), ("nowhere", None), ("one", "")])
def test_g3_logprobs_end_where_the_text_does(server, path, stop, left):
    s = server(model="a")
    prompt = "[[say:one two END thr\u00e4e]]"
    left = "one two END thr\u00e4e" if left is None else left
    whole = ask(s, path, prompt, 1, stop=stop)
    logprobs = whole["choices"][0]["logprobs"]
    assert text_of(whole) == left
    assert len(logprobs["content"] if path == CHAT else logprobs["tokens"]) == len(left.encode())
    assert joined(stream(s, path, prompt, 1, stop=stop).read_all(), path) == logprobs


def test_g2_thoughts_and_tool_calls_have_no_logprobs(server):
    s = server(model="a")
    thought = ask(s, CHAT, "[[think:let me see]][[say:so]]")["choices"][0]
    assert thought["message"]["reasoning_content"] == "let me see"
    check_chat(thought["logprobs"], "so", 3)
    assert joined(stream(s, CHAT, "[[think:let me see]][[say:so]]").read_all(), CHAT) == thought["logprobs"]
    looked = ask(s, CHAT, LOOK, tools=TOOLS)["choices"][0]
    assert looked["finish_reason"] == "tool_calls"
    check_chat(looked["logprobs"], "I look.", 3)
    assert joined(stream(s, CHAT, LOOK, tools=TOOLS).read_all(), CHAT) == looked["logprobs"]
    only = ask(s, CHAT, "[[tool:look]]", tools=TOOLS)["choices"][0]
    assert only["message"]["content"] is None and only["logprobs"] == {"content": None, "refusal": None}
    assert all(c["logprobs"] is None for _, e in stream(s, CHAT, "[[tool:look]]", tools=TOOLS).read_all().events for c in e["choices"])


# ---- moves ----

MOVING = {"babble": (CHAT, "go [[len=160]]", {}), "emoji": (CHAT, "go [[emoji=40]]", {}), "text emoji": (TEXT, "go [[emoji=40]]", {}),
          "tool": (CHAT, f"go [[len=60]]{LOOK}", {"tools": TOOLS}), "think": (CHAT, "go [[think:well, well]][[len=60]]", {}),
          "stop": (TEXT, "go [[emoji=9]][[say:one two STOP four]]", {"stop": ["STOP"]})}


@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize("name", MOVING)
def test_s13_a_killed_seat_loses_no_logprobs_and_reports_none_twice(server, models, name, temperature):
    add(models, "a", seed=0, step_us=3000)
    path, prompt, params = MOVING[name]
    params = dict(params, temperature=temperature, seed=11)
    s = server(model="a")
    reference = joined(stream(s, path, prompt, **params).read_all(), path)
    assert len(reference["content" if path == CHAT else "tokens"]) > 30
    for kill_at in (2, 7, 20):
        st = stream(s, path, prompt, **params)
        for i, _ in enumerate(st):
            if i == kill_at:
                s.kill_seat()
        assert st.done and joined(st, path) == reference
    assert s.metrics().sum("hotseat_streams_resubmitted_total") >= 3


def test_s13_held_back_tokens_keep_theirs(server, models):
    """The seat dies while the text of tokens is held back for a stop string: what it had said of them comes with their text."""
    add(models, "a", seed=0, step_us=30000)
    prompt = "[[say:one STOP STOP STOP STOp done]]"
    params = {"stop": ["STOP STOP STOP STOP"]}
    s = server(model="a")
    reference = joined(stream(s, CHAT, prompt, **params).read_all(), CHAT)
    st = stream(s, CHAT, prompt, **params)
    events = iter(st)
    while "one " not in st.text:
        next(events)
    generated = s.metrics().sum("hotseat_tokens_total", kind="generated")
    wait_until(lambda: s.metrics().sum("hotseat_tokens_total", kind="generated") >= generated + 5, what="tokens that are held back")
    assert st.text == "one "
    s.kill_seat()
    for _ in events:
        pass
    assert st.done and st.text == "one STOP STOP STOP STOp done" and joined(st, CHAT) == reference
    assert s.metrics().sum("hotseat_streams_resubmitted_total") == 1


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_s9_a_parked_answer_keeps_its_logprobs(server, models, path):
    add(models, "a", seed=0, step_us=4000)
    s = server(model="a")
    reference = ask(s, path, "park me [[emoji=60]]", temperature=0.8, seed=5)["choices"][0]["logprobs"]

    def swap():
        running(s, 2)
        return s.swap("b", drain_timeout_s=0.2, hold_s=0)
    results, errors = in_threads([lambda: ask(s, path, "park me [[emoji=60]]", temperature=0.8, seed=5)["choices"][0]["logprobs"],
                                  lambda: joined(stream(s, path, "park me [[emoji=60]]", temperature=0.8, seed=5).read_all(), path), swap])
    assert errors == [None] * 3 and results[2]["parked"] == 2
    assert results[0] == reference and results[1] == reference


# ---- logit_bias ----

@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_logit_bias_forces_and_bans(server, path):
    s = server(model="a")
    plain = text_of(ask(s, path, "[[len=12]]"))
    assert text_of(ask(s, path, "[[len=12]]", logit_bias={"107": 100})) == "k" * 12
    assert text_of(ask(s, path, "[[len=12]]", logit_bias={"107": 100}, temperature=1)) == "k" * 12
    banned = text_of(ask(s, path, "[[len=12]]", logit_bias={str(b): -100 for b in plain.encode()}))
    assert not set(banned) & set(plain)
    assert text_of(ask(s, path, "[[len=12]]", logit_bias={"107": 0})) == plain
    assert text_of(ask(s, path, "[[say:the script wins]]", logit_bias={"107": 100})) == "the script wins"


def test_g2_a_moved_stream_keeps_its_bias(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a")
    bias = {"logit_bias": {"32": -3, "116": 2.5}}
    reference = text_of(ask(s, CHAT, "go [[len=100]]", **bias))
    assert reference != text_of(ask(s, CHAT, "go [[len=100]]"))
    st = stream(s, CHAT, "go [[len=100]]", **bias)
    for i, _ in enumerate(st):
        if i == 20:
            s.kill_seat()
    assert st.done and st.text == reference


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_bad_biases_are_refused_with_their_place(server, path):
    s = server(model="a")
    for bias, param, word in (({"320": 1}, "logit_bias", "logit_bias.320"), ({"5": 101}, "logit_bias.5", "100"), ({"x": 1}, "logit_bias", "'x'"),
                              ({str(i): 1 for i in range(1025)}, "logit_bias", "1024"), ([], "logit_bias", "object")):
        r = s.post(path, body_of(path, "[[say:x]]", logit_bias=bias))
        assert r.status == 400, (bias, r.body)
        assert r.json()["error"]["param"] == param and word in r.json()["error"]["message"], r.body
    with pytest.raises(ApiError) as e:
        stream(s, path, "[[say:x]]", logit_bias={"99999": 1})
    assert e.value.status == 400 and e.value.error["param"] == "logit_bias"
    assert text_of(ask(s, path, "[[say:x]]", logit_bias={"319": 1})) == "x"


def test_g2_bad_logprobs_are_refused_with_their_place(server):
    s = server(model="a")
    for path, params, param in ((CHAT, {"top_logprobs": 1}, "top_logprobs"), (CHAT, {"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
                                (CHAT, {"top_logprobs": 1, "logprobs": False}, "top_logprobs"), (CHAT, {"logprobs": 2}, "logprobs"),
                                (TEXT, {"logprobs": 6}, "logprobs"), (TEXT, {"logprobs": True}, "logprobs")):
        body = {k: v for k, v in body_of(path, "[[say:x]]").items() if "logprobs" not in k}
        r = s.post(path, {**body, **params})
        assert r.status == 400 and r.json()["error"]["param"] == param, (params, r.body)
        assert s.post(path, {**body, **{k: None for k in params}}).status == 200
