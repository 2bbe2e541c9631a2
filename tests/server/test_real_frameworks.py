"""G1: four agent frameworks work unchanged on two real models with one seat. What they do is in tests/server/frameworks: one task, which swaps
models on its way and comes back. The proxy that they are told to use for everything but the server must hear nothing."""
import json
import os
import socket
import subprocess

import pytest
from hotseat_harness import QWEN, ROOT, SMOL, seconds
from real_talk import start

pytestmark = pytest.mark.xdist_group("frameworks")
SCRIPTS = ROOT / "tests" / "server" / "frameworks"
NEW_TOKENS_MAX = 40  # of the clerk's second prompt: the question, and the marks around it


def folder_of(what):
    """Where scripts/setup has put it."""
    return subprocess.run(["bash", "-c", f". scripts/common.sh; {what}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("frameworks"), QWEN, SMOL)
    yield server
    server.stop()
    server.check_log()


@pytest.fixture
def told(running, tmp_path):
    """told(framework) runs its script; gives what it reported, and what the server did meanwhile."""
    def run(script):
        with socket.create_server(("127.0.0.1", 0)) as proxy:
            proxy.setblocking(False)
            url = "http://127.0.0.1:%d" % proxy.getsockname()[1]
            env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "HOTSEAT_URL": running.url, "HOTSEAT_KEY": "none", "HOTSEAT_CLERK": QWEN,
                   "HOTSEAT_POET": SMOL, "HOTSEAT_NODE_DIR": folder_of("node_dir"), "PYTHONDONTWRITEBYTECODE": "1",
                   "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "NO_PROXY": "127.0.0.1"}
            program = "node" if script.endswith(".mjs") else folder_of("python_dir frameworks") + "/bin/python"
            before = running.metrics()
            done = subprocess.run([program, str(SCRIPTS / script)], env=env, capture_output=True, text=True, timeout=seconds(240))
            assert done.returncode == 0, done.stdout + done.stderr
            with pytest.raises(BlockingIOError):
                proxy.accept()
        after = running.metrics()
        return json.loads(done.stdout.splitlines()[-1]), {name: after.sum(f"hotseat_{name}") - before.sum(f"hotseat_{name}") for name in (
            "swaps_total", "blocks_read_total")}
    return run


def check(report, did):
    assert report["calls"] == [{"city": "Paris"}], "the tool was called once, with the city of the question"
    assert "18" in report["answer"] and "18" in report["again"], "what the tool said was read"
    assert report["line"].strip() and report["n_pieces"] > 3
    assert did["swaps_total"] == 2, "from the clerk's model to the poet's and back"
    assert did["blocks_read_total"] > 0
    assert 0 < report["prompt"] - report["cached"] <= NEW_TOKENS_MAX, "all that had been said came back from the cache"


def test_g1_openai_agents(told):
    report, did = told("with_agents.py")
    check(report, did)
    assert report["spoke_last"] == "poet", "the clerk handed over"


def test_g1_langchain_openai(told):
    report, did = told("with_langchain.py")
    check(report, did)
    assert report["parsed"] == {"city": "Paris", "degrees": 18}


def test_g1_litellm(told):
    report, did = told("with_litellm.py")
    check(report, did)
    assert report["answered"] == QWEN, "the router fell back from a model that is not there"


def test_g1_ai_sdk_openai_compatible(told):
    report, did = told("with_ai_sdk.mjs")
    check(report, did)
    assert report["parsed"] == {"city": "Paris", "degrees": 18}
