"""What schemathesis does beside its own checks when test_openapi.py runs it (SCHEMATHESIS_HOOKS)."""
import json
import re

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

# What a request may be refused for although each member is as the schema says (docs/api.md, The OpenAPI document): the message.
BEYOND_SCHEMAS = re.compile("|".join((
    # what members need of each other
    r"^tool_choice(\.\w+)*: ('\w+' needs tools|no tool has the name )", r" has the name of another tool$", r"^top_logprobs: is only taken with",
    r"^max_tokens: differs from max_completion_tokens", r"^n: asks for \d+ answers", r"^best_of: is not supported but with the value of n ",
    r"^echo: is not supported with logprobs", r"^before_id: is not taken together with after_id",
    # what messages need of each other
    r"calls tools: (a message with their tool_result blocks must follow|their answers must follow)$", r"^two messages of the assistant stand at the end$",
    # lengths are in bytes
    r" has \d+ bytes; at most \d+ are taken$", r" is longer than 256 bytes$",
    # what depends on the model and its engine; the fake one is no reader of schemas
    r"is not in the vocabulary of \d+ tokens$", r"^the prompt is empty$", r"^the fake engine knows no JSON schema but \{\}$",
    r": can't be guaranteed here; ", r": names a type twice, or its references lead too far$",
    # what JSON may be here
    r"^the body is not valid JSON: line \d+, column \d+: (a key may not hold \\u0000|this number is out of range)$",
)))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Drawn names are nobody's: three of four good requests are for a model that is there; and most prompts are not empty."""
    if not isinstance(case.body, dict) or not case.meta.generation.mode.is_positive:
        return
    turn = len(json.dumps(case.body)) % 4
    if isinstance(case.body.get("model"), str):
        case.body["model"] = ("a", "b", "default", case.body["model"])[turn]
    if case.body.get("prompt") in ("", [""]) and turn:
        case.body["prompt"] = ("a", ["a", "b"], [1, 2])[turn - 1]


@schemathesis.check
def good_requests_are_taken(ctx, response, case):
    """As positive_data_acceptance, but a 400 must be one that no schema can say."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    message = response.json()["error"]["message"]
    assert BEYOND_SCHEMAS.search(message), f"refused: {message}"


@schemathesis.check
def bad_requests_are_refused(ctx, response, case):
    """As negative_data_rejection, but for three things: a header more breaks no schema, whatever the tool thinks; OpenAI's clients may
    send GET /v1/models any query, so that only Anthropic's header makes it one; and a drawn X-Hotseat-Timeout-S of a millisecond may have passed
    before anybody has looked at the body."""
    headers = {name.lower() for name in case.headers}
    if "x-schemathesis-unknown-property" in headers or (case.path == "/v1/models" and "anthropic-version" not in headers):
        return None
    if "x-hotseat-timeout-s" in headers and response.status_code == 408:
        return None
    return negative_data_rejection(ctx, response, case)
