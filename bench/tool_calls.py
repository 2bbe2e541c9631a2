"""Tool calls: how many of the fixed prompts in tool_prompts.json are answered by a call that is valid, and by the right one. Counts, not times: at
temperature 0 one run says it."""
import json
import tempfile
import urllib.error

from common import QWEN, ROOT, SMOL, hotseat, llama_server, post

CONTEXT, ANSWER_TOKENS = 4096, 64
KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict}
FILE = json.loads((ROOT / "bench/tool_prompts.json").read_text())


def fits(value, schema):
    """Is value what this JSON schema asks for? For the schemas of tool_prompts.json; only what they name is taken."""
    if isinstance(value, bool) != (schema["type"] == "boolean") or not isinstance(value, KINDS[schema["type"]]):
        return False
    if schema["type"] == "object":
        inner = schema["properties"]
        return set(schema["required"]) <= set(value) <= set(inner) and all(fits(v, inner[k]) for k, v in value.items())
    return value in schema.get("enum", [value])


def same(value, wanted):
    """wanted: the one right value, or a list of them. Of a text neither its case nor spaces at its ends count."""
    values = wanted if isinstance(wanted, list) else [wanted]
    plain = [v.strip().casefold() if isinstance(v, str) else v for v in [value, *values]]
    return plain[0] in plain[1:]


def judge(prompt, message):
    """(valid, right) of an answer: valid if it calls tools that it was given, with arguments of their schemas; right if it makes exactly the
    one call that is asked for, or none where none is right."""
    calls = message.get("tool_calls") or []
    made = []
    for call in calls:
        try:
            made.append((call["function"]["name"], json.loads(call["function"]["arguments"])))
        except ValueError:  # cut off
            return False, False
    if not all(name in prompt["tools"] and fits(arguments, FILE["tools"][name]["parameters"]) for name, arguments in made):
        return False, False
    wanted = prompt["call"]
    if wanted is None:
        return bool(made), not made
    right = len(made) == 1 and made[0][0] == wanted["name"] and set(made[0][1]) == set(wanted["arguments"]) and \
        all(same(made[0][1][k], v) for k, v in wanted["arguments"].items())
    return bool(made), right


def ask(url, model, prompt, choice):
    """The message, or None: the request was refused."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt["ask"]}], "temperature": 0, "seed": 1, "max_tokens": ANSWER_TOKENS,
            "tools": [{"type": "function", "function": {"name": name, **FILE["tools"][name]}} for name in prompt["tools"]],
            "tool_choice": choice, "parallel_tool_calls": False}
    try:
        return post(url, "/v1/chat/completions", body)["choices"][0]["message"]
    except urllib.error.HTTPError as e:
        if e.code != 400:
            raise
        return None


def count(url, model, prompts):
    """{choice: what became of each prompt}. What no call answers is not asked where the server must call. Both choices of a prompt follow each
    other, so that it is read once."""
    found = {"auto": [], "required": []}
    for prompt in prompts:
        for choice in ("auto", "required") if prompt["call"] else ("auto",):
            message = ask(url, model, prompt, choice)
            valid, right = judge(prompt, message) if message else (False, False)
            found[choice].append({"ask": prompt["ask"], "call": prompt["call"], "valid": valid, "right": right, "message": message})
    return found


def row(model, choice, server, found):
    calls, none = ([f for f in found if (f["call"] is not None) == wanted] for wanted in (True, False))
    if all(f["message"] is None for f in found):
        return f"| {model} | {choice} | {server} | refused | refused | refused |"
    valid, right, silent = (f"{sum(f[what] for f in some)} of {len(some)}" for what, some in (("valid", calls), ("right", calls), ("right", none)))
    return f"| {model} | {choice} | {server} | {valid} | {right} | {silent if none else '-'} |"


def bench_tools(_runs, quick):
    """Both instruct models, tool_choice auto and required, hotseat and then llama-server, one thread each. The results' file has the answers."""
    result = {}
    prompts = FILE["prompts"][::10] if quick else FILE["prompts"]
    print("| model | tool_choice | server | valid calls | right calls | none where none is right |\n|---|---|---|---|---|---|", flush=True)
    for model in (QWEN, SMOL):
        for name in ("hotseat", "llama-server"):
            with tempfile.TemporaryDirectory() as folder, hotseat(folder, model, ("--pool", "64M", "--context", CONTEXT, "--threads", 1), 1) \
                    if name == "hotseat" else llama_server(model, 1, CONTEXT, ("--threads", 1)) as server:
                for choice, found in count(server.url, model, prompts).items():
                    result[f"{model} {choice} {name}"] = found
                    print(row(model, choice, name, found), flush=True)
    return result
