"""G1: the official Anthropic client works unchanged, on a real model: messages, streaming, tools, prefill, counts, errors in its own classes."""
import json

import anthropic
import pytest
from hotseat_harness import QWEN, in_threads
from real_talk import CONFIG, OPTIONS, start

pytestmark = pytest.mark.xdist_group("qwen")
COUNT_TO_FIVE = [{"role": "user", "content": "Count from one to five, in digits."}]
WEATHER = {"name": "get_weather", "description": "Says what the weather is in a city.",
           "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
GREEDY = {"temperature": 0}  # the client's newest version has no parameter for it


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("anthropic"), QWEN)
    yield server
    server.stop()
    server.check_log()


@pytest.fixture
def client(running):
    with anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0, timeout=300) as c:
        yield c


def text_of(message):
    return "".join(b.text for b in message.content if b.type == "text")


def test_g1_message(client):
    message = client.messages.create(model=QWEN, max_tokens=60, messages=COUNT_TO_FIVE, system="You are brief.", metadata={"user_id": "ada"},
                                     extra_body=GREEDY)
    assert "5" in text_of(message) and [b.type for b in message.content] == ["text"]
    assert message.type == "message" and message.role == "assistant" and message.model == QWEN and message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens") and message.stop_sequence is None
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 3 and message.usage.cache_creation_input_tokens == 0
    assert message._request_id


def test_g1_streaming_equals_not_streaming(client):
    whole = client.messages.create(model=QWEN, max_tokens=60, messages=COUNT_TO_FIVE, extra_body=GREEDY)
    with client.messages.stream(model=QWEN, max_tokens=60, messages=COUNT_TO_FIVE, extra_body=GREEDY) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3 and "".join(pieces) == text_of(final) == text_of(whole)
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    first = final.usage
    assert first.input_tokens + first.cache_read_input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    kinds = [e.type for e in client.messages.create(model=QWEN, max_tokens=8, messages=COUNT_TO_FIVE, stream=True, extra_body=GREEDY)]
    assert kinds[:2] == ["message_start", "content_block_start"] and kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}


def test_g1_stop_reasons(client):
    stopped = client.messages.create(model=QWEN, max_tokens=60, messages=COUNT_TO_FIVE, stop_sequences=["zzz", "3"], extra_body=GREEDY)
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == "3"
    assert "2" in text_of(stopped) and "3" not in text_of(stopped)
    cut = client.messages.create(model=QWEN, max_tokens=3, messages=COUNT_TO_FIVE, extra_body=GREEDY)
    assert cut.stop_reason == "max_tokens" and cut.usage.output_tokens == 3


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_g1_a_loop_of_tools(client, streamed):
    def ask(messages, **params):
        params = {"model": QWEN, "max_tokens": 100, "messages": messages, "tools": [WEATHER], "extra_body": GREEDY, **params}
        if not streamed:
            return client.messages.create(**params)
        with client.messages.stream(**params) as stream:
            return stream.get_final_message()
    messages = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = ask(messages, tool_choice={"type": "any"})
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert call.type == "tool_use" and call.name == "get_weather" and "paris" in call.input["city"].lower()
    messages += [{"role": "assistant", "content": first.content},
                 {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees, light rain"},
                                              {"type": "text", "text": "Say it in one short sentence."}]}]
    second = ask(messages, tool_choice={"type": "none"})
    assert second.stop_reason == "end_turn" and ("18" in text_of(second) or "rain" in text_of(second)), second
    assert second.usage.cache_read_input_tokens > 0


def test_g1_a_prefilled_answer_goes_on(client):
    question = {"role": "user", "content": "What is the capital of France?"}
    message = client.messages.create(model=QWEN, max_tokens=6, messages=[question, {"role": "assistant", "content": "The capital of France is the city of"}],
                                     extra_body=GREEDY)
    assert text_of(message).strip().startswith("Paris"), message  # only what comes after it
    with client.messages.stream(model=QWEN, max_tokens=6, messages=[question, {"role": "assistant", "content": "The capital of France is the city of"}],
                                extra_body=GREEDY) as stream:
        assert stream.get_final_text() == text_of(message)


def test_g1_counts(client):
    params = {"model": QWEN, "messages": COUNT_TO_FIVE, "system": "You are brief.", "tools": [WEATHER]}
    count = client.messages.count_tokens(**params).input_tokens
    for _ in range(2):
        usage = client.messages.create(max_tokens=4, **params).usage
        assert usage.input_tokens + usage.cache_read_input_tokens == count
    assert usage.cache_read_input_tokens > 0
    assert client.messages.count_tokens(model=QWEN, messages=COUNT_TO_FIVE).input_tokens < count


def test_g1_structured_output(client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "country": {"type": "string"}}, "required": ["city", "country"],
              "additionalProperties": False}
    message = client.messages.create(model=QWEN, max_tokens=80, messages=[{"role": "user", "content": "Name the capital of France, as JSON."}],
                                     output_config={"format": {"type": "json_schema", "schema": schema}}, extra_body=GREEDY)
    assert set(json.loads(text_of(message))) == {"city", "country"}


def test_g1_errors_in_the_clients_own_classes(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        client.messages.create(model="no-such-model", max_tokens=5, messages=COUNT_TO_FIVE)
    assert e.value.type == "not_found_error" and e.value.request_id
    with pytest.raises(anthropic.BadRequestError) as e:
        client.messages.create(model=QWEN, max_tokens=5, messages=COUNT_TO_FIVE, extra_body={"temperature": 1.5})
    assert e.value.type == "invalid_request_error" and "temperature: must be from 0 to 1" in str(e.value)
    with pytest.raises(anthropic.BadRequestError, match="context"):
        client.messages.create(model=QWEN, max_tokens=5, messages=[{"role": "user", "content": "word " * 20000}])
    with pytest.raises(anthropic.BadRequestError, match="image"):
        client.messages.create(model=QWEN, max_tokens=5, messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}]}])


def test_g1_wrong_key(real_server, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret-1\n")
    server = real_server(QWEN, options=[*OPTIONS, "--api-key", str(key)], config=CONFIG)
    with anthropic.Anthropic(base_url=server.url, api_key="wrong", max_retries=0) as client, pytest.raises(anthropic.AuthenticationError) as e:
        client.messages.create(model=QWEN, max_tokens=5, messages=COUNT_TO_FIVE)
    assert e.value.type == "authentication_error"
    with anthropic.Anthropic(base_url=server.url, api_key="secret-1", max_retries=0) as client:
        assert client.messages.count_tokens(model=QWEN, messages=COUNT_TO_FIVE).input_tokens > 0


def test_g1_leaving_a_stream_ends_its_work(client, running):
    with client.messages.stream(model=QWEN, max_tokens=4000, messages=[{"role": "user", "content": "Write a very long story."}], extra_body=GREEDY) as stream:
        for i, _ in enumerate(stream.text_stream):
            if i == 3:
                break
    results, errors = in_threads([lambda: client.messages.create(model=QWEN, max_tokens=4, messages=COUNT_TO_FIVE)])
    assert errors == [None] and results[0].usage.output_tokens <= 4
    assert running.metrics().sum("hotseat_requests_total", outcome="canceled") >= 1
