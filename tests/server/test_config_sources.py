"""Where settings come from and which source wins: command line, environment, file; [model] sections; keys; --debug off."""
import re
import subprocess

import pytest
from fakes import long_text, wait_until
from hotseat_harness import BUILD, Server
from raw_http import ask, get


def budget(s):
    return s.get("/admin/cache").ok()["budget_bytes"]


def shown(s, key):
    """What the line of the effective configuration says."""
    line = [x for x in s.log.splitlines() if " id=config file=" in x][-1]
    found = re.search(rf' {re.escape(key)}=("[^"]*"|\S*)', line)
    assert found, (key, line)
    return found[1].strip('"')


def test_command_line_beats_environment_beats_file(server):
    config = "cache-disk = 64M\nparallel = 2\ncontext = 2048\n"
    s = server(model="a", config=config)
    assert budget(s) == 64 << 20 and s.current()["sequences"] >= 2 and s.current()["context"] == 2048
    s = server(model="a", config=config, env={"HOTSEAT_CACHE_DISK": "96M", "HOTSEAT_CONTEXT": "4096"})
    assert budget(s) == 96 << 20 and s.current()["context"] == 4096 and shown(s, "parallel") == "2"
    s = server(model="a", config=config, env={"HOTSEAT_CACHE_DISK": "96M", "HOTSEAT_CONTEXT": "4096"}, options=["--cache-disk", "128M"])
    assert budget(s) == 128 << 20 and s.current()["context"] == 4096 and shown(s, "parallel") == "2"
    s = server(model="a", options=["--cache-disk", "128M", "--cache-disk=160M"])
    assert budget(s) == 160 << 20  # of two the last one counts


ENVIRONMENT = {
    "auto-swap": "off", "cache-disk": "64M", "memory": "2G", "pool": "64M", "parallel": "3", "wait-bound": "7", "stay-min": "3", "patience": "2",
    "cache-write-per-day": "5G", "origins": "https://a.example", "context": "2048", "kv": "f16", "threads": "2", "drain-timeout": "11",
    "load-timeout": "77", "step-timeout": "88", "token-gap": "5",
}


def test_every_setting_has_a_variable(server, models):
    env = {f"HOTSEAT_{k.upper().replace('-', '_')}": v for k, v in ENVIRONMENT.items()}
    s = server(model="a", env=env)
    for key, value in ENVIRONMENT.items():
        assert shown(s, key) == value, key
    assert s.current()["kv"] == "f16" and s.current()["context"] == 2048
    assert s.chat("a", "[[say:runs]]")["choices"][0]["message"]["content"] == "runs"
    assert s.post("/v1/chat/completions", {"model": "b", "messages": [{"role": "user", "content": "x"}]}).json()["error"]["code"] == "auto_swap_off"
    assert ask(s, get("/v1/models", "Origin: https://a.example")).headers["access-control-allow-origin"] == "https://a.example"


def test_the_table_of_variables_is_whole():
    """docs/config.md is the program's own table, and the test above knows every row that the harness does not set itself."""
    text = subprocess.run([str(BUILD / "hotseat"), "serve", "--help-markdown"], capture_output=True, text=True, timeout=30).stdout
    keys = dict(re.findall(r"^\| `--([a-z-]+)` \| `(HOTSEAT_[A-Z_]+)` \|", text, re.M))
    assert keys and all(v == "HOTSEAT_" + k.upper().replace("-", "_") for k, v in keys.items())
    by_harness = {"host", "port", "models", "model", "cache-dir", "seat-program", "log-level", "debug", "api-key", "admin-key"}
    assert set(keys) == set(ENVIRONMENT) | by_harness


def test_the_rest_of_the_variables(server, models, tmp_path):
    """Those that the harness gives as options, given as variables."""
    (tmp_path / "api").write_text("k1\nsecond line\n")
    options = server(models, start=False)
    env = {"HOTSEAT_MODELS": f"{models}:{tmp_path}", "HOTSEAT_MODEL": "c", "HOTSEAT_CACHE_DIR": tmp_path / "elsewhere", "HOTSEAT_PORT": "0",
           "HOTSEAT_HOST": "127.0.0.1", "HOTSEAT_DEBUG": "on", "HOTSEAT_LOG_LEVEL": "debug", "HOTSEAT_API_KEY": tmp_path / "api",
           "HOTSEAT_ADMIN_KEY": "env:OTHER", "OTHER": "k2", "HOTSEAT_SEAT_PROGRAM": BUILD / "hotseat-seat-fake"}
    options.env = env
    options.command = lambda: [str(BUILD / "hotseat"), "serve"]
    s = options.start()
    assert s.get("/admin/models/current", headers={"x-api-key": "k2"}).ok()["model"] == "c"
    assert s.get("/v1/models").status == 401 and s.get("/v1/models", headers={"x-api-key": "k1"}).status == 200
    assert s.post("/admin/debug/fault", {"name": "disk_full", "times": 0}, headers={"x-api-key": "k2"}).status == 200
    assert (tmp_path / "elsewhere" / "LOCK").exists() and "level=debug" in s.log


def test_default_path_of_the_file(server, tmp_path):
    folder = tmp_path / "xdg"
    (folder / "hotseat").mkdir(parents=True)
    (folder / "hotseat" / "hotseat.ini").write_text("[hotseat]\ncache-disk = 64M\n")
    s = server(model="a", env={"XDG_CONFIG_HOME": folder})
    assert budget(s) == 64 << 20 and shown(s, "file") == str(folder / "hotseat" / "hotseat.ini")
    s = server(model="a", env={"XDG_CONFIG_HOME": folder}, config="cache-disk = 96M\n")  # --config instead of it
    assert budget(s) == 96 << 20
    s = server(model="a", env={"XDG_CONFIG_HOME": tmp_path / "nothing-here"})
    assert budget(s) == 20 << 30
    home = tmp_path / "home"
    (home / ".config" / "hotseat").mkdir(parents=True)
    (home / ".config" / "hotseat" / "hotseat.ini").write_text("cache-disk = 128M\n")
    s = server(model="a", env={"XDG_CONFIG_HOME": "", "HOME": home})
    assert budget(s) == 128 << 20


def refused(s, *words):
    done = subprocess.run(s.command(), capture_output=True, text=True, timeout=60, env=s.clean_env(), stdin=subprocess.DEVNULL, cwd=s.folder)
    assert done.returncode == 2 and done.stdout == "", done
    line = [x for x in done.stderr.splitlines() if x.startswith("hotseat serve:")]
    assert len(line) == 1 and all(w in line[0] for w in words), done.stderr


@pytest.mark.parametrize("env, words", [
    ({"HOTSEAT_PARALLEL": "0"}, ["HOTSEAT_PARALLEL", "1"]), ({"HOTSEAT_KV": "q3"}, ["HOTSEAT_KV", "q8_0"]),
    ({"HOTSEAT_CACHE_DISK": "lots"}, ["HOTSEAT_CACHE_DISK"]), ({"HOTSEAT_API_KEY": "/nowhere/key"}, ["HOTSEAT_API_KEY", "/nowhere/key"]),
    ({"HOTSEAT_API_KEY": "env:NOT_SET"}, ["NOT_SET"]), ({"HOTSEAT_CONFIG": "/nowhere/file.ini"}, ["/nowhere/file.ini"])],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else None)
def test_wrong_variables_end_the_start_and_are_named(models, tmp_path, env, words):
    refused(Server(tmp_path / "s", models, env=env), *words)


def test_an_unknown_variable_is_a_warning(server):
    s = server(model="a", env={"HOTSEAT_PARALEL": "9"})
    assert "HOTSEAT_PARALEL" in [x for x in s.log.splitlines() if "id=config.environment" in x][0]


# ---- keys ----

def test_api_key_out_of_the_environment(server):
    s = server(model="a", options=["--api-key", "env:MY_KEY"], env={"MY_KEY": "from-env"})
    assert s.get("/v1/models").status == 401
    assert s.get("/v1/models", headers={"Authorization": "Bearer from-env"}).status == 200
    assert "from-env" not in s.log


def test_admin_and_api_key_may_not_be_the_same(models, tmp_path):
    refused(Server(tmp_path / "s", models, options=["--api-key", "env:K", "--admin-key", "env:K"], env={"K": "same"}), "differ")


# ---- [model NAME] ----

def test_model_sections(server, models):
    config = f"""pool = 32M
context = 4096
[model a]
context = 2048
kv = f16
pool = 8M
[model big b]
path = {models / 'b.gguf'}
alias = bee, gpt-4o
alias = third
kv = q4_0
"""
    s = server(model="a", config=config, options=["--patience", "0", "--stay-min", "0"])
    now = s.current()
    assert now["context"] == 2048 and now["kv"] == "f16" and now["pool_bytes"] <= 8 << 20, now
    s.swap("c", hold_s=0)
    now = s.current()
    assert now["context"] == 4096 and now["kv"] == "q8_0" and 8 << 20 < now["pool_bytes"] <= 32 << 20, now
    for name in ("big b", "bee", "gpt-4o", "third"):
        assert s.chat(name, "[[say:x]]")["model"] == "big b", name
    assert s.current()["kv"] == "q4_0"
    models_now = {m["id"]: m["hotseat"]["aliases"] for m in s.get("/v1/models").ok()["data"]}
    assert models_now["big b"] == ["bee", "gpt-4o", "third"] and models_now["a"] == []


@pytest.mark.parametrize("pinned", [True, False])
def test_model_section_pin_keeps_its_blocks(server, models, pinned):
    s = server(model="a", config="cache-disk = 4M\n" + ("[model a]\npin = on\n" if pinned else ""))
    assert {m["id"]: m["pinned"] for m in s.get("/admin/models/available").ok()["models"]}["a"] is pinned

    def dirty():
        return s.metrics().sum("hotseat_cache_dirty_bytes") == 0
    s.chat("a", long_text(1200) + "[[len=5]]", agent="ann")
    s.swap("b")
    assert s.chat("b", "[[say:x]]")["model"] == "b"
    for i in range(10):
        s.chat("b", long_text(2000, salt=f"{i}") + "[[len=5]]", agent=f"bob-{i}")
    wait_until(dirty, what="all is written")
    wait_until(lambda: s.metrics().sum("hotseat_blocks_evicted_total") > 0, what="something was evicted")
    assert s.get("/admin/cache").ok()["bytes"] <= 4 << 20
    s.swap("a", hold_s=0)
    cached = s.chat("a", long_text(1200) + "[[len=5]]", agent="ann")["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert (cached >= 1024) is pinned, cached


@pytest.mark.parametrize("section, words", [
    ("[model a]\ncolour = red\n", ["colour"]), ("[model a]\ncontext = 1\n", ["context", "64"]), ("[model a]\npin = maybe\n", ["pin"]),
    ("[model a]\npool = 1\n", ["pool"]), ("[models a]\nkv = f16\n", ["models a"]), ("[model ]\nkv = f16\n", ["model"])])
def test_wrong_sections_end_the_start(models, tmp_path, section, words):
    refused(Server(tmp_path / "s", models, config=section), "hotseat.ini", *words)


# ---- --debug off ----

def test_without_debug_there_are_no_debug_fields_and_no_faults(server):
    s = server(model="a", debug=False)
    r = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "[[say:x]]"}]}, headers={"X-Hotseat-Debug": "1"})
    assert r.status == 200 and "debug" not in r.json()["hotseat"] and r.headers["x-hotseat-ignored"] == "X-Hotseat-Debug"
    stream = s.stream("a", "[[say:x]]", debug=True).read_all()
    assert "debug" not in stream.hotseat and stream.headers["X-Hotseat-Ignored"] == "X-Hotseat-Debug"
    for method in ("POST", "GET"):
        r = s.request(method, "/admin/debug/fault", {"name": "disk_full"} if method == "POST" else None)
        assert r.status == 404 and "fault" not in r.json()["error"]["message"].split("there are: ")[1]
    assert s.chat("a", "[[say:fine]]")["choices"][0]["message"]["content"] == "fine"


def test_with_debug_they_are_there_for_who_asks(server):
    s = server(model="a")
    assert set(s.chat("a", "[[say:x]]", debug=True)["hotseat"]["debug"]) == {"first_logits_xxh3", "kv_xxh3", "decoded_tokens"}
    assert "debug" not in s.chat("a", "[[say:x]]")["hotseat"]
    r = s.post("/admin/debug/fault", {"name": "no_such_fault"})
    assert r.status == 404 and "disk_full" in r.json()["error"]["message"]
