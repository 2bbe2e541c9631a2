"""What is promised about the programs and scripts themselves: O1, and that the front links no model library."""
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path

from hotseat_harness import BUILD, GEMMA, REAL_MODELS, ROOT, SMOL


def symbols(program):
    return subprocess.run(["nm", "-C", str(BUILD / program)], capture_output=True, text=True, check=True).stdout


def test_the_front_links_no_model_library():
    assert not re.search(r"\b(llama|ggml)_\w+", symbols("hotseat"))
    seat = symbols("hotseat-seat-fake")
    assert not re.search(r"\b(llama|ggml)_\w+", seat)
    assert "engine_decode" in seat, "nm sees no symbols at all, so this proves nothing"


def test_version_names_hotseat_and_the_engine():
    done = subprocess.run([str(BUILD / "hotseat"), "--version"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0
    assert re.search(r"hotseat \d+\.\d+\.\d+", done.stdout), done.stdout
    assert "engine" in done.stdout


def test_o1_every_target_that_is_promised_exists():
    for target in ("demo", "serve", "test", "bench", "bench-large", "check", "install", "uninstall", "clean", "lint", "build"):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def test_o1_a_second_set_up_needs_no_network(tmp_path):
    for tool in ("apt-get", "brew", "curl", "wget"):
        fake = tmp_path / tool
        fake.write_text("#!/bin/sh\necho \"$0 $*\" >&2\nexit 99\n")
        fake.chmod(0o755)
    env = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", PIP_NO_INDEX="1", PIP_INDEX_URL="http://127.0.0.1:9/",
               npm_config_registry="http://127.0.0.1:9/")
    done = subprocess.run(["scripts/setup", "test"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "downloading" not in done.stdout and "installing" not in done.stdout and "compiling" not in done.stdout


def path_without(folder, tools):
    """All programs of PATH but those that begin with one of tools."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for program in Path(place).iterdir() if os.path.isdir(place) else []:
            if not program.name.startswith(tools) and not os.path.lexists(folder / program.name):
                (folder / program.name).symlink_to(program)
    return str(folder)


def test_o1_set_up_says_what_to_do_when_a_download_fails(tmp_path):
    """An empty cache, an index that nobody listens on, and nothing there of what only the tests need."""
    path = path_without(tmp_path / "bin", ("clang", "cppcheck", "node", "npm"))
    env = dict(os.environ, PATH=path, XDG_CACHE_HOME=str(tmp_path), PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0",
               PIP_NO_CACHE_DIR="1", PIP_FIND_LINKS="", PIP_DEFAULT_TIMEOUT="2", HOTSEAT_RETRY_SECONDS="0")
    done = subprocess.run(["scripts/setup", "run"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "FAILED" in done.stderr and "network" in done.stderr, done.stderr
    assert not list((tmp_path / "hotseat").glob("tmp.*")), "something was left behind"


def test_o1_make_serve_works_in_the_folder_that_set_up_made(tmp_path):
    """The cache folder of set-up and the default one of the block store are the same."""
    folder = tmp_path / "hotseat"
    (folder / "engine").mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "models").symlink_to(REAL_MODELS)
    env = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_")}
    env.update(XDG_CACHE_HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / "none"))
    p = subprocess.Popen(["scripts/serve", "--port", "0", "--model", "none"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = p.stdout.readline()
        assert re.fullmatch(r"hotseat: ready on http://127\.0\.0\.1:\d+\n", line), (line, p.stderr.read() if p.poll() is not None else "")
        models = json.load(urllib.request.urlopen(line.split()[-1] + "/v1/models", timeout=10))["data"]
        assert {m["id"] for m in models} >= {SMOL, GEMMA}
        assert (folder / "index.db").exists() and folder.stat().st_mode & 0o777 == 0o755
        assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("LOCK", "index.db", "blocks"))
    finally:
        p.terminate()
        assert p.wait(30) == 0


def test_docs_name_the_pinned_clients():
    """docs/api.md, Clients that are tested."""
    told = set(re.findall(r"^\| `(.+?)` for (\w+) \| ([\d.]+) \|", (ROOT / "docs/api.md").read_text(), re.M))
    pins = {part: dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / f"tests/server/{part}requirements.txt").read_text(), re.M)) for part in ("", "frameworks/")}
    assert pins["frameworks/"]["openai"] == pins[""]["openai"]
    python = [(name, pins[part][name]) for part, names in (("", ("openai", "anthropic")),
                                                           ("frameworks/", ("openai-agents", "langchain-openai", "litellm"))) for name in names]
    node = json.loads((ROOT / "tests/server/node/package.json").read_text())["dependencies"]
    assert told == {(name, "Python", version) for name, version in python} | {(name, "Node", version) for name, version in node.items()}
    lock = json.loads((ROOT / "tests/server/node/package-lock.json").read_text())["packages"]
    assert all(lock[f"node_modules/{name}"]["version"] == version for name, version in node.items())
    assert all("integrity" in package for name, package in lock.items() if name)


def test_layers():
    done = subprocess.run(["scripts/check-layers"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
