"""S10 on real models: swap after swap in one process, with vocabularies of three sizes, and every time the memory comes back."""
import re

import pytest
from hotseat_harness import GEMMA, LONG, QWEN, REAL_MODELS, SMOL, memory_bytes
from real_talk import CONFIG, OPTIONS, TURNS, talk

MB = 1 << 20
LIMIT = 16 * MB  # the larger of 16 MB and 2 % of any of these models' cost


@pytest.mark.xdist_group("gemma")
def test_s10_real_swaps_give_the_memory_back_and_do_not_grow(real_server):
    s = real_server(SMOL, QWEN, GEMMA, options=OPTIONS, config=CONFIG, model=SMOL)
    pid, first, last = s.seat_pid(), 20 if LONG else 9, 100 if LONG else 21
    talks = {m: talk(s, m) for m in (SMOL, QWEN, GEMMA)}
    unloaded = []
    for i in range(1, last + 1):
        model = (QWEN, GEMMA, SMOL)[i % 3]
        if s.current()["model"] == model:
            continue
        done = s.swap(model, hold_s=0)
        assert done["kind"] == "hot", (i, done)
        unloaded.append(done["memory"]["unloaded_bytes"])
        if i <= 6:
            talks[model].say(TURNS[i % len(TURNS)])
    assert s.seat_pid() == pid
    baseline = int(re.search(r"id=swap\.unloaded .*baseline=(\d+)", s.log)[1])
    assert max(unloaded) <= baseline + LIMIT, (baseline, unloaded)
    growth = (unloaded[-1] - unloaded[first - 1]) / (len(unloaded) - first)
    assert growth < 50 * 1024, (growth, unloaded)
    s.offload()
    assert memory_bytes(pid) <= baseline + LIMIT
    with open(f"/proc/{pid}/maps") as f:
        assert ".gguf" not in f.read()


@pytest.mark.parametrize("model", [pytest.param(m, marks=pytest.mark.xdist_group(m)) for m in (SMOL, QWEN, GEMMA)])
@pytest.mark.parametrize("kv", ["f16", "q8_0", "q4_0"] if LONG else ["q8_0"])
def test_what_a_model_takes_was_said_within_3_percent(real_server, model, kv):
    """Weights, KV cells, compute buffers and vocabulary against the mapped weights and what the load and a full step add to the seat's
    own memory. The first load leaves the seat with what it keeps in any case: warm buffers of blocks."""
    s = real_server(model, model="none", options=["--threads", "1", "--kv", kv, "--context", "2048", "--parallel", "1"])
    pid = s.seat_pid()

    def load_and_ask(n_tokens, first):
        s.swap(model)
        s.complete(model, [first + i * 7919 % 40000 for i in range(n_tokens)], max_tokens=2, ignore_eos=True)

    load_and_ask(1100, 300)
    s.offload()
    before = memory_bytes(pid)
    load_and_ask(600, 301)  # nothing of it is in the cache
    found = re.search(r"id=measure\.done .*", s.log)[0]
    said = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", found)}
    seat = s.current()
    assert s.seat_pid() == pid and (said["cells"], said["sequences"]) == (seat["cells"], seat["sequences"])
    assert said["compute"] == pytest.approx(seat["compute_bytes"], rel=0.03)
    assert said["weights"] == pytest.approx((REAL_MODELS / f"{model}.gguf").stat().st_size, rel=0.06)  # the rest is its vocabulary
    cells = seat["cells"] * said["bytes_per_token"] + seat["sequences"] * said["window_bytes"]
    taken = said["weights"] + memory_bytes(pid) - before
    assert said["weights"] + cells + said["compute"] + said["heap"] == pytest.approx(taken, rel=0.03), (said, seat, taken)
