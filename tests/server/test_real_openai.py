"""G1: the official OpenAI client works unchanged, on a real model: chat, streaming, errors in its own classes."""
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


def test_g1_wrong_key(real_server, tmp_path):
    key = tmp_path / "key"
    key.write_text("secret-1\n")
    server = real_server(SMOL, options=[*OPTIONS, "--api-key", str(key)], config=CONFIG)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret-1", max_retries=0) as client:
        assert [m.id for m in client.models.list()] == [SMOL]
