"""The commands: tables, --json, exit statuses, errors in one line that says what to do."""
import http.server
import json
import re
import subprocess
import threading

import pytest
from fakes import wait_until, warm_talk
from hotseat_harness import BUILD, ROOT, run_cli

VERBS = ["swap", "offload", "ps", "models", "agents", "cache"]
NEEDS = {"swap": ["b"]}


def hotseat(*args, env=None):
    return subprocess.run([str(BUILD / "hotseat"), *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=env)


def one_line(text):
    return len(text.strip().splitlines()) == 1


def test_models_ps_cache_agents_swap_offload(server):
    s = server(model="a")
    warm_talk(s, "a", agent="ann", n=600)
    models = run_cli(s, "models")
    assert models.returncode == 0, models
    lines = {line.split()[0]: line for line in models.stdout.splitlines()}
    assert {"MODEL", "a", "b", "c", "w"} <= set(lines) and "seated" in lines["a"] and "llama" in lines["b"]
    ps = run_cli(s, "ps")
    assert ps.returncode == 0 and "a" in ps.stdout and "nobody waits" in ps.stdout, ps
    swap = run_cli(s, "swap", "b")
    assert swap.returncode == 0 and "a -> b" in swap.stdout and "load" in swap.stdout, swap
    again = run_cli(s, "swap", "b")
    assert again.returncode == 0 and "already" in again.stdout, again
    agents = run_cli(s, "agents")
    assert agents.returncode == 0 and "ann" in agents.stdout, agents
    cache = run_cli(s, "cache")
    assert cache.returncode == 0 and "blocks" in cache.stdout, cache
    off = run_cli(s, "offload")
    assert off.returncode == 0 and "empty" in off.stdout, off


@pytest.mark.parametrize("more, says", [({}, []), ({"scanning": False}, []), ({"scanning": True}, ["still being looked through"]),
                                        ({"on": False, "reason": "the disk is full"}, ["off: the disk is full"])], ids=str)
def test_cache_says_what_it_is_doing(more, says):
    answer = json.dumps({"bytes": 5, "budget_bytes": 10, "blocks": 1, "hits": 2, "misses": 3, "models": []} | more).encode()

    class OneAnswer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), OneAnswer) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            done = run_cli(f"http://127.0.0.1:{other.server_port}", "cache")
        finally:
            other.shutdown()
            thread.join()
    lines = done.stdout.strip().splitlines()
    assert done.returncode == 0 and "1 blocks" in lines[0] and len(lines) == 1 + len(says), done
    for line, word in zip(lines[1:], says):
        assert word in line


@pytest.mark.parametrize("verb", VERBS)
def test_json_is_the_servers_answer(server, verb):
    s = server(model="a")
    done = run_cli(s, verb, *NEEDS.get(verb, []), "--json")
    assert done.returncode == 0 and done.stderr == "", done
    assert isinstance(json.loads(done.stdout), dict)


def test_status_1_when_the_server_says_no(server):
    s = server(model="a")
    done = run_cli(s, "swap", "nobody")
    assert done.returncode == 1 and done.stdout == "" and one_line(done.stderr), done
    assert "nobody" in done.stderr and "hotseat models" in done.stderr
    done = run_cli(s, "swap", "nobody", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("args", [[], ["dance"], ["swap"], ["swap", "a", "b"], ["swap", "a", "--on-deadline", "maybe"], ["ps", "--colour"],
                                  ["swap", "a", "--drain-timeout", "soon"], ["swap", "a", "--drain-timeout", "nan"],
                                  ["swap", "a", "--drain-timeout", "inf"], ["swap", "a", "--drain-timeout"], ["agents", "feed", "ann"],
                                  ["agents", "rm"], ["ps", "--json=yes"], ["ps", "--admin-key", "/nowhere/key"],
                                  ["serve", "--no-such-option", "1"], ["serve", "--port", "70000"], ["serve", "--pool", "many"]],
                         ids=" ".join)
def test_status_2_for_usage(args):
    done = hotseat(*args)
    assert done.returncode == 2 and done.stdout == "" and done.stderr, done


@pytest.mark.parametrize("verb", VERBS)
def test_status_3_when_there_is_no_server(verb):
    done = run_cli("http://127.0.0.1:9", verb, *NEEDS.get(verb, []))
    assert done.returncode == 3 and one_line(done.stderr), done
    assert "http://127.0.0.1:9" in done.stderr and "hotseat serve" in done.stderr


def test_keys(server, tmp_path):
    (tmp_path / "key").write_text("secret-admin\n")
    s = server(model="a", options=["--admin-key", str(tmp_path / "key"), "--api-key", "env:APIKEY"], env={"APIKEY": "secret-api"},
               ready=True)
    done = run_cli(s, "ps")
    assert done.returncode == 1 and "--admin-key" in done.stderr, done
    done = run_cli(s, "models")
    assert done.returncode == 1 and "--api-key" in done.stderr, done
    assert run_cli(s, "ps", "--admin-key", tmp_path / "key").returncode == 0
    assert run_cli(s, "models", env={"HOTSEAT_API_KEY": "env:MINE", "MINE": "secret-api"}).returncode == 0
    assert run_cli(s, "ps", "--admin-key", "env:MINE", env={"MINE": "wrong"}).returncode == 1
    assert run_cli(s, "models", "--admin-key", tmp_path / "key").returncode == 0  # it opens everything


def test_the_only_key_opens_admin(server, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    s = server(model="a", options=["--api-key", str(tmp_path / "key")], ready=True)
    assert run_cli(s, "ps").returncode == 1
    assert run_cli(s, "ps", "--api-key", tmp_path / "key").returncode == 0


def test_version_and_help():
    done = hotseat("--version")
    assert done.returncode == 0 and done.stdout.startswith("hotseat 0."), done
    assert "engine" in done.stdout
    done = hotseat("--help")
    assert done.returncode == 0
    for verb in [*VERBS, "serve", "doctor", "chat"]:
        assert f"hotseat {verb}" in done.stdout
        assert hotseat(verb, "--help").returncode == 0
    markdown = hotseat("serve", "--help-markdown")
    assert markdown.returncode == 0
    assert markdown.stdout == (ROOT / "docs/config.md").read_text(), "docs/config.md is made by: hotseat serve --help-markdown"


def options_told(verb):
    """What its help lists: {option: whether it takes a value}. Of serve's the doctor tells in a sentence."""
    text = hotseat(verb, "--help").stdout
    options = {o: bool(argument) for o, argument in re.findall(r"^  (--[a-z-]+)(?: (\S+))?", text, re.M)}
    return options_told("serve") | options if "Each further option is one of hotseat serve" in text else options


def takes(verb, option, value):
    """Whether the verb takes it; what follows keeps it from doing anything."""
    own = verb in ("serve", "doctor")
    done = hotseat(verb, *NEEDS.get(verb, []), option, *[value] * bool(value), *(["--port", "none"] if own else ["--server", "http://127.0.0.1:9"]))
    refused = done.returncode == 2 and re.search(r"no (such )?option", done.stdout + done.stderr)
    assert refused or done.returncode == (2 if own else 3) or option == "--help", done
    return not refused


def test_a_verb_lists_the_options_it_takes(tmp_path):
    """Every option of any verb, with every verb."""
    (tmp_path / "key").write_text("secret\n")
    told = {verb: options_told(verb) for verb in [*VERBS, "chat", "serve", "doctor"]}
    values = {option: value for options in told.values() for option, value in options.items()}
    assert {"--json", "--server", "--system", "--all", "--no-wait", "--pool"} <= set(values)
    for verb, options in told.items():
        for option, value in values.items():
            given = {"--api-key": str(tmp_path / "key"), "--admin-key": str(tmp_path / "key"), "--server": "http://127.0.0.1:9", "--drain-timeout": "1",
                     "--on-deadline": "park"}.get(option, "x") if value else None
            assert (option in options) == takes(verb, option, given), (verb, option)


def test_no_wait_begins_a_swap(server):
    s = server(model="a")
    done = run_cli(s, "swap", "b", "--no-wait")
    assert done.returncode == 0 and "begun" in done.stdout, done
    wait_until(lambda: s.current().get("model") == "b", what="b seated")
