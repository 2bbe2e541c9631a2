"""GET /openapi.json: a valid OpenAPI 3.1 document that says what docs/api.md says, and what the server does. The last part is held
by schemathesis, which draws requests from the document, good and bad ones: HOTSEAT_OPENAPI_SEED says which, HOTSEAT_LONG=1 how many."""
import copy
import json
import os
import pathlib
import re
import subprocess
import sys

import openapi_spec_validator
import pytest

from hotseat_harness import LONG, ROOT, seconds

SEED = int(os.environ.get("HOTSEAT_OPENAPI_SEED", "20"))
EXAMPLES = 100 if LONG else 15


def fetch(s):
    r = s.get("/openapi.json")
    assert r.status == 200 and r.headers["content-type"] == "application/json", r.headers
    return r.json()


def operations(document):
    return {(method.upper(), path): o for path, item in document["paths"].items() for method, o in item.items()}


def body_of(operation):
    return operation["requestBody"]["content"]["application/json"]["schema"]


# ---- the document ----

def test_the_document_is_valid(server):
    for debug in (False, True):
        document = fetch(server(model="none", debug=debug))
        openapi_spec_validator.validate(document, cls=openapi_spec_validator.OpenAPIV31SpecValidator)
        assert document["openapi"] == "3.1.0"
        assert (("POST", "/admin/debug/fault") in operations(document)) is debug


def test_no_key_is_needed(server, tmp_path):
    (tmp_path / "api").write_text("secret\n")
    (tmp_path / "admin").write_text("other\n")
    s = server(model="none", options=["--api-key", tmp_path / "api", "--admin-key", tmp_path / "admin"])
    assert s.get("/v1/models").status == 401
    document = fetch(s)
    for (_, path), o in operations(document).items():
        open_path = path == "/openapi.json" or path.startswith("/health")
        assert (o["security"] == []) is open_path and ("401" in o["responses"]) is not open_path, path


def test_every_path_of_api_md_is_there_and_no_other(server):
    told = set()
    for methods in re.findall(r"^\| (`(?:GET|POST|DELETE) /.*?) \| ", (ROOT / "docs/api.md").read_text(), re.M):
        method, last = None, ""
        for word in re.findall(r"`([^`]+)`", methods):
            method, path = word.split(" ") if " " in word else (method, word)
            path = path.split("[")[0].replace("...", last.rsplit("/", 1)[0])
            told.add((method, path))
            last = path
    served = {(method, re.sub(r"\{\w+\}", "{id}", path)) for method, path in operations(fetch(server(model="none")))}
    assert told == served


def documented(heading):
    text = (ROOT / "docs/api.md").read_text()
    section = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##)", text, re.M | re.S)[1]
    return set(re.findall(r"^\| `(\w+)` \| (honoured|accepted, no effect|only the neutral value) \| (.*) \|$", section, re.M))


def test_the_parameters_are_those_of_api_md(server):
    document = fetch(server(model="none"))
    bodies = [path for (method, path), o in operations(document).items() if "requestBody" in o and not path.startswith("/admin")]
    assert len(bodies) == 7
    for path in bodies:
        schema = body_of(document["paths"][path]["post"])
        served = {(name, p["x-hotseat-rule"], p["description"]) for name, p in schema["properties"].items()}
        assert served == documented("POST " + path), path
        for name, p in schema["properties"].items():
            if "default" in p:
                assert f"default {json.dumps(p['default'])}" in p["description"], (path, name)
            if p.get("type") == ["number", "null"]:
                assert p["description"].startswith(f"{p['minimum']} to {p['maximum']}, "), (path, name)
            if p["x-hotseat-rule"] == "only the neutral value":
                assert p["description"].split(";")[0] == json.dumps(p["enum"][0]), (path, name)


def test_the_statuses_are_those_of_api_md(server):
    errors = re.search(r"^## Errors\n(.*?)(?=^## )", (ROOT / "docs/api.md").read_text(), re.M | re.S)[1]
    told = {status for row in re.findall(r"^\| (\d{3}(?:, \d{3})*) \|", errors, re.M) for status in row.split(", ")}
    served = {status for o in operations(fetch(server(model="none"))).values() for status in o["responses"]} - {"200", "202"}
    assert told == served | {"405", "499"}  # of a method that is not there; only in the log


# ---- the server ----

def strict(document):
    """The document, but an answer may have no member that it does not name."""
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]

    def reached(of):
        """The schemas that this leads to."""
        found, new = set(), set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(of)))
        while new:
            found |= new
            new = {n for name in new for n in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas[name]))} - found
        return found

    def close(v):
        for member in v.values() if isinstance(v, dict) else v if isinstance(v, list) else ():
            close(member)
        if isinstance(v, dict) and v.get("type") == "object" and "properties" in v:
            v.setdefault("additionalProperties", False)

    every = operations(document).values()
    answers = reached([[o["responses"] for o in every], document["components"]["responses"]])
    for name in answers - reached([o.get("requestBody") for o in every]):
        close(schemas[name])
    return document


@pytest.mark.parametrize("tags", ["OpenAI", "Anthropic,llama-server", "Models,Health,Administration"])
def test_the_server_does_what_the_document_says(server, tmp_path, tags):
    """No 5xx; statuses, types, headers and bodies as documented; what breaks a schema is refused, what keeps it is taken."""
    s = server(debug=False, options=["--context", "512", "--stay-min", "0", "--patience", "0"], log_level="info")
    (tmp_path / "document.json").write_text(json.dumps(strict(fetch(s))))
    command = [sys.executable, "-m", "schemathesis.cli", "run", tmp_path / "document.json", "--url", s.url, "--no-color",
               "--seed", SEED, "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing", "--exclude-path", "/admin/events",
               "--checks", "all", "--continue-on-failure", "--request-timeout", seconds(30), "--warnings", "off",
               "--suppress-health-check", "all",  # they judge how fast this machine draws
               # openapi_hooks.py has others in place of the first two; this server has no keys
               "--exclude-checks", "positive_data_acceptance,negative_data_rejection,ignored_auth"]
    for tag in tags.split(","):
        command += ["--include-tag", tag]
    env = dict(os.environ, SCHEMATHESIS_HOOKS="openapi_hooks", PYTHONPATH=str(pathlib.Path(__file__).parent))
    done = subprocess.run([str(c) for c in command], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"HOTSEAT_OPENAPI_SEED={SEED}\n{done.stdout}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert s.running
