"""G1: the official OpenAI client works unchanged, on a real model: chat, streaming, errors in its own classes."""
import math

import openai
import pytest
from hotseat_harness import SMOL
from real_talk import CONFIG, OPTIONS, start

pytestmark = pytest.mark.xdist_group("smol")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("openai"), SMOL)
    yield server
    server.stop()
    server.check_log()


@pytest.fixture
def client(running):
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=120) as c:
        yield c


def test_g1_models(client):
    models = list(client.models.list())
    assert [m.id for m in models] == [SMOL] and models[0].object == "model"
    assert client.models.retrieve(SMOL).id == SMOL


def test_g1_chat(client):
    answer = client.chat.completions.create(model=SMOL, messages=[{"role": "user", "content": "Count from one to five."}], temperature=0,
                                            max_tokens=40, user="ada")
    assert "5" in answer.choices[0].message.content
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    assert answer.model == SMOL and answer.object == "chat.completion"


def test_g1_streaming(client):
    pieces, usage = [], None
    with client.chat.completions.create(model=SMOL, messages=[{"role": "user", "content": "Count from one to five."}], temperature=0, max_tokens=40,
                                        stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            assert chunk.object == "chat.completion.chunk"
            pieces += [c.delta.content or "" for c in chunk.choices]
            usage = chunk.usage or usage
    assert len([p for p in pieces if p]) > 3
    assert usage.completion_tokens > 3


def test_g1_completions(client):
    answer = client.completions.create(model=SMOL, prompt="The capital of France is", temperature=0, max_tokens=5)
    assert "Paris" in answer.choices[0].text


def test_g1_content_parts_and_developer_role(client):
    answer = client.chat.completions.create(
        model=SMOL, temperature=0, max_tokens=16,
        messages=[{"role": "developer", "content": "Answer briefly."},
                  {"role": "user", "content": [{"type": "text", "text": "What is two plus "}, {"type": "text", "text": "two?"}]}])
    assert answer.choices[0].message.content


def test_g1_a_prefilled_answer_goes_on(client):
    """Only what comes after it; and what comes is what the model itself would have gone on with."""
    ask = {"model": SMOL, "messages": [{"role": "user", "content": "Count from one to five."}], "temperature": 0, "max_tokens": 30}
    whole = client.chat.completions.create(**ask).choices[0].message.content
    cut = whole.index(" ", len(whole) // 3)
    begun = {**ask, "messages": [*ask["messages"], {"role": "assistant", "content": whole[:cut]}]}
    rest = client.chat.completions.create(**begun)
    text = rest.choices[0].message.content
    assert len(text) > 10 and whole[cut:].startswith(text[:len(whole) - cut]) or text.startswith(whole[cut:]), (whole, text)
    assert rest.usage.prompt_tokens_details.cached_tokens > 0
    stream = client.chat.completions.create(**begun, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == text
    twice = {**begun, "messages": [*begun["messages"], {"role": "assistant", "content": "and"}]}
    with pytest.raises(openai.BadRequestError, match="two messages of the assistant"):
        client.chat.completions.create(**twice)


def test_g1_several_choices(client):
    """The prompt is counted once. (What each says test_choices.py compares on the fake engine: here steps with several sequences take
    other matrix kernels than steps with one.)"""
    ask = {"model": SMOL, "messages": [{"role": "user", "content": "Write a sentence about the sea."}], "max_tokens": 24}
    answer = client.chat.completions.create(**ask, temperature=1.2, n=3, seed=5)
    assert len({c.message.content for c in answer.choices}) == 3 and [c.index for c in answer.choices] == [0, 1, 2]
    single = client.chat.completions.create(**ask, temperature=0)
    assert answer.usage.prompt_tokens == single.usage.prompt_tokens and 40 < answer.usage.completion_tokens <= 72
    greedy = client.chat.completions.create(**ask, temperature=0, n=3)
    assert len({c.message.content[:40] for c in [*greedy.choices, single.choices[0]]}) == 1
    heard, ends = [""] * 3, []
    for chunk in client.chat.completions.create(**ask, temperature=0, n=3, stream=True):
        c = chunk.choices[0]
        heard[c.index] += c.delta.content or ""
        ends += [(c.index, c.finish_reason)] if c.finish_reason else []
    assert {h[:40] for h in heard} == {single.choices[0].message.content[:40]} and sorted(i for i, _ in ends) == [0, 1, 2]


def test_g1_several_prompts_and_echo(client):
    prompts = ["The capital of France is", "One, two, three, four,"]
    ask = {"model": SMOL, "temperature": 0, "max_tokens": 6}
    answer = client.completions.create(**ask, prompt=prompts, echo=True, n=2)
    single = [client.completions.create(**ask, prompt=p).choices[0].text for p in prompts]
    assert [c.text for c in answer.choices] == [p + t for p, t in zip(prompts, single) for _ in range(2)]
    assert "Paris" in answer.choices[0].text and "five" in answer.choices[3].text


def test_g1_errors_in_the_clients_own_classes(client, running):
    hello = [{"role": "user", "content": "Hello"}]
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model="no-such-model", messages=hello)
    assert e.value.code == "model_not_found" and e.value.request_id
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=SMOL, messages=hello, temperature=17)
    assert e.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=SMOL, messages=[{"role": "user", "content": "word " * 20000}])
    assert e.value.code == "context_length_exceeded"


def test_g1_tools_that_the_model_would_never_see_are_refused(client):
    """Its template knows none. With "none" there is nothing to see."""
    look = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}}
    ask = {"model": SMOL, "messages": [{"role": "user", "content": "Look at the sea."}], "temperature": 0, "max_tokens": 4}
    for choice in ("auto", "required"):
        with pytest.raises(openai.BadRequestError, match="template knows no tools") as e:
            client.chat.completions.create(**ask, tools=[look], tool_choice=choice)
        assert e.value.code == "unsupported_parameter"
    assert client.chat.completions.create(**ask, tools=[look], tool_choice="none").choices[0].message.content


def test_g1_wrong_key(real_server, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret-1\n")
    server = real_server(SMOL, options=[*OPTIONS, "--api-key", str(key)], config=CONFIG)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret-1", max_retries=0) as client:
        assert [m.id for m in client.models.list()] == [SMOL]


def test_g1_chat_logprobs(client):
    """The client's own types. At T=0 the drawn token is the likeliest; the bytes are the text."""
    ask = dict(model=SMOL, messages=[{"role": "user", "content": "Say hello \U0001f642"}], temperature=0, max_tokens=24, logprobs=True, top_logprobs=20)
    client.chat.completions.create(**ask | {"max_tokens": 1}, user="ada")
    first = client.chat.completions.create(**ask, user="ada")
    choice = first.choices[0]
    assert bytes(b for t in choice.logprobs.content for b in t.bytes).decode() == choice.message.content
    for t in choice.logprobs.content:
        assert len(t.top_logprobs) == 20 and t.logprob == t.top_logprobs[0].logprob and t.bytes == t.top_logprobs[0].bytes
        assert sum(math.exp(o.logprob) for o in t.top_logprobs) <= 1 and t.logprob <= 0
    content, text = [], ""
    with client.chat.completions.create(**ask, user="ada", stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            usage = chunk.usage
            for c in chunk.choices:
                text += c.delta.content or ""
                content += c.logprobs.content if c.logprobs else []
    # A second run: the same text; its numbers may be those of other cells. Both go on before the last token of the prompt: what is read in
    # other pieces is rounded differently, and words that are nearly as likely as one another change places.
    cached = {u.prompt_tokens - u.prompt_tokens_details.cached_tokens for u in (first.usage, usage)}
    assert cached == {1}, (first.usage, usage)
    assert text == choice.message.content and [t.token for t in content] == [t.token for t in choice.logprobs.content]
    assert all(abs(a.logprob - b.logprob) < 0.05 for a, b in zip(content, choice.logprobs.content))


def test_g1_completions_logprobs(client):
    prompt = "The capital of France is"
    answer = client.completions.create(model=SMOL, prompt=prompt, temperature=0, max_tokens=8, logprobs=5)
    got, text = answer.choices[0].logprobs, answer.choices[0].text
    assert "".join(got.tokens) == text and got.text_offset[0] == len(prompt)
    for token, logprob, top, at in zip(got.tokens, got.token_logprobs, got.top_logprobs, got.text_offset):
        assert max(top.values()) == logprob == top[token] and len(top) == 5 and text[at - len(prompt):].startswith(token)
    hot = client.completions.create(model=SMOL, prompt=prompt, temperature=2, seed=3, max_tokens=1, logprobs=5).choices[0].logprobs
    assert all(abs(hot.top_logprobs[0][k] - v) < 0.05 for k, v in got.top_logprobs[0].items())  # of the model, not of the drawing


def test_g1_logit_bias(client):
    prompt = "The capital of France is"

    def ask(**params):
        return client.completions.create(model=SMOL, prompt=prompt, temperature=0, max_tokens=3, **params).choices[0].text
    plain = ask()
    assert ask(logit_bias={"1000": 100}) == ask(logit_bias={"1000": 99}) != plain  # three times this token
    words = {ask(logit_bias={str(i): -100 for i in range(n, 49152, 49152 // 1000 + 1)}) for n in range(3)}
    assert all(words)
    with pytest.raises(openai.BadRequestError) as e:
        ask(logit_bias={"49152": 1})  # the first that is none
    assert e.value.param == "logit_bias" and "49152 tokens" in str(e.value)
    with pytest.raises(openai.BadRequestError) as e:
        client.chat.completions.create(model=SMOL, messages=[{"role": "user", "content": "x"}], top_logprobs=2)
    assert e.value.param == "top_logprobs"


# What llama.cpp's own server says of the same file and the same q8_0 cells (/completion, n_probs): written down, because its build
# is the benches'. It differs a little with the processor.
THEIRS = {" with": -0.6455, " and": -3.0658, ",": -3.2279, " (": -3.6749, " named": -3.7454}


def test_g1_logprobs_are_those_of_another_server(client):
    ours = client.completions.create(model=SMOL, prompt="The quick brown fox", temperature=0, max_tokens=1, logprobs=5).choices[0].logprobs
    assert ours.tokens == [" with"] and ours.token_logprobs[0] == ours.top_logprobs[0][" with"]
    assert ours.top_logprobs[0] == pytest.approx(THEIRS, abs=0.05)
