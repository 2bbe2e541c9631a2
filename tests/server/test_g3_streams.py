"""G3 on the fake engine: the deltas are the whole answer, byte for byte; no character is cut; nothing follows [DONE]."""
import json

import pytest
from hotseat_harness import in_threads

PROMPTS = {
    "babble": "[[len=400]]", "emoji": "[[emoji=30]]", "spaces": "[[say:    four\n        eight  two \n\n\ttab ]]",
    "quotes": '[[say:"quoted" \\ back / slash \u2028 line \u00e9\u00df\u65e5\u672c]]', "one emoji": "[[emoji=1]]", "delete": "[[say:a\x7fb]]",
    "markup": "[[say:data: not an event\n\nevent: x\n: no comment\n[DONE]\n]]", "carriage": "[[say:a\r\nb\rc]]",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_g3_deltas_are_the_whole_answer(server, name):
    s = server(model="a")
    prompt = PROMPTS[name]
    whole = s.chat("a", prompt)
    text = whole["choices"][0]["message"]["content"]
    stream = s.stream("a", prompt).read_all()
    assert stream.text.encode() == text.encode() and stream.done and stream.after_done == b""
    assert stream.raw.endswith(b"data: [DONE]\n\n") and stream.finish == whole["choices"][0]["finish_reason"]
    assert stream.usage["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert "\ufffd" not in stream.raw.decode()
    if prompt.startswith("[[say:"):
        assert text == prompt[6:-2]
    plain = s.complete("a", prompt, max_tokens=500)["choices"][0]["text"]
    streamed = s.open_stream("/v1/completions", {"model": "a", "prompt": prompt, "temperature": 0, "max_tokens": 500, "stream": True}).read_all()
    assert streamed.text == plain and streamed.done and streamed.after_done == b""


def test_g3_emoji_come_whole(server):
    """Each is several tokens; each delta is whole characters, and there are many deltas."""
    s = server(model="a")
    stream = s.stream("a", "[[emoji=20]]").read_all()
    pieces = [c["delta"]["content"] for _, e in stream.events for c in e["choices"] if c["delta"].get("content")]
    assert len(pieces) >= 20 and "".join(pieces) == stream.text
    assert not any("\ufffd" in p for p in pieces)
    assert stream.usage["completion_tokens"] > 2 * len(pieces)  # more tokens than deltas: bytes were held back


def test_g3_shape_of_a_chat_stream(server):
    s = server(model="a")
    stream = s.stream("a", "[[len=30]]").read_all()
    assert stream.headers["Content-Type"].startswith("text/event-stream") and stream.headers["Cache-Control"] == "no-cache"
    events = [e for _, e in stream.events]
    for key in ("id", "created", "model", "system_fingerprint"):
        assert len({e[key] for e in events}) == 1, key
    assert {e["object"] for e in events} == {"chat.completion.chunk"} and events[0]["id"].startswith("chatcmpl-")
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in c["delta"] for e in events[1:] for c in e["choices"])
    finishes = [c["finish_reason"] for e in events for c in e["choices"]]
    assert finishes[-1] == "stop" and set(finishes[:-1]) == {None}
    assert events[-1]["choices"] == [] and set(events[-1]) >= {"usage", "hotseat"}
    for line in stream.raw.decode().splitlines():
        assert not line or line.startswith("data: "), line
        if line.startswith("data: {"):
            json.loads(line[6:])


def test_g3_shape_of_a_text_stream(server):
    s = server(model="a")
    body = {"model": "a", "prompt": "[[len=30]]", "temperature": 0, "max_tokens": 64, "stream": True, "stream_options": {"include_usage": True}}
    stream = s.open_stream("/v1/completions", body).read_all()
    events = [e for _, e in stream.events]
    assert {e["object"] for e in events} == {"text_completion"} and events[0]["id"].startswith("cmpl-")
    assert all(set(c) == {"index", "text", "logprobs", "finish_reason"} for e in events for c in e["choices"])
    assert stream.finish == "stop" and stream.done and len(stream.text.encode()) == 30
    whole = s.complete("a", "[[len=30]]", max_tokens=64)
    assert whole["object"] == "text_completion" and whole["choices"][0]["text"] == stream.text
    assert stream.usage["prompt_tokens"] == whole["usage"]["prompt_tokens"] and stream.hotseat["model"] == "a"


def test_g3_an_empty_answer_is_whole_too(server):
    s = server(model="a")
    stream = s.stream("a", "[[say:stop here]]", stop="stop").read_all()
    assert stream.text == "" and stream.finish == "stop" and stream.done and stream.usage["completion_tokens"] >= 1


def test_g3_many_streams_at_once_keep_apart(server):
    s = server(model="a", options=["--parallel", "8"])
    results, errors = in_threads([lambda i=i: s.stream("a", f"[[say:{'x' * i} stream {i} caf\u00e9]]").read_all() for i in range(16)])
    assert errors == [None] * 16
    assert [r.text for r in results] == [f"{'x' * i} stream {i} caf\u00e9" for i in range(16)]
    assert len({r.events[0][1]["id"] for r in results}) == 16
