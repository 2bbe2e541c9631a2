"""S10 on real models: swap after swap in one process, with vocabularies of three sizes, and every time the memory comes back."""
import re

import pytest
from hotseat_harness import GEMMA, LONG, QWEN, SMOL, memory_bytes
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
