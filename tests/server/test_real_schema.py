"""Structured output on a real model: whatever schema is asked for strictly, the answer parses and validates, or the schema is refused
with its place. Schemas are drawn (hypothesis), answers are checked by jsonschema."""
import json
import os

import jsonschema
import openai
import pytest
from hotseat_harness import SMOL
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from real_talk import start

pytestmark = pytest.mark.xdist_group("smol")
LONG = bool(os.environ.get("HOTSEAT_LONG"))
# The same examples each time in the short run; no shrinking, each try is an answer of the model.
DRAWN = settings(max_examples=150 if LONG else 8, derandomize=not LONG, deadline=None, database=None, print_blob=True,
                 phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
NAMES = st.text(st.sampled_from("abcxyz_- .é漢\"\\/🙂"), min_size=1, max_size=6)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), st.text(max_size=5))


def sized(draw, low, high, least, most):
    a, b = sorted((draw(st.integers(least, most)), draw(st.integers(least, most))))
    return {k: v for k, v in ((low, a), (high, b)) if draw(st.booleans()) or k == high}


@st.composite
def texts(draw):
    kind = draw(st.sampled_from(["length", "format", "pattern"]))
    if kind == "length":
        return {"type": "string", **sized(draw, "minLength", "maxLength", 0, 8)}
    if kind == "format":
        return {"type": "string", "format": draw(st.sampled_from(["date", "time", "date-time", "uuid"]))}
    return {"type": "string", "pattern": draw(st.sampled_from(
        ["^[a-z]{2,4}$", "^(yes|no)$", "^[A-Z][a-z]*$", "^x-[0-9]{3}$", "^a\\.b$", "^[a-c]+(, [a-c]+)?$", "^(?:ab){1,3}$"]))}


@st.composite
def numbers(draw):
    if draw(st.booleans()):
        return {"type": "number"}
    low, high = draw(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "maximum"), ("minimum", "exclusiveMaximum")]))
    least = draw(st.integers(-2000, 2000))
    most = least + draw(st.integers(2, 3000))
    bounds = [{low: least, high: most}]
    bounds += [{low: least}] if abs(least) < 99 else []  # one alone: docs/api.md
    bounds += [{high: most}] if most >= 1 else []
    return {"type": "integer", **draw(st.sampled_from(bounds))}


LEAVES = st.one_of(texts(), numbers(), st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "null"]}]),
                   st.builds(lambda v: {"const": v}, SCALARS), st.builds(lambda v: {"enum": v}, st.lists(SCALARS, min_size=1, max_size=3)))


@st.composite
def objects(draw, inner):
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = [n for n in properties if draw(st.booleans())]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {k: v for k, v in schema.items() if k != "required" or v or draw(st.booleans())}


@st.composite
def arrays(draw, inner):
    if draw(st.integers(0, 3)) == 0:
        items = draw(st.lists(inner, min_size=1, max_size=3))
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    return {"type": "array", "items": draw(inner), **sized(draw, "minItems", "maxItems", 0, 3)}


def unions(inner):
    return st.builds(lambda a: {"anyOf": a}, st.lists(inner, min_size=1, max_size=3))


INNER = st.recursive(LEAVES, lambda s: st.one_of(objects(s), arrays(s), unions(s)), max_leaves=5)


@st.composite
def schemas(draw):
    root = draw(objects(INNER))
    if draw(st.booleans()):  # one of the properties lives elsewhere
        root["properties"]["ref"] = {"$ref": "#/$defs/there"}
        root["$defs"] = {"there": draw(INNER)}
    return root


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("schema"), SMOL)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=120) as c:
        yield c
    server.stop()
    server.check_log()


def ask(client, schema, strict=True, **params):
    return client.chat.completions.create(
        model=SMOL, messages=[{"role": "user", "content": "Give me an example."}], max_tokens=600, **{"temperature": 1, "seed": 5, **params},
        response_format={"type": "json_schema", "json_schema": {"name": "example", "strict": strict, "schema": schema}})


def test_g2_every_answer_validates(client):
    done = []

    @DRAWN
    @given(schemas())
    def check(schema):
        jsonschema.Draft202012Validator.check_schema(schema)
        try:
            choice = ask(client, schema).choices[0]
        except openai.BadRequestError as e:  # drawn texts have characters that this vocabulary lacks
            assert "can't write" in e.message and not json.dumps(schema, ensure_ascii=False).isascii(), e
            return
        if choice.finish_reason == "length":  # cut off: nothing can be said
            return
        assert choice.finish_reason == "stop"
        try:
            jsonschema.validate(json.loads(choice.message.content), schema, jsonschema.Draft202012Validator)
        except (ValueError, jsonschema.ValidationError) as e:
            pytest.fail(f"{json.dumps(schema)}: {choice.message.content!r}: {e}")
        done.append(schema)

    check()
    assert len(done) >= (100 if LONG else 5), len(done)


@pytest.mark.parametrize("schema, place", [
    ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}, ".properties.a.uniqueItems"),
    ({"type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.5}}}, ".properties.n.multipleOf"),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "string", "pattern": "(?=a)b"}}}, ".$defs.x.pattern"),
])
def test_g2_what_no_grammar_holds_is_refused_with_its_place(client, schema, place):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, schema)
    assert e.value.param == "response_format.json_schema.schema" + place
    loose = client.chat.completions.with_raw_response.create(
        model=SMOL, messages=[{"role": "user", "content": "Hello"}], max_tokens=1,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert place in loose.headers["X-Hotseat-Ignored"]


@pytest.mark.parametrize("stream", [False, True])
def test_g2_what_the_vocabulary_cannot_write_is_an_error(client, stream):
    """SmolLM2 has no token for every byte. An answer that stops half-way would look like a whole one."""
    schema = {"type": "object", "properties": {"a": {"const": "~\U0008a72d"}}, "required": ["a"]}
    with pytest.raises(openai.APIError) as e:
        answer = ask(client, schema, stream=stream)
        print("".join(c.choices[0].delta.content or "" for c in answer) if stream else answer)
    assert e.value.code == "unsupported_parameter" and "can't write" in e.value.message


@pytest.mark.parametrize("schema, words", [({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "schema.properties.a.$ref"),
                                           ({"type": "object", "properties": {"a": {"type": "florp"}}}, "#/properties/a"),
                                           ({"type": "object", "properties": {"a": True}}, "#/properties/a")])
def test_g2_what_is_no_schema_is_refused_with_its_place(client, schema, words):
    with pytest.raises(openai.BadRequestError) as e:
        ask(client, schema)
    assert words in e.value.message
