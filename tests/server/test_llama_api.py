"""POST /tokenize, /detokenize and /apply-template on the fake engine: llama-server's shapes, every parameter, errors, swaps, streams beside them."""
import pytest
from fakes import add, in_threads, long_text, running, wait_until
from hotseat_harness import ApiError

CHAT = "/v1/chat/completions"
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}
IM_END = 257  # of the fake vocabulary: 256 bytes, then specials
BOS = 259


def tokens_of(s, content, **more):
    return s.post("/tokenize", {"content": content, **more}).ok()["tokens"]


def text_of(s, tokens, **more):
    return s.post("/detokenize", {"tokens": tokens, **more}).ok()["content"]


def prompt_of(s, messages, **more):
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return s.post("/apply-template", {"messages": messages, **more}).ok()["prompt"]


def test_the_answers_shapes(server):
    s = server(model="a")
    assert s.post("/tokenize", {"content": "hi"}).ok() == {"tokens": [104, 105]}
    assert s.post("/tokenize", {"content": "hé!", "with_pieces": True}).ok() == {"tokens": [
        {"id": 104, "piece": "h"}, {"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}, {"id": 33, "piece": "!"}]}
    assert s.post("/tokenize", {"content": "", "with_pieces": True, "add_special": True}).ok() == {"tokens": []}
    assert s.post("/detokenize", {"tokens": [104, 195, 169]}).ok() == {"content": "hé"}
    assert s.post("/detokenize", {"tokens": []}).ok() == {"content": ""}
    assert s.post("/apply-template", {"messages": [{"role": "user", "content": "hi"}]}).ok() == {
        "prompt": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"}


@pytest.mark.parametrize("text", ["caf\u00e9 \u65e5\u672c \U0001f642", "    four\n\n\t ", "a\0b", "<|im_end|>x", '"\\', ""], ids=repr)
def test_there_and_back(server, text):
    s = server(model="a")
    for plain in (True, False):
        tokens = tokens_of(s, text, parse_special=plain)
        assert text_of(s, tokens) == text
        pieces = tokens_of(s, text, parse_special=plain, with_pieces=True)
        assert [p["id"] for p in pieces] == tokens
        assert b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces) == text.encode()


def test_control_tokens(server):
    s = server(model="a")
    assert tokens_of(s, "<|im_end|>x") == tokens_of(s, "<|im_end|>x", parse_special=True) == [IM_END, 120]
    assert len(tokens_of(s, "<|im_end|>x", parse_special=False)) == 11
    assert tokens_of(s, "<|im_end|>", with_pieces=True) == [{"id": IM_END, "piece": "<|im_end|>"}]
    assert tokens_of(s, "x", add_special=True) == [120]  # this model wants none
    for add, expected in ((None, [120]), (False, [120]), (True, [BOS, 120])):
        assert tokens_of(s, "x", model="w", add_special=add) == expected
    assert text_of(s, [195]) == "\ufffd"


def test_the_prompt_is_the_chats(server):
    """Its tokens are those of the same chat, however it is made."""
    s = server(model="a")
    called = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "r"}]
    for messages, more in (("[[say:x]]", {}), (called, {"tools": [FUNCTION]}), ("x", {"tools": [FUNCTION], "tool_choice": "none"}),
                           ([{"role": "system", "content": "be brief"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}], {})):
        prompt = prompt_of(s, messages, **more)
        usage = s.chat("a", messages, max_tokens=1, **more)["usage"]
        assert len(tokens_of(s, prompt)) == usage["prompt_tokens"], prompt
        assert text_of(s, tokens_of(s, prompt)) == prompt
    for same in ({"parallel_tool_calls": False}, {"response_format": {"type": "text"}}, {"add_generation_prompt": True}, {"chat_template_kwargs": {}}):
        assert prompt_of(s, "x", **same) == prompt_of(s, "x")


def test_g2_what_is_refused_and_where(server):
    s = server(model="a")
    for path, good, rows in (
            ("/tokenize", {"content": "x"}, [({"content": None}, "content"), ({"content": ["x"]}, "content"), ({"add_special": 1}, "add_special"),
                                             ({"parse_special": "no"}, "parse_special"), ({"with_pieces": []}, "with_pieces"), ({"model": 1}, "model")]),
            ("/detokenize", {"tokens": [1]}, [({"tokens": "x"}, "tokens"), ({"tokens": [1, -1]}, "tokens[1]"), ({"tokens": [1, 1.5]}, "tokens[1]"),
                                              ({"tokens": [1, 320]}, "tokens"), ({"tokens": [2**31]}, "tokens[0]")]),
            ("/apply-template", {"messages": [{"role": "user", "content": "x"}]}, [
                ({"messages": []}, "messages"), ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
                ({"add_generation_prompt": False}, "add_generation_prompt"), ({"chat_template_kwargs": {"x": 1}}, "chat_template_kwargs"),
                ({"tools": {}}, "tools"), ({"tool_choice": "required"}, "tool_choice"), ({"response_format": {"type": "xml"}}, "response_format.type"),
                ({"parallel_tool_calls": 0}, "parallel_tool_calls")])):
        assert s.post(path, good).status == 200
        for bad, place in rows:
            r = s.post(path, {**good, **bad})
            assert r.status == 400 and r.json()["error"]["param"] == place, (path, bad, r.body)
        assert s.post(path, {}).json()["error"]["param"] == next(iter(good))
        r = s.post(path, {**good, "temperature": 1, "zap": 2})
        assert r.status == 200 and r.headers["x-hotseat-ignored"] == "temperature, zap"
        r = s.post(path, {**good, "model": "nobody"})
        assert (r.status, r.json()["error"]["code"]) == (404, "model_not_found")
        assert s.post(path, {**good, "model": None}, headers={"X-Hotseat-Timeout-S": "x"}).status == 400
        assert s.get(path).status == 405
    assert "320 tokens" in s.post("/detokenize", {"tokens": [320]}).json()["error"]["message"]  # what would be right


def test_they_are_bounded(server):
    s = server(model="a")
    r = s.post("/tokenize", {"content": "x" * (1 << 20 | 1)})
    assert r.status == 400 and "1048576" in r.json()["error"]["message"] and r.json()["error"]["param"] == "content"
    assert len(tokens_of(s, "x" * (1 << 20), with_pieces=True)) == 1 << 20
    r = s.post("/detokenize", {"tokens": [65] * (1 << 20 | 1)})
    assert r.status == 400 and "1048576" in r.json()["error"]["message"]
    assert text_of(s, [65] * (1 << 20)) == "A" * (1 << 20)


def test_another_model_has_its_turn_and_the_context_is_no_bound(server):
    s = server(model="a")
    assert tokens_of(s, "x", model="b") == [120] and s.current()["model"] == "b"
    assert tokens_of(s, "x") == [120] and s.current()["model"] == "b"
    assert len(tokens_of(s, long_text(30000))) >= 30000
    s.offload()
    assert text_of(s, [120]) == "x" and s.current()["model"] == "b"  # fills an empty seat, as any request
    keyed = server(model="a", options=["--auto-swap", "off"])
    with pytest.raises(ApiError) as e:
        tokens_of(keyed, "x", model="b")
    assert e.value.code == "auto_swap_off"


def test_they_read_nothing_and_leave_nothing_behind(server):
    s = server(model="a")
    s.chat("a", "[[say:x]]")
    before = s.metrics().sum("hotseat_tokens_total")
    for _ in range(3):
        prompt = prompt_of(s, long_text(700))
        tokens_of(s, prompt)
    assert s.metrics().sum("hotseat_tokens_total") == before > 0
    assert s.chat("a", long_text(700), max_tokens=1)["usage"]["prompt_tokens_details"]["cached_tokens"] < 100
    assert s.metrics().sum("hotseat_requests_total", outcome="ok") == 8


def test_they_do_not_wait_for_a_stream_that_runs(server, models):
    add(models, "slow", step_us=5000)
    s = server(model="slow")
    busy = s.stream("slow", "[[len=3000]]")
    running(s, 1)
    results, errors = in_threads([lambda: tokens_of(s, "hi") for _ in range(3)])
    assert errors == [None] * 3 and results == [[104, 105]] * 3
    wait_until(lambda: s.metrics().sum("hotseat_streams_running") <= 1, what="they have left")
    busy.close()


def test_keys(server, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret\n")
    s = server(model="a", options=["--api-key", str(key)])
    for path, body in (("/tokenize", {"content": "x"}), ("/detokenize", {"tokens": [1]}), ("/apply-template", {"messages": [{"role": "user", "content": "x"}]})):
        assert s.post(path, body).status == 401
        assert s.post(path, body, headers={"x-api-key": "secret"}).status == 200
