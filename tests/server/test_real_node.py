"""G1: the official OpenAI and Anthropic clients for Node work unchanged, on a real model. The checks are in tests/server/node/*.mjs; a test
here is one of them."""
import json
import os
import re
import subprocess

import pytest
from hotseat_harness import QWEN, ROOT, seconds
from real_talk import CONFIG, OPTIONS, start

pytestmark = pytest.mark.xdist_group("qwen")
SCRIPTS = ROOT / "tests" / "server" / "node"
NAMES = {client: re.findall(r'^check\("(\w+)"', (SCRIPTS / f"{client}.mjs").read_text(), re.M) for client in ("openai", "anthropic")}


def node_dir():
    """Where scripts/setup has put them."""
    return subprocess.run(["bash", "-c", ". scripts/common.sh; node_dir"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    (folder / "key").write_text("secret-1\n")
    server = start(folder, QWEN, options=["--api-key", str(folder / "key"), "--admin-key", "env:ADMIN"], env={"ADMIN": "secret-2"})
    yield server
    server.stop()
    server.check_log()


@pytest.fixture(scope="module")
def results(running):
    """All checks of both clients: {(client, name): error or None}."""
    out = {}
    for client in NAMES:
        env = {**os.environ, "HOTSEAT_URL": running.url, "HOTSEAT_MODEL": QWEN, "HOTSEAT_KEY": "secret-1", "HOTSEAT_NODE_DIR": node_dir(), "NO_PROXY": "*"}
        done = subprocess.run(["node", str(SCRIPTS / f"{client}.mjs")], env=env, capture_output=True, text=True, timeout=seconds(240))
        assert done.returncode == 0, done.stdout + done.stderr
        for line in done.stdout.splitlines():
            result = json.loads(line)
            print(client, result["name"], result["ms"], "ms")
            out[client, result["name"]] = result["error"]
    return out


def test_g1_every_check_has_run(results):
    assert sorted(results) == sorted((client, name) for client, names in NAMES.items() for name in names)


@pytest.mark.parametrize("client, name", [(client, name) for client, names in NAMES.items() for name in names])
def test_g1_node(results, client, name):
    assert results[client, name] is None, results[client, name]


def test_g1_what_they_left_was_let_go(results, running):
    """Two streams that were broken off, three calls that were aborted or timed out."""
    metrics = running.request("GET", "/metrics", headers={"x-api-key": "secret-1"}).text
    canceled = sum(float(n) for n in re.findall(r'^hotseat_requests_total\{[^}]*outcome="canceled"[^}]*\} (\S+)$', metrics, re.M))
    assert canceled == 5, metrics
