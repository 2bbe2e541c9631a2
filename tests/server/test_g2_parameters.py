"""G2: every parameter is honoured, or accepted because it can't change the text, or refused; none is accepted and ignored."""
import json

import pytest
from hotseat_harness import ApiError, Response

FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}
CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


def body_for(path, **params):
    base = {"messages": [{"role": "user", "content": "[[len=60]]"}]} if path == CHAT else {"prompt": "[[len=60]]", "max_tokens": 100}
    return {"model": "a", **base, **params}


def text_of(answer):
    choice = answer["choices"][0]
    return choice["text"] if "text" in choice else choice["message"]["content"]


NEUTRAL = {"repeat_penalty": 1, "repetition_penalty": 1.0, "typical_p": 1, "mirostat": 0, "grammar": ""}
NEUTRAL_OF = {
    CHAT: {**NEUTRAL, "audio": None, "modalities": ["text"],
           "verbosity": "medium", "web_search_options": None, "functions": [], "function_call": "none", "chat_template_kwargs": {}},
    TEXT: {**NEUTRAL, "suffix": ""},
}
REFUSED = {"repeat_penalty": 1.1, "repetition_penalty": 2, "typical_p": 0.5, "mirostat": 1, "grammar": "root ::= x"}
REFUSED_OF = {
    CHAT: {**REFUSED, "audio": {"voice": "x"}, "modalities": ["text", "audio"],
           "verbosity": "low", "web_search_options": {}, "functions": [{"name": "f"}], "function_call": {"name": "f"},
           "chat_template_kwargs": {"x": 1}},
    TEXT: {**REFUSED, "suffix": "tail", "best_of": 2},
}
NO_EFFECT = {"metadata": {"a": "b"}, "store": True, "service_tier": "flex", "safety_identifier": "x", "prompt_cache_retention": "24h",
             "prediction": {"type": "content", "content": "x"}, "cache_prompt": False}
HONOURED_DEFAULTS = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "presence_penalty": 0, "frequency_penalty": 0, "stop": None,
                     "stream": False, "stream_options": None, "user": None, "prompt_cache_key": None, "seed": None, "ignore_eos": False, "logit_bias": {},
                     "n": 1}
DEFAULTS_OF = {CHAT: {**HONOURED_DEFAULTS, "logprobs": False, "top_logprobs": 0, "reasoning_effort": "medium"}, TEXT: {**HONOURED_DEFAULTS, "logprobs": None, "echo": False, "best_of": 1}}


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_neutral_values_and_what_has_no_effect_are_accepted_without_a_word(server, path):
    s = server(model="a")
    plain = s.post(path, body_for(path, temperature=0)).ok()
    for group in (NEUTRAL_OF[path], NO_EFFECT, DEFAULTS_OF[path]):
        for name, value in group.items():
            r = s.post(path, body_for(path, **{"temperature": 0, name: value}))
            assert r.status == 200, (name, r.body)
            assert "x-hotseat-ignored" not in r.headers, (name, r.headers)
            if name != "temperature":
                assert text_of(r.json()) == text_of(plain), name
    everything = {**NEUTRAL_OF[path], **NO_EFFECT, **DEFAULTS_OF[path], "temperature": 0}
    assert text_of(s.post(path, body_for(path, **everything)).ok()) == text_of(plain)


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_what_would_change_the_answer_and_is_not_there_is_refused(server, path):
    s = server(model="a")
    for name, value in REFUSED_OF[path].items():
        r = s.post(path, body_for(path, **{name: value}))
        assert r.status == 400, (name, r.status, r.body)
        error = r.json()["error"]
        assert (error["code"], error["param"]) == ("unsupported_parameter", name), error
        assert "leave it out" in error["message"], error  # and what would be right
        assert s.post(path, body_for(path, **{name: None})).status == 200, name  # null: not given
    assert s.metrics().sum("hotseat_requests_total", outcome="ok") == len(REFUSED_OF[path])


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_g2_unknown_members_are_accepted_and_named(server, path):
    s = server(model="a")
    r = s.post(path, body_for(path, frobnicate=1, zap={"x": [1]}, n=1))
    assert r.status == 200 and sorted(r.headers["x-hotseat-ignored"].split(", ")) == ["frobnicate", "zap"], r.headers
    r = s.post(path, body_for(path, **{f"member_{i}": i for i in range(300)}))
    assert r.status == 200 and len(r.headers["x-hotseat-ignored"]) <= 1000 and r.headers["x-hotseat-ignored"].endswith("...")
    r = s.post(path, body_for(path, **{"evil\r\nX-Injected: 1": 1}))
    assert r.status == 200 and "x-injected" not in r.headers
    stream = s.open_stream(path, body_for(path, stream=True, frobnicate=1)).read_all()
    assert stream.headers["X-Hotseat-Ignored"] == "frobnicate" and stream.done


def test_g2_members_inside_are_named_with_their_place(server):
    s = server(model="a")
    messages = [{"role": "system", "content": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]},
                {"role": "assistant", "content": "x", "refusal": "no", "annotations": [{"a": 1}]}, {"role": "user", "content": "[[say:ok]]"}]
    r = s.post(CHAT, {"messages": messages})
    assert r.status == 200 and set(r.headers["x-hotseat-ignored"].split(", ")) == {
        "messages[0].content[0].cache_control", "messages[1].refusal", "messages[1].annotations"}, r.headers
    own = s.chat("a", "[[say:first]]")["choices"][0]["message"]
    r = s.post(CHAT, {"messages": [{"role": "user", "content": "x"}, own, {"role": "user", "content": "[[say:ok]]"}]})
    assert r.status == 200 and "x-hotseat-ignored" not in r.headers  # a server's own answer comes back with every turn


# ---- sampling ----

def test_g2_temperature_seed_top_k_top_p_min_p(server):
    s = server(model="a")

    def ask(**params):
        return text_of(s.post(CHAT, body_for(CHAT, **params)).ok())
    greedy = ask(temperature=0)
    assert ask(temperature=0, seed=7) == greedy  # greedy draws nothing
    hot = [ask(temperature=1.5, seed=i) for i in range(4)]
    assert len(set(hot)) == 4 and greedy not in hot
    assert [ask(temperature=1.5, seed=i) for i in range(4)] == hot
    assert ask(temperature=1.5, seed=-1) == ask(temperature=1.5, seed=-1)
    for narrow in ({"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}):  # only the likeliest is left
        assert ask(temperature=1.5, seed=1, **narrow) == greedy, narrow
    for wide in ({"top_k": 0}, {"top_k": -1}, {"top_p": 1}, {"min_p": 0}, {"top_k": 1000}):
        assert ask(temperature=1.5, seed=1, **wide) == hot[1], wide
    assert len({ask(temperature=1.5) for _ in range(4)}) > 1  # without a seed one is drawn


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_g2_penalties_change_the_text(server, name):
    s = server(model="a")
    plain = text_of(s.post(CHAT, body_for(CHAT, temperature=0)).ok())
    assert text_of(s.post(CHAT, body_for(CHAT, temperature=0, **{name: 2})).ok()) != plain
    assert text_of(s.post(CHAT, body_for(CHAT, temperature=0, **{name: 0})).ok()) == plain
    for bad in (2.1, -2.1):
        assert s.post(CHAT, body_for(CHAT, **{name: bad})).json()["error"]["param"] == name


# ---- length and stop ----

@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_g2_max_tokens(server, path, name):
    if path == TEXT and name == "max_completion_tokens":
        name = "max_tokens"
    s = server(model="a")
    for n in (1, 7, 59):
        answer = s.post(path, {**body_for(path), name: n}).ok()
        assert answer["usage"]["completion_tokens"] == n and answer["choices"][0]["finish_reason"] == "length"
    answer = s.post(path, {**body_for(path), name: 100}).ok()
    assert answer["usage"]["completion_tokens"] in (60, 61) and answer["choices"][0]["finish_reason"] == "stop"


def test_g2_max_tokens_twice(server):
    s = server(model="a")
    assert s.post(CHAT, body_for(CHAT, max_tokens=5, max_completion_tokens=5)).ok()["usage"]["completion_tokens"] == 5
    assert s.post(CHAT, body_for(CHAT, max_tokens=5, max_completion_tokens=6)).status == 400
    assert s.post(TEXT, {"model": "a", "prompt": "[[len=60]]"}).ok()["usage"]["completion_tokens"] == 16  # OpenAI's default


STOPS = [("END", "one two "), (["no", "END"], "one two "), (["END", "two"], "one "), (["e"], "on"), (["\u00e4"], "one two END thr"),
         (["nowhere"], None), ([" END three \u00e4 four"], "one two")]


@pytest.mark.parametrize("stop, expected", STOPS, ids=[json.dumps(s) for s, _ in STOPS])
def test_g2_stop_across_token_borders(server, stop, expected):
    """A token is a byte, so every stop string stands across tokens. Nothing of it is shown, not even for a moment."""
    s = server(model="a")
    text = "one two END thr\u00e4e"
    if isinstance(stop, list) and "\u00e4 four" in stop[0]:
        text = "one two END three \u00e4 four"
    whole = text if expected is None else expected
    for path, field in ((CHAT, "messages"), (TEXT, "prompt")):
        prompt = f"[[say:{text}]]"
        body = {"model": "a", "temperature": 0, "stop": stop, "max_tokens": 100,
                field: [{"role": "user", "content": prompt}] if path == CHAT else prompt}
        answer = s.post(path, body).ok()
        assert text_of(answer) == whole and answer["choices"][0]["finish_reason"] == "stop"
        stream = s.open_stream(path, {**body, "stream": True})
        for _ in stream:
            assert whole.startswith(stream.text)
        assert stream.text == whole and stream.finish == "stop" and stream.done


def test_g2_ignore_eos_goes_on(server):
    s = server(model="a")
    answer = s.chat("a", "[[say:x]]", ignore_eos=True, max_tokens=40)
    assert answer["usage"]["completion_tokens"] == 40 and answer["choices"][0]["finish_reason"] == "length"


# ---- streams, tools, formats ----

def test_g2_include_usage(server):
    s = server(model="a")
    for options, wanted in (({"include_usage": True}, True), ({"include_usage": False}, False), (None, False), ({}, False)):
        st = s.stream("a", "[[len=20]]", stream_options=options).read_all()
        assert (st.usage is not None) is wanted and (st.hotseat is not None) is wanted and st.done
        last = st.events[-1][1]
        if wanted:
            assert last["choices"] == [] and last["usage"]["completion_tokens"] >= 20
            assert all(e["usage"] is None for _, e in st.events[:-1])
        else:
            assert last["choices"][0]["finish_reason"] == "stop" and all("usage" not in e for _, e in st.events)


def test_g2_tools_and_their_choice(server):
    s = server(model="a")

    def ask(prompt, **params):
        return s.chat("a", prompt, tools=[FUNCTION], **params)["choices"][0]
    called = ask('[[tool:look:{"a": "b"}]]')
    assert called["finish_reason"] == "tool_calls" and called["message"]["content"] is None
    call = called["message"]["tool_calls"][0]
    assert call["type"] == "function" and call["id"] and call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"a": "b"}
    assert "tool_calls" not in ask('[[tool:look:{"a": "b"}]]', tool_choice="none")["message"]
    assert "tool_calls" not in ask("[[say:no call]]", tool_choice="auto")["message"]
    for choice in ("required", {"type": "function", "function": {"name": "look"}}):
        assert ask("[[say:no call]]", tool_choice=choice)["message"]["tool_calls"][0]["function"]["name"] == "look"
    for bad, param in (({"type": "function", "function": {"name": "other"}}, "tool_choice.function.name"), ("sometimes", "tool_choice")):
        with pytest.raises(ApiError) as e:
            ask("x", tool_choice=bad)
        assert e.value.status == 400 and e.value.error["param"] == param
    # The call and its result in the next turn, as every client sends them.
    back = [{"role": "user", "content": "x"}, called["message"], {"role": "tool", "tool_call_id": call["id"], "content": "42"},
            {"role": "user", "content": "[[say:thanks]]"}]
    assert ask(back)["message"]["content"] == "thanks"


def test_g2_streamed_tool_calls_are_the_whole_ones(server):
    s = server(model="a")
    stream = s.stream("a", '[[tool:look:{"a": "caf\u00e9"}]]', tools=[FUNCTION]).read_all()
    name, arguments = "", ""
    for _, event in stream.events:
        for choice in event["choices"]:
            for piece in choice["delta"].get("tool_calls") or []:
                assert piece["index"] == 0
                name += piece["function"].get("name") or ""
                arguments += piece["function"].get("arguments") or ""
    assert name == "look" and json.loads(arguments) == {"a": "caf\u00e9"} and stream.finish == "tool_calls" and stream.done


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "json_object", "schema": {}},
                                  {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}])
def test_g2_response_format(server, form):
    s = server(model="a")
    r = s.post(CHAT, body_for(CHAT, response_format=form))
    assert r.status == 200 and isinstance(json.loads(text_of(r.json())), dict), r.body
    assert "x-hotseat-ignored" not in r.headers
    assert text_of(s.post(CHAT, body_for(CHAT, temperature=0, response_format={"type": "text"})).ok()) == text_of(
        s.post(CHAT, body_for(CHAT, temperature=0)).ok())


@pytest.mark.parametrize("form", [{"type": "json_object", "schema": {"type": "object"}},
                                  {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}])
def test_g2_a_schema_reaches_the_engine(server, form):
    """The fake engine knows no schema but {}, and says so: neither way of sending one is dropped."""
    s = server(model="a")
    r = s.post(CHAT, body_for(CHAT, response_format=form))
    assert r.status == 400 and "knows no JSON schema" in r.json()["error"]["message"], r.body


def test_g2_content_parts_and_roles(server):
    s = server(model="a")
    parts = [{"type": "text", "text": "first"}, {"type": "text", "text": "[[say:joined]]"}]
    assert s.chat("a", [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}])["choices"][0]["message"][
        "content"] == "joined"
    one = s.chat("a", [{"role": "user", "content": "first\n[[say:joined]]"}])["usage"]["prompt_tokens"]
    assert s.chat("a", [{"role": "user", "content": parts}])["usage"]["prompt_tokens"] == one
    assert s.chat("a", [{"role": "developer", "content": "abc"}, {"role": "user", "content": "x"}], max_tokens=1)["usage"][
        "prompt_tokens"] == s.chat("a", [{"role": "system", "content": "abc"}, {"role": "user", "content": "x"}], max_tokens=1)["usage"][
            "prompt_tokens"]


def test_g2_a_prefilled_answer_goes_on(server):
    s = server(model="a")
    question = {"role": "user", "content": "[[say: and so on]]"}
    begun = [question, {"role": "assistant", "content": "I begin"}]
    answer = s.chat("a", begun)
    assert answer["choices"][0]["message"]["content"] == " and so on" and answer["choices"][0]["finish_reason"] == "stop"
    stream = s.stream("a", begun).read_all()
    assert stream.text == " and so on" and stream.usage["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    prompt = s.post("/apply-template", {"messages": begun}).ok()["prompt"]
    assert prompt == "<|im_start|>user\n[[say: and so on]]<|im_end|>\n<|im_start|>assistant\nI begin"
    assert answer["usage"]["prompt_tokens"] == len(prompt.replace("<|im_start|>", "s").replace("<|im_end|>", "e"))
    parts = [question, {"role": "assistant", "content": [{"type": "text", "text": "I begin"}]}]
    assert s.post("/apply-template", {"messages": parts}).ok()["prompt"] == prompt
    assert "I begin<|im_end|>" in s.post("/apply-template", {"messages": [*begun, {"role": "user", "content": "x"}]}).ok()["prompt"]
    anthropic = s.post("/v1/messages", {"model": "a", "max_tokens": 100, "temperature": 0, "messages": begun}).ok()
    assert anthropic["content"] == [{"type": "text", "text": " and so on"}]
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    for bad, word in (([*begun, {"role": "assistant", "content": "and"}], "two messages"),
                      ([question, {"role": "assistant", "content": None, "tool_calls": [call]}], "calls tools")):
        r = s.post(CHAT, {"messages": bad})
        assert r.status == 400 and word in r.json()["error"]["message"], r.body


def test_g2_reasoning_stands_beside_the_content(server):
    s = server(model="a")
    message = s.chat("a", "[[think:let me see]][[say:done]]")["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("let me see", "done")
    stream = s.stream("a", "[[think:let me see]][[say:done]]").read_all()
    thought = "".join(c["delta"].get("reasoning_content") or "" for _, e in stream.events for c in e["choices"])
    assert (thought, stream.text) == ("let me see", "done")


def test_g2_prompt_as_token_ids(server):
    s = server(model="a")
    text = "[[say:by ids]]"
    by_text, by_ids = (s.complete("a", p) for p in (text, list(text.encode())))
    assert by_ids["usage"]["prompt_tokens"] == by_text["usage"]["prompt_tokens"]
    assert isinstance(s.post(TEXT, {"prompt": [text]}), Response) and text_of(s.complete("a", [text])) == "by ids"
    for bad in ([400], [65, 99999]):  # the fake vocabulary has 320
        r = s.post(TEXT, {"model": "a", "prompt": bad})
        assert r.status == 400, r.body
