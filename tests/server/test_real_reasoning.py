"""Models that reason, on a real engine: none of the pinned ones does, so Qwen2.5-Coder's weights run with Qwen3.5's template, which opens the
thoughts itself. `keeps` renders old thoughts again where it is told to (as Qwen3.6's and others do), `drops` never. Two turns that were answered
with a thought make the small model think, too.
"""
import json
import subprocess

import anthropic
import jsonschema
import openai
import pytest
from hotseat_harness import QWEN, REAL_MODELS, ROOT, Server
from real_talk import OPTIONS

pytestmark = pytest.mark.xdist_group("qwen")
TEMPLATES = {"keeps": "Qwen3.5-4B", "drops": "Qwen3.5-4B", "lfm": "LFM2.5-8B-A1B", "kimi": "Kimi-K2-Thinking"}  # of the engine's source
GREEDY = {"temperature": 0}  # Anthropic's newest client has no parameter for it
SHOTS = [("What is 1+1?", "One and one are two.", "The answer is 2."), ("What is 3+3?", "Three and three are six.", "The answer is 6.")]
QUESTION = "What is 2+2?"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ANSWER = {"type": "object", "properties": {"answer": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["answer"],
          "additionalProperties": False}


def template(name):
    engine = subprocess.run(["bash", "-c", f". {ROOT}/scripts/common.sh; engine_dir"], capture_output=True, text=True, check=True).stdout.strip()
    with open(f"{engine}/src/models/templates/{TEMPLATES[name]}.jinja") as f:
        source = f.read()
    if name != "keeps":
        return source
    rule = "loop.index0 > ns.last_query_index %}"
    assert source.count(rule) == 1
    return source.replace(rule, "preserve_thinking or " + rule)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reasoning")
    models, config = folder / "models", ""
    models.mkdir()
    for name in TEMPLATES:
        (models / f"{name}.gguf").symlink_to(REAL_MODELS / f"{QWEN}.gguf")
        (folder / f"{name}.jinja").write_text(template(name))
        config += f"[model {name}]\ntemplate = {folder}/{name}.jinja\n"
    server = Server(folder / "server", models, seat="llama", options=OPTIONS, config=config, model="keeps").start()
    yield server
    server.stop()
    server.check_log()


@pytest.fixture
def oai(running):
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=300) as c:
        yield c


@pytest.fixture
def ant(running):
    with anthropic.Anthropic(base_url=running.url, api_key="none", max_retries=0, timeout=300) as c:
        yield c


def openai_talk(*more):
    talk = []
    for question, thought, answer in SHOTS:
        talk += [{"role": "user", "content": question}, {"role": "assistant", "reasoning_content": thought, "content": answer}]
    return [*talk, *(more or [{"role": "user", "content": QUESTION}])]


def anthropic_talk(*more):
    talk = []
    for question, thought, answer in SHOTS:
        talk += [{"role": "user", "content": question},
                 {"role": "assistant", "content": [{"type": "thinking", "thinking": thought, "signature": ""}, {"type": "text", "text": answer}]}]
    return [*talk, *(more or [{"role": "user", "content": QUESTION}])]


def parts(message):
    """What an answer of OpenAI's says."""
    calls = [(c.function.name, c.function.arguments) for c in message.tool_calls or []]
    return getattr(message, "reasoning_content", None) or "", message.content or "", calls


def streamed(client, **params):
    """The same of its stream, with how it ended, the usage, and the order of the deltas."""
    reasoning, content, calls, order, finish, usage = "", "", [], [], None, None
    for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **params):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            more = getattr(choice.delta, "reasoning_content", None)
            order += ["reasoning"] * bool(more) + ["content"] * bool(choice.delta.content) + ["call"] * bool(choice.delta.tool_calls)
            reasoning, content = reasoning + (more or ""), content + (choice.delta.content or "")
            for call in choice.delta.tool_calls or []:
                if call.index == len(calls):
                    calls.append((call.function.name, ""))
                calls[call.index] = (calls[call.index][0], calls[call.index][1] + (call.function.arguments or ""))
    return (reasoning, content, calls), finish, usage, order


def asked(client, **params):
    """Asked streamed and whole: the same, to the usage; both go on from a prompt that was read before, for this model's bits depend on the chunks it
    is read in. Gives parts, finish_reason, the order of deltas."""
    params = {"model": "keeps", "max_tokens": 100, **GREEDY, **params}
    client.chat.completions.create(**params | {"max_tokens": 1})
    (said, finish, usage, order), whole = streamed(client, **params), client.chat.completions.create(**params)
    assert parts(whole.choices[0].message) == said and whole.choices[0].finish_reason == finish, (whole, said, finish)
    assert whole.usage == usage
    assert "think>" not in said[0] + said[1]
    return said, finish, order


def blocks(message):
    return [(b.type, {"thinking": lambda: b.thinking, "text": lambda: b.text, "tool_use": lambda: (b.name, b.input)}[b.type]()) for b in message.content]


def told(client, **params):
    """Likewise with Anthropic's client: blocks, stop_reason, and the events of the stream without repetitions."""
    params = {"model": "keeps", "max_tokens": 100, "extra_body": GREEDY, **params}
    client.messages.create(**params)
    events = []
    with client.messages.stream(**params) as stream:
        for event in stream:
            kind = {"content_block_start": lambda: event.content_block.type, "content_block_delta": lambda: event.delta.type}.get(event.type)
            if event.type in RAW_EVENTS:
                events.append(event.type + (":" + kind() if kind else ""))
        final = stream.get_final_message()
    whole = client.messages.create(**params)
    assert blocks(whole) == blocks(final) and whole.stop_reason == final.stop_reason, (whole, final)
    assert whole.usage == final.usage
    return blocks(final), final.stop_reason, [e for i, e in enumerate(events) if i == 0 or e != events[i - 1]]


RAW_EVENTS = ("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop")


def events_of(*kinds):
    delta = {"thinking": "thinking_delta", "text": "text_delta", "tool_use": "input_json_delta"}
    middle = [e for k in kinds for e in (f"content_block_start:{k}", f"content_block_delta:{delta[k]}", "content_block_stop")]
    return ["message_start", *middle, "message_delta", "message_stop"]


def test_the_thoughts_are_apart_from_the_answer(oai, ant):
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk())
    assert "four" in reasoning and content == "The answer is 4." and not calls and finish == "stop"
    assert order == sorted(order, reverse=True) and order.count("reasoning") > 2 and order.count("content") > 2  # thoughts first
    said, stop, events = told(ant, messages=anthropic_talk())
    assert said == [("thinking", reasoning), ("text", content)] and stop == "end_turn"
    assert events == events_of("thinking", "text")


def test_an_answer_cut_inside_of_its_thoughts(oai, ant):
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(), max_tokens=3)
    assert reasoning and not content and not calls and finish == "length" and set(order) == {"reasoning"}
    said, stop, events = told(ant, messages=anthropic_talk(), max_tokens=3)
    assert said == [("thinking", reasoning)] and stop == "max_tokens" and events == events_of("thinking")


def test_a_stop_sequence_inside_of_the_thoughts(oai, ant):
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(), stop=[" are"])
    assert reasoning and "are" not in reasoning and not content and finish == "stop"
    said, stop, events = told(ant, messages=anthropic_talk(), stop_sequences=[" are"])
    assert said == [("thinking", reasoning)] and stop == "stop_sequence" and events == events_of("thinking")


def test_thinking_switched_off(oai, ant, running):
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(), reasoning_effort="none")
    assert not reasoning and "4" in content and finish == "stop" and set(order) == {"content"}
    said, stop, events = told(ant, messages=anthropic_talk(), thinking={"type": "disabled"})
    assert said == [("text", content)] and events == events_of("text")
    for effort in ("low", "high"):  # the template has no place for it
        assert asked(oai, messages=openai_talk(), reasoning_effort=effort)[0][0]
    assert told(ant, messages=anthropic_talk(), thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)[0][0][0] == "thinking"
    prompt = {"model": "keeps", "messages": openai_talk()}
    assert running.post("/apply-template", prompt).ok()["prompt"].endswith("assistant\n<think>\n")
    assert running.post("/apply-template", {**prompt, "reasoning_effort": "none"}).ok()["prompt"].endswith("<think>\n\n</think>\n\n")
    with pytest.raises(openai.BadRequestError, match="chat_template_kwargs"):
        oai.chat.completions.create(model="keeps", messages=openai_talk(), extra_body={"chat_template_kwargs": {"enable_thinking": False}})


def check_cached(model, sent_back, prompt, generated, cached):
    if model == "keeps" and sent_back:
        assert cached == prompt + generated - 1  # the last token ends the turn: nothing was read after it
    else:
        assert prompt - 4 < cached < prompt, (prompt, cached)


@pytest.mark.parametrize("model, sent_back", [("keeps", True), ("keeps", False), ("drops", True), ("drops", False)])
def test_a_second_turn(oai, ant, model, sent_back):
    """What the model still has of its first answer is not read again: all of it, or what stands before its thoughts."""
    name = f"{model} {sent_back}"
    ask = {"model": model, "max_tokens": 60}
    first = oai.chat.completions.create(messages=openai_talk(), user="ada " + name, **ask, **GREEDY)
    message = first.choices[0].message
    said = {"role": "assistant", "content": message.content, "reasoning_content": message.reasoning_content if sent_back else None}
    second = oai.chat.completions.create(messages=[*openai_talk(), said, {"role": "user", "content": "What is 4+4?"}], user="ada " + name, **ask, **GREEDY)
    check_cached(model, sent_back, first.usage.prompt_tokens, first.usage.completion_tokens, second.usage.prompt_tokens_details.cached_tokens)
    assert "8" in "".join(parts(second.choices[0].message)[:2]), second

    ask |= {"metadata": {"user_id": "bob " + name}, "extra_body": GREEDY}
    first = ant.messages.create(messages=anthropic_talk(), **ask)
    said = {"role": "assistant", "content": [b for b in first.content if sent_back or b.type == "text"]}
    if not said["content"]:
        said["content"] = "4"
    second = ant.messages.create(messages=[*anthropic_talk(), said, {"role": "user", "content": "What is 5+4?"}], **ask)
    check_cached(model, sent_back, first.usage.input_tokens + first.usage.cache_read_input_tokens, first.usage.output_tokens,
                 second.usage.cache_read_input_tokens)
    assert "9" in str(blocks(second)), second


def test_a_schema_binds_the_answer_and_not_the_thoughts(oai, ant):
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": ANSWER}}
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(), response_format=schema)
    assert "four" in reasoning and finish == "stop"
    jsonschema.validate(json.loads(content), ANSWER)
    said, stop, events = told(ant, messages=anthropic_talk(), output_config={"format": {"type": "json_schema", "schema": ANSWER}})
    assert said == [("thinking", reasoning), ("text", content)] and events == events_of("thinking", "text")
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(), response_format=schema, reasoning_effort="none")
    assert not reasoning
    jsonschema.validate(json.loads(content), ANSWER)


@pytest.mark.parametrize("thinks", [True, False], ids=["thinking", "off"])
def test_a_forced_call_after_the_thoughts(oai, ant, thinks):
    ask = {"role": "user", "content": "What is the weather in Paris?"}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk(ask), tools=[tool], tool_choice=choice,
                                                           **({} if thinks else {"reasoning_effort": "none"}))
        assert bool(reasoning) == thinks and not content and finish == "tool_calls", (reasoning, content, calls, finish)
        assert len(calls) >= 1 and calls[0][0] == "get_weather"
        jsonschema.validate(json.loads(calls[0][1]), WEATHER)
    said, stop, events = told(ant, messages=anthropic_talk(ask), tools=[{"name": "get_weather", "input_schema": WEATHER}], tool_choice={"type": "any"},
                              thinking={"type": "enabled", "budget_tokens": 1024} if thinks else {"type": "disabled"}, max_tokens=2000)
    kinds = [k for k, _ in said]
    assert kinds == ["thinking"] * thinks + ["tool_use"] * (len(kinds) - thinks) and stop == "tool_use" and events == events_of(*kinds)


@pytest.mark.parametrize("model", ["lfm", "kimi"])
def test_a_forced_call_in_other_families(oai, model):
    """Their grammars say in other words that text may come first."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
    ask = [{"role": "user", "content": "What is the weather in Paris?"}]
    (reasoning, content, calls), finish, order = asked(oai, model=model, messages=ask, tools=[tool], tool_choice="required", reasoning_effort="none",
                                                       parallel_tool_calls=False)
    assert not content and finish == "tool_calls" and calls[0][0] == "get_weather", (reasoning, content, calls, finish)
    jsonschema.validate(json.loads(calls[0][1]), WEATHER)


def test_a_forced_call_after_text_that_the_client_began(oai):
    """The text stands: a grammar that lets none come before the call would refuse it."""
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
    ask = [{"role": "user", "content": "What is the weather in Paris?"},
           {"role": "assistant", "reasoning_content": "I must look.", "content": "Let me look.\n\n<tool_call>\n"}]
    answers = [asked(oai, messages=openai_talk(*ask[:n]), tools=[tool], tool_choice="required", max_tokens=120) for n in (1, 2)]
    for (reasoning, content, calls), finish, order in answers:
        assert finish in ("tool_calls", "length") and (calls or content), (reasoning, content, calls, finish)


def test_a_prefilled_answer_goes_on(oai, ant):
    """After thoughts that the client wrote, or inside of them: only what is new comes back."""
    begun = {"role": "assistant", "reasoning_content": "Two and two are four.", "content": "The answer"}
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk({"role": "user", "content": QUESTION}, begun))
    assert not reasoning and content == " is 4." and finish == "stop"
    (reasoning, content, calls), finish, order = asked(oai, messages=openai_talk({"role": "user", "content": QUESTION},
                                                                                 {"role": "assistant", "reasoning_content": "Two and two", "content": ""}))
    assert reasoning.startswith(" are four") and content == "The answer is 4." and finish == "stop"
    said, stop, events = told(ant, messages=anthropic_talk({"role": "user", "content": QUESTION}, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Two and two are four.", "signature": ""}, {"type": "text", "text": "The answer"}]}))
    assert said == [("text", " is 4.")] and stop == "end_turn" and events == events_of("text")
