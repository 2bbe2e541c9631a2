"""GET /v1/models in Anthropic's shape and pages, and the 404 that lists what there is."""
import datetime
import json

import anthropic
import openai
import pytest
from fakes import add
from hotseat_harness import quote, run_cli

VERSION = {"anthropic-version": "2023-06-01"}


def page(s, query=""):
    return s.get("/v1/models" + query, headers=VERSION).ok()


def ids(answer):
    return [m["id"] for m in answer["data"]]


def test_a_model_in_anthropics_shape(server, models):
    (models / "broken.gguf").write_bytes(b"GGUFxxxx" * 100)
    s = server(model="a", config="[model a]\nalias = claude-x\n")
    answer = page(s)
    assert set(answer) == {"data", "has_more", "first_id", "last_id"} and ids(answer) == ["a", "b", "c", "w"]
    assert (answer["has_more"], answer["first_id"], answer["last_id"]) == (False, "a", "w")
    a = answer["data"][0]
    assert set(a) == {"type", "id", "display_name", "created_at", "lifecycle", "max_input_tokens", "max_tokens"}
    assert (a["type"], a["display_name"], a["lifecycle"]) == ("model", "fake a", "active")
    created = datetime.datetime.strptime(a["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
    assert abs(created.timestamp() - (models / "a.gguf").stat().st_mtime) < 2
    openai_a = s.get("/v1/models/a").ok()
    assert a["max_tokens"] == a["max_input_tokens"] == openai_a["hotseat"]["context"] and openai_a["object"] == "model"
    for name in ("a", "claude-x"):
        r = s.get(f"/v1/models/{name}", headers=VERSION)
        assert r.ok() == a and r.headers["request-id"] == r.headers["x-request-id"]
    assert s.get("/v1/models").ok()["object"] == "list"  # OpenAI's without the header


def test_pages(server, models):
    for i in range(6):
        add(models, f"m{i}", seed=i)
    s = server(model="a")
    everything = ["a", "b", "c", "m0", "m1", "m2", "m3", "m4", "m5", "w"]
    assert ids(page(s)) == everything
    for n in (1, 3, 9, 10, 1000):
        seen, query = [], f"?limit={n}"
        while True:
            answer = page(s, query)
            seen += ids(answer)
            assert (answer["first_id"], answer["last_id"]) == (ids(answer)[0], ids(answer)[-1])
            if not answer["has_more"]:
                break
            assert len(answer["data"]) == n
            query = f"?limit={n}&after_id={answer['last_id']}"
        assert seen == everything, n
        seen, query = [], f"?limit={n}&before_id=zzz"
        while True:
            answer = page(s, query)
            seen = ids(answer) + seen
            if not answer["has_more"]:
                break
            assert len(answer["data"]) == n
            query = f"?limit={n}&before_id={answer['first_id']}"
        assert seen == everything, n
    assert page(s, "?after_id=w") == page(s, "?before_id=a") == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert ids(page(s, "?after_id=m2x&limit=1")) == ["m3"]  # one that has gone meanwhile
    for bad, place in (("?limit=0", "limit"), ("?limit=x", "limit"), ("?after_id=a&before_id=b", "before_id")):
        r = s.get("/v1/models" + bad, headers=VERSION)
        assert r.status == 400 and r.json()["type"] == "error" and r.json()["error"]["param"] == place, r.body
        assert s.get("/v1/models" + bad).status == 200  # as some OpenAI clients ask
    assert len(page(s, "?beta=true")["data"]) == 10


def test_the_client_lists_models(server, models):
    for i in range(25):
        add(models, f"m{i:02}", seed=i)
    s = server(model="a")
    with anthropic.Anthropic(base_url=s.url, api_key="none", max_retries=0) as client:
        first = client.models.list()
        assert len(first.data) == 20 and first.has_more and all(type(m).__name__ == "ModelInfo" for m in first.data)
        assert [m.id for m in client.models.list(limit=7)] == ["a", "b", "c", *(f"m{i:02}" for i in range(25)), "w"]  # it asks for further pages
        assert [m.id for m in client.models.list(limit=2, before_id="c").data] == ["a", "b"]
        model = client.models.retrieve("b")
        assert (model.id, model.type, model.display_name, model.created_at.tzinfo is not None) == ("b", "model", "fake b", True)
        with pytest.raises(anthropic.NotFoundError) as e:
            client.models.retrieve("nobody")
        assert e.value.type == "not_found_error" and e.value.request_id and "a, b, c" in str(e.value)


def test_an_unknown_model_is_told_what_there_is(server, models):
    (models / "broken.gguf").write_bytes(b"GGUFxxxx" * 100)
    s = server(model="a", config="[model b]\nalias = gpt-4o, claude-x\n")
    wanted = 'no model is named "nobody"; there are: a, b (or gpt-4o, claude-x), c, w'
    chat = {"messages": [{"role": "user", "content": "x"}]}
    for method, path, body in (("POST", "/v1/chat/completions", chat), ("POST", "/v1/completions", {"prompt": "x"}), ("POST", "/tokenize", {"content": "x"}),
                               ("POST", "/v1/messages", {**chat, "max_tokens": 1}), ("POST", "/v1/messages/count_tokens", chat),
                               ("POST", "/admin/models/swap", {}), ("GET", "/v1/models/nobody", None)):
        r = s.request(method, path, body=body if body is None else {**body, "model": "nobody"})
        error = r.json()["error"]
        assert (r.status, error["code"], error["param"], error["message"]) == (404, "model_not_found", "model", wanted), (path, r.body)
    assert wanted in run_cli(s, "swap", "nobody").stderr
    with openai.OpenAI(base_url=s.url + "/v1", api_key="none", max_retries=0) as client, pytest.raises(openai.NotFoundError, match="gpt-4o"):
        client.chat.completions.create(model="nobody", **chat)


def test_a_name_longer_than_any_models_is_told_what_there_is(server):
    """The name itself is shown as far as the longest one could be, and never cut inside of a character."""
    s = server(model="a")
    chat = {"messages": [{"role": "user", "content": "x"}]}
    for name in ("n" * 201, "n" * 70000, "n" + "\u20ac" * 100, "n" * 199 + "\U0001f600", "n" * 200):
        shown = name.encode()[:200].decode(errors="ignore")
        wanted = f'no model is named "{shown}{"..." * (shown != name)}"; there are: a, b, c, w'
        asks = [("POST", "/v1/chat/completions", chat), ("POST", "/v1/completions", {"prompt": "x"}), ("POST", "/tokenize", {"content": "x"}),
                ("POST", "/v1/messages", {**chat, "max_tokens": 1}), ("POST", "/v1/messages/count_tokens", chat), ("POST", "/admin/models/swap", {})]
        if len(name) < 1000:
            asks += [("GET", "/v1/models/" + quote(name), None)]
        if len(name.encode()) > 200 and len(name) < 1000:  # of one that could have been, the caches may be asked for
            asks += [("GET", "/admin/agents?model=" + quote(name), None), ("DELETE", "/admin/cache?model=" + quote(name), None)]
        for method, path, body in asks:
            r = s.request(method, path, body=body if body is None else {**body, "model": name})
            error = r.json()["error"]
            assert (r.status, error["code"], error["param"], error["message"]) == (404, "model_not_found", "model", wanted), (path, r.body)
    assert s.post("/v1/chat/completions", {**chat, "model": "n" * 300 + "\0"}).status == 400


def test_the_list_in_a_404_is_bounded(server, models):
    for i in range(120):
        add(models, f"a-model-with-a-rather-long-name-{i:03}", seed=i)
    s = server(model="a")
    message = s.post("/v1/completions", {"prompt": "x", "model": "nobody" * 30}).json()["error"]["message"]
    named = message.count("a-model-with")
    assert 80 < named < 120 and len(message) < 4300 and message.endswith(f"{124 - 1 - named} more (GET /v1/models)"), message[-200:]


def test_no_model_at_all(server, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    s = server(models=empty)
    for model in ("nobody", None):
        r = s.post("/v1/completions", {"prompt": "x", "model": model})
        assert r.status == 404 and r.json()["error"]["message"].endswith("there is no model here")
    assert json.loads(s.get("/v1/models", headers=VERSION).body)["data"] == []
