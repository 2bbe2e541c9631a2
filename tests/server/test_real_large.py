"""The reference models' true shapes (bench/large_models.py): what hotseat makes of the headers, and the real engine on narrow ones. HOTSEAT_LONG=1:
bench/large.py --restore on two of them instead of one."""
import json
import math
import re
import shutil
import subprocess
import sys
import types

import pytest
from hotseat_harness import LONG, ROOT, Answer

sys.path.insert(0, str(ROOT / "bench"))
import large_models  # noqa: E402
import restore_large  # noqa: E402
from large_models import SHAPES, scaled, write  # noqa: E402

# Parameters, bytes of weights, KV bytes a token at q8_0 in the layers with full attention, and of a sequence's windows. By hand from
# the public configurations: layers x 8 KV heads x 2 x 34/32 bytes x width of a head; Gemma: 8 of 48 layers, and 40 x 1,024 tokens.
# Bytes of weights are what llama.cpp prints for Q4_K_M files that people download: 4.58, 8.37 and 6.79 GiB.
FIGURES = {
    "llama-3.1-8b": (8030261312, 4912898304, 32 * 8 * 2 * 136, 0),
    "qwen2.5-14b": (14770033664, 8982142976, 48 * 8 * 2 * 136, 0),
    "gemma-3-12b": (11765788416, 7294024704, 8 * 8 * 2 * 272, 40 * 1024 * 8 * 2 * 272),
}
# Narrow ones, with all of a layer's KV: (layers, width).
SMALL = {"llama-3.1-8b": (2, 256), "qwen2.5-14b": (2, 1024), "gemma-3-12b": (6, 256)}


@pytest.mark.parametrize("seat", ["fake", "llama"])
def test_true_shapes_are_read_and_measured_without_their_weights(server, tmp_path, seat):
    """Our own reader of the header (fake) and the engine (llama) agree; too large here is said before anything is loaded."""
    folder = tmp_path / "large"
    folder.mkdir()
    for name, shape in SHAPES.items():
        write(folder / f"{name}.gguf", shape, hollow=True)
    s = server(models=folder, seat=seat, model="none", options=["--memory", "4G", "--threads", "1"])
    listed = {m["id"]: m["hotseat"] for m in s.get("/v1/models").ok()["data"]}
    for name, (parameters, weights, per_token, window) in FIGURES.items():
        assert listed[name]["parameters"] == parameters and listed[name]["context"] == 131072
        assert listed[name]["file_bytes"] == (folder / f"{name}.gguf").stat().st_size
        answer = s.post("/admin/models/swap", {"model": name})
        assert answer.status == 422 and answer.json()["error"]["needed_bytes"] > weights, answer.body
        measured = re.search(rf"id=measure\.done model={name} weights=(\d+) compute=\d+ heap=\d+ cells=\d+ sequences=\d+ bytes_per_token=(\d+) window_bytes=(\d+)",
                             s.log)
        assert tuple(map(int, measured.groups())) == (weights, per_token, window)


def test_a_file_that_is_not_finished_is_not_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(large_models, "write_tensor", full)
    with pytest.raises(OSError, match="full"):
        write(tmp_path / "a.gguf", scaled(SHAPES["llama-3.1-8b"], 1, 256))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SMALL)
def test_narrow_ones_of_the_shapes_run_and_their_blocks_come_back_bit_for_bit(server, tmp_path, name):
    folder = tmp_path / "large"
    folder.mkdir()
    shape = scaled(SHAPES[name], *SMALL[name])
    path = write(folder / "a.gguf", shape)
    other = write(folder / "b.gguf", scaled(SHAPES["llama-3.1-8b"], 1, 256), "Q4_0", seed=2)
    assert path.stat().st_size + other.stat().st_size < 300 << 20
    s = server(models=folder, seat="llama", model="a", options=["--pool", "256M", "--context", "2048", "--threads", "1"])
    prompt = "river stone lantern quiet harvest window copper meadow " * (140 if shape.gemma else 40)  # past Gemma's window of 1,024

    def ask():
        return Answer(s.complete("a", prompt, agent="ada", debug=True, max_tokens=4, ignore_eos=True, logprobs=1))

    first = ask()
    assert first.cached == 0 and first.generated == 4 and first.prompt > (1100 if shape.gemma else 300)
    scores = first.body["choices"][0]["logprobs"]["token_logprobs"]
    assert all(math.isfinite(x) and -12.5 < x < 0 for x in scores), "a model of random weights knows nothing, but it is sure of nothing, too"
    never_left = ask()
    s.swap("b")
    assert s.swap("a")["kind"] == "hot"
    back = ask()
    assert back.hotseat["restore_ms"] > 0 and back.cached == never_left.cached == first.prompt - 1, back.hotseat
    assert back.kv == never_left.kv and back.kv, "KV bytes of the reused positions differ"
    assert (back.logits, back.text) == (never_left.logits, never_left.text)
    s.swap("b")
    s.swap("a")
    s.fault("kv_flip")
    assert ask().kv != never_left.kv, "a flipped byte must turn the comparison red"
    shutil.rmtree(folder)  # pytest keeps a test's folder, and these are large


def bytes_restored(shape, n):
    """KV of n tokens at q8_0 and of the last window, of a Gemma of one full layer in six; beside it each file has a header and its cells' positions."""
    row = 2 * shape.kv_heads * shape.head * 34 // 32
    if not shape.gemma:
        return n * shape.layers * row, n // 256
    return n * (shape.layers // 6) * row + 1024 * (shape.layers - shape.layers // 6) * row, n // 256 + 4


def test_bench_long_conversations_come_back_without_being_read_first(tmp_path):
    """bench/large.py --restore: store_stretch makes of one block a conversation that the server takes for its own, window parts where they are needed."""
    shapes = {n: scaled(SHAPES[n], 6, 256) for n in ("gemma-3-12b", "llama-3.1-8b")[:1 + LONG]}
    for name, shape in shapes.items():
        write(tmp_path / f"{name}-Q4_K_M.gguf", shape)
    argv = [sys.executable, ROOT / "bench/large.py", *shapes, "--restore", "--models-in", tmp_path, "--layers", "6", "--width", "256", "--pool", "128M",
            "--context", "8200", "--memory", "4G"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.iterdir())) == len(shapes), "they were there before, and stay"
    result = json.loads((ROOT / "bench/out/large-restore-small.json").read_text())
    for name, shape in shapes.items():
        found = result[name]
        assert found["window"] == (1024 if shape.gemma else 0) and found["prefill_tokens"] == 257
        assert list(found["sizes"]) == ["4096", "8192"]
        for n, size in found["sizes"].items():
            kv, files = bytes_restored(shape, int(n))
            assert size["files"] == files and kv < size["bytes"] < kv + files * 6000, (name, n, size, kv)
            assert [r["cache"] for r in size["rows"]] == ["warm", "cold"] * 2
            assert all(r["restore_ms"] > 0 and r["plain_ms"] > 0 for r in size["rows"])
    assert "Agents of 8,192 tokens of gemma" in done.stdout and "Agents of 8,192 tokens of llama" not in done.stdout
    shutil.rmtree(tmp_path)


def test_bench_a_long_conversation_that_does_not_come_back_whole_is_no_figure(tmp_path, monkeypatch):
    name, files_of = "llama-3.1-8b", restore_large.files_of
    shape = scaled(SHAPES[name], *SMALL[name])
    path = write(tmp_path / f"{name}.gguf", shape)

    def files_without_one(*args):
        files = files_of(*args)
        files[5].write_bytes(files[5].read_bytes()[:-1] + b"?")
        return files

    monkeypatch.setattr(restore_large, "files_of", files_without_one)
    args = types.SimpleNamespace(folder=tmp_path, memory="4G", pool="80M", context=4100, runs=2)
    with pytest.raises(RuntimeError, match="1280 of 4096 tokens were cached"):
        restore_large.restores_of(path, shape, args)
    shutil.rmtree(tmp_path)


def test_bench_the_sum_over_agents_is_the_pools_own():
    """10 GB of cells, Gemma 3 12B at q8_0 (FIGURES): four sequences may run and twelve stay; with eight 23 windows fit into half of what is left."""
    _, _, token, window = FIGURES["gemma-3-12b"]
    assert restore_large.plan_of(token, window, 10**10, 4) == (16, (10**10 - 16 * window) // (256 * token) * 256)
    assert restore_large.plan_of(token, window, 10**10, 8)[0] == 8 + 23
    assert restore_large.resident(token, window, 10**10, 4) == 16
    assert restore_large.plan_of(token, window, window, 1) == (0, 0)
