"""What real models write: C3 (a conversation equals a fresh server fed the whole history), G3 (deltas equal the whole text),
S13 (a killed seat changes no token)."""
import os
import signal

import pytest
from hotseat_harness import SMOL, Talk, wait_until
from real_talk import CONFIG, GEMMA, MODELS, OPTIONS, QWEN, SHORT, SYSTEM, TURNS, check_counts, check_same, start, talk

per_model = pytest.mark.parametrize("model", [pytest.param(m, id=SHORT[m], marks=pytest.mark.xdist_group(SHORT[m])) for m in MODELS])
QUESTIONS = [*TURNS[:3], "Name an animal.", "Where does it live?", "What does it eat?", "Name a river.",
             "How long is it?", "Name a city on it.", "What is it known for?"]


@per_model
def test_c3_ten_turns_equal_a_fresh_server_with_the_whole_history(model, real_server, tmp_path):
    """The first three turns are pages of text, so that the later ones lie past Gemma's window."""
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    conversation = talk(server, model)
    conversation.params["max_tokens"] = 24
    answers = [conversation.say(q) for q in QUESTIONS]
    assert len(answers) == 10 and answers[2].prompt > 512 and answers[-1].cached > answers[-1].prompt * 0.8
    for answer in answers:
        check_counts(answer)
    system = 0 if model == GEMMA else 1
    fresh = start(tmp_path / "fresh", model)
    try:
        for turn in (4, 10):
            fresh.request("DELETE", "/admin/cache").ok()  # of the cells, too
            again = Talk(fresh, model, agent="ada", max_tokens=24, seed=1)
            again.messages = [dict(m) for m in conversation.messages[:system + 2 * (turn - 1)]]
            whole = again.say(QUESTIONS[turn - 1])
            went_on = answers[turn - 1]
            assert whole.cached == 0 and whole.prompt == went_on.prompt and whole.decoded >= whole.prompt
            if model == SMOL:  # the same bits for every size of a chunk: to the bit
                assert whole.logits == went_on.logits and whole.logits
                assert whole.text == went_on.text
            else:  # small chunks take another matrix kernel here: the best token of the first row, on natural text
                assert whole.text.split()[:1] == went_on.text.split()[:1] != [], (whole.text, went_on.text)
        if model == SMOL:  # and the KV bytes of all that is reused, one turn later
            more = "And what was the number on the ring?"
            assert conversation.say(more).same_as(again.say(more))
            # The control: one flipped byte in what is restored turns the comparison red.
            for s in (server, fresh):
                s.offload()
                s.swap(model)
            fresh.fault("kv_flip")
            flipped, whole = again.say("Thank you."), conversation.say("Thank you.")
            assert flipped.cached == whole.cached > 512 and flipped.kv != whole.kv
    finally:
        fresh.stop()


@per_model
def test_g3_deltas_equal_the_whole_answer(model, real_server):
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    prompts = ["Write a Python function that adds two numbers, with a loop that is indented by four spaces:\n    for i in range(10):\n        x += i\n",
               "Repeat this line three times: 🙂🚀🦊 naïve café 日本 — done.", " ".join(TURNS[:3])]
    for prompt in prompts:
        messages = [{"role": "user", "content": prompt}]
        server.chat(model, messages, agent="g3", max_tokens=48)  # from here on both kinds make the same calls
        whole = server.chat(model, messages, agent="g3", max_tokens=48)
        stream = server.stream(model, messages, agent="g3", max_tokens=48).read_all()
        assert stream.text.encode() == whole["choices"][0]["message"]["content"].encode()
        assert stream.finish == whole["choices"][0]["finish_reason"]
        assert stream.usage["completion_tokens"] == whole["usage"]["completion_tokens"]
        assert stream.done and stream.after_done == b"" and stream.error is None
        assert "\ufffd" not in stream.text


@pytest.mark.xdist_group("smol")
@pytest.mark.parametrize("temperature", [0, 0.8])
@pytest.mark.parametrize("at", [0, 1, 25])
def test_s13_killed_seat_during_a_stream_changes_no_token(temperature, at, real_server, tmp_path):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Tell a long story about a goat, an orange and a boat. 🐐"}]
    params = dict(agent="ada", max_tokens=60, temperature=temperature, seed=7)
    def one_more_turn(server, text):
        t = Talk(server, SMOL, agent="ada", max_tokens=12, seed=1)
        t.messages = [*messages, {"role": "assistant", "content": text}]
        return t.say("And what did the goat say?")

    quiet = start(tmp_path / "quiet", SMOL)
    try:
        expected = quiet.stream(SMOL, messages, **params).read_all()
        next_expected = one_more_turn(quiet, expected.text)
    finally:
        quiet.stop()
        quiet.check_log()
    server = real_server(SMOL, options=OPTIONS, config=CONFIG, model=SMOL)
    pid = server.seat_pid()
    stream = server.stream(SMOL, messages, **params)
    seen = 0
    if at == 0:
        os.kill(pid, signal.SIGKILL)
    for event in stream:
        if (event.get("choices") or [{}])[0].get("delta", {}).get("content"):
            seen += 1
            if seen == at:
                os.kill(pid, signal.SIGKILL)
    assert stream.error is None and stream.done
    assert stream.text == expected.text
    assert stream.usage["completion_tokens"] == expected.usage["completion_tokens"]
    assert stream.finish == expected.finish
    wait_until(lambda: server.seat_pid() not in (None, pid), what="a new seat")
    # What lies in the cells of the new process is what lay in the old one's, to the bit.
    check_same(one_more_turn(server, stream.text), next_expected)
    assert server.metrics().sum("hotseat_seat_restarts_total") == 1


@per_model
def test_g3_logprobs_are_those_of_the_text(model, real_server):
    """On three vocabularies, with characters of several tokens: the tokens' bytes are the text, streamed, whole and cut by a stop string."""
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    for prompt, params in (("Repeat this line: 🙂🚀🦊 naïve café 日本 — done.", {}), ("Count to 20: 1, 2, 3,", {"stop": ["7", "8,"]})):
        ask = dict(max_tokens=40, logprobs=True, top_logprobs=2, **params)
        choice = server.chat(model, prompt, **ask)["choices"][0]
        text, tokens = choice["message"]["content"], [t["token"] for t in choice["logprobs"]["content"]]
        got = bytes(b for t in choice["logprobs"]["content"] for b in t["bytes"])
        # Longer only where a token holds a stop string's beginning, or the last character is not all there (and U+FFFD in the text).
        assert got == text.encode() or ((params or text[-1] == "\ufffd") and got.startswith(text.rstrip("\ufffd").encode())), (got, text)
        assert all(t["logprob"] == t["top_logprobs"][0]["logprob"] for t in choice["logprobs"]["content"])
        stream = server.stream(model, prompt, **ask).read_all()
        streamed = [t["token"] for _, e in stream.events for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["content"]]
        assert stream.text == text and streamed == tokens


@pytest.mark.xdist_group("qwen")
def test_g3_tool_calls_have_no_logprobs(real_server):
    server = real_server(QWEN, options=OPTIONS, model=QWEN)
    look = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    ask = dict(tools=[look], tool_choice="required", max_tokens=100, logprobs=True)
    choice = server.chat(QWEN, "What is the weather in Paris?", **ask)["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert choice["logprobs"] == {"content": None, "refusal": None}


@pytest.mark.xdist_group("smol")
def test_s13_a_killed_seat_loses_no_logprobs(real_server):
    server = real_server(SMOL, options=OPTIONS, model=SMOL)
    ask = dict(max_tokens=40, logprobs=True, top_logprobs=3, temperature=0.8, seed=5)

    def stream(kill_at):
        st = server.stream(SMOL, "Repeat this line: 🙂🚀🦊 naïve café 日本.", **ask)
        for i, _ in enumerate(st):
            if i == kill_at:
                server.kill_seat()
        return st.text, [t for _, e in st.events for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["content"]]
    text, tokens = stream(None)
    moved_text, moved = stream(8)
    assert server.metrics().sum("hotseat_streams_resubmitted_total") == 1
    assert moved_text == text and [t["bytes"] for t in moved] == [t["bytes"] for t in tokens]
    assert all(abs(a["logprob"] - b["logprob"]) < 0.02 for a, b in zip(moved, tokens))
