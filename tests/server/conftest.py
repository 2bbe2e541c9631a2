"""Fixtures: servers that end with the test, folders of fake and real models."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import gguf_writer  # noqa: E402
from hotseat_harness import REAL_MODELS, Server, link_models  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Puts the end of every server's log into a failure's report."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in getattr(item, "hotseat_servers", []):
            report.sections.append((f"server log {server.folder}", server.log[-8000:]))


def pytest_collection_modifyitems(items):
    """Those that wait for minutes begin at once; at the end they would keep everybody waiting."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


@pytest.fixture
def models(tmp_path):
    """A folder with the fake models a, b, c (full attention) and w (a sliding window of 512)."""
    folder = tmp_path / "models"
    folder.mkdir()
    for i, name in enumerate("abc"):
        gguf_writer.write(folder / f"{name}.gguf", name=f"fake {name}", seed=i, context=16384)
    gguf_writer.write(folder / "w.gguf", architecture="gemma3", name="fake w", layers=6, seed=9, window=512, context=16384)
    return folder


@pytest.fixture
def server(tmp_path, models, request):
    """server(...) starts one (Server's arguments; the models folder by default) and ends it after the test: it must exit with 0 on
    SIGTERM, leave no child behind, and its log must hold no sanitizer's report."""
    made = []
    request.node.hotseat_servers = made

    def start(models=models, start=True, ready=True, **kw):
        made.append(Server(tmp_path / f"server{len(made)}", models, **kw))
        return made[-1].start(ready=ready) if start else made[-1]

    yield start
    problems = []
    for s in made:
        try:
            if s.running:
                s.stop()
        except AssertionError as e:
            problems.append(str(e))
        finally:
            s.kill()
        try:
            s.check_log()
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


@pytest.fixture
def real_server(tmp_path, server):
    """real_server(NAME, ..., options) starts a server with the real engine on links to the pinned models of these names."""
    n = [0]

    def start(*names, **kw):
        n[0] += 1
        kw.setdefault("models", link_models(tmp_path / f"real{n[0]}", *names))
        kw.setdefault("seat", "llama")
        kw.setdefault("options", ["--threads", "2", "--pool", "512M"])
        return server(**kw)

    assert REAL_MODELS.is_dir(), "run scripts/setup"
    return start
