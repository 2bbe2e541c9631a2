"""A real model in parts, as llama-gguf-split makes them, and real swaps in a control group that holds one model at a time."""
import os
import re

import gguf_writer
import memory_group
import pytest
from hotseat_harness import GEMMA, LONG, SMOL, copy_model
from page_cache import cached_bytes
from real_talk import OPTIONS

MB = 1 << 20
SPARE = 80 * MB  # the programs themselves, buffers of blocks
pytestmark = pytest.mark.xdist_group("real_files")
PROMPT = "The three primary colours are"


@pytest.fixture
def folder(tmp_path):
    """SmolLM2 whole and in three parts."""
    made = tmp_path / "made"
    made.mkdir()
    for name in ("whole", "parts"):
        copy_model(made, SMOL, name)
    assert len(gguf_writer.split(made / "parts.gguf", 3)) == 3
    return made


def test_a_model_in_parts_is_the_same_model(real_server, folder):
    s = real_server(models=folder, model="none", options=[*OPTIONS])
    answers = [s.complete(m, PROMPT, max_tokens=24, temperature=0, debug=True) for m in ("whole", "parts")]
    assert answers[0]["choices"][0]["text"] == answers[1]["choices"][0]["text"] != ""
    assert answers[0]["hotseat"]["debug"]["first_logits_xxh3"] == answers[1]["hotseat"]["debug"]["first_logits_xxh3"]
    measured = {m: re.search(rf"id=measure\.done model={m} weights=(\d+)", s.log)[1] for m in ("whole", "parts")}
    assert measured["whole"] == measured["parts"]
    pid = s.seat_pid()
    with open(f"/proc/{pid}/maps") as f:
        maps = f.read()
    assert all(f"parts-0000{i}-of-00003.gguf" in maps for i in (1, 2, 3))
    s.offload()
    assert s.seat_pid() == pid
    with open(f"/proc/{pid}/maps") as f:
        assert ".gguf" not in f.read()


def forget(path):
    """Out of the page cache."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def needed_bytes(real_server, model, options):
    """What the measuring seat says, with the whole pool."""
    s = real_server(model, model=model, options=options)
    m = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", re.search(r"id=measure\.done .*", s.log)[0])}
    s.stop()
    return m["weights"] + m["compute"] + m["heap"]


def test_swaps_at_the_limit_of_a_group_are_never_killed(real_server, tmp_path, request):
    """The group holds the larger model and little more, so the other one's pages must go each time, taken by the kernel or given up before; nobody
    is killed for memory.
    Whose a page is says who read it first: so the files are copies that nobody has read."""
    options = ["--threads", "1", "--pool", "64M", "--context", "2048", "--parallel", "1"]
    limit = needed_bytes(real_server, GEMMA, options) + 64 * MB + SPARE
    group = memory_group.KernelGroup(tmp_path, limit)
    request.addfinalizer(group.close)
    folder = tmp_path / "copies"
    folder.mkdir()
    for model in (SMOL, GEMMA):
        forget(copy_model(folder, model, model))
    s = real_server(models=folder, model="none", options=options, prefix=group.prefix)
    gone = 0
    for i in range(50 if LONG else 6):
        model = (SMOL, GEMMA)[i % 2]
        assert s.swap(model, hold_s=0)["status"] == "swapped"
        prompt = [300 + (i * 7919 + j * 104729) % 40000 for j in range(300)]
        assert s.complete(model, prompt, max_tokens=8, ignore_eos=True, agent="ann")["usage"]["completion_tokens"] == 8
        gone += i % 2 and cached_bytes(folder / f"{SMOL}.gguf") < 50 * MB
    assert group.was_full() or gone == (25 if LONG else 3), "else it shows nothing"
    assert group.kills() == 0 and s.metrics().sum("hotseat_seat_deaths_total") == 0
    assert s.metrics().sum("hotseat_swaps_total", outcome="ok") >= 6


if memory_group.KernelGroup not in memory_group.MADE:  # figures alone kill nobody
    del test_swaps_at_the_limit_of_a_group_are_never_killed
