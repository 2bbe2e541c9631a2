"""S17, O5: requests for two and for five models, interleaved, and for two of which one never rests. Nobody starves, the stated bound holds,
the swaps are few, every text is the one of a server that does nothing else, and nothing grows: memory, descriptors, threads.
HOTSEAT_LONG=1 plays ten minutes instead of one.

The trace is the same every time, if HOTSEAT_SEED names no other one: in one minute there are some twenty swaps, and with a drawn trace
one or two of them would be chance. All servers play at once, because they wait more than they work.
"""
import asyncio
import os

import pytest
from crowd import right_texts
from fakes import add
from hotseat_harness import LONG, Server
from load_trace import Played, Restless, draw_trace, play_all

SEED = int(os.environ.get("HOTSEAT_SEED") or 2)
STEP_S = 0.015  # a small model on a laptop: 66 tokens a second in each stream
PARALLEL = 4
LOAD = 0.7  # of what the full seat can serve without a swap
# In ten minutes a swap is one of a small real model; in one minute everything but the steps is four to six times as fast.
DURATION_S, LOAD_MS, TOKENS, BOUND_S, DRAIN_S = (600, 1500, (40, 400), 15, 10) if LONG else (60, 300, (15, 100), 2.5, 1)
# Growth a minute, of the front and of the seat. The first minute fills tables and touches pages that have an upper end.
GROWTH_KB = (100, 150) if LONG else (1500, 6000)

pytestmark = [pytest.mark.timeout(3 * DURATION_S + 900), pytest.mark.first]
KINDS = {"two": 2, "five": 5, "restless": 2}


@pytest.fixture
def played(tmp_path_factory):
    """{kind: Played}, and what a quiet server says to the same prompts."""
    out, texts = {}, {}
    try:
        for kind, n in KINDS.items():
            folder = tmp_path_factory.mktemp(f"turns-{kind}")
            names = [f"m{i}" for i in range(n)]
            for name in names:
                add(folder, name)
            env = {"HOTSEAT_FAKE_STEP_US": int(STEP_S * 1e6), "HOTSEAT_FAKE_LOAD_MS": LOAD_MS}
            options = ["--wait-bound", BOUND_S, "--drain-timeout", DRAIN_S, "--parallel", PARALLEL, "--pool", "16M", "--cache-disk", "4M"]
            server = Server(folder / "server", folder, model=names[0], env=env, options=options, log_level="info").start()
            trace = draw_trace(SEED, names, DURATION_S, LOAD * PARALLEL / (sum(TOKENS) / 2 * STEP_S), TOKENS)
            out[kind] = (Restless(server, names, DURATION_S, sum(TOKENS) // 2, BOUND_S, DRAIN_S, PARALLEL) if kind == "restless" else
                         Played(server, names, trace, BOUND_S, DRAIN_S, PARALLEL))
        asyncio.run(play_all(out.values()))
        # The same name is the same model in all of them.
        quiet = Server(tmp_path_factory.mktemp("quiet"), out["five"].server.models, options=["--parallel", 16], log_level="warn").start()
        try:
            for kind, p in out.items():
                texts[kind] = asyncio.run(right_texts(quiet, p.whole, at_once=16))
        finally:
            quiet.stop()
        yield out, texts
        for p in out.values():
            p.stop()
    finally:
        for p in out.values():
            p.server.kill()


def test_s17_o5_minutes_of_requests(played):
    """One test, because what costs time is to play; all that is wrong is said at once. Of the restless no swaps are counted: when they come
    depends on when they were answered, so a reference on the same arrivals has to follow this server's turns."""
    out, texts = played
    wrong = []
    for kind, p in out.items():
        checks = [(p.check_answers, (texts[kind],)), (p.check_waits, ()), (p.check_growth, GROWTH_KB)]
        for check, arguments in checks + ([(p.check_swaps, ())] if kind != "restless" else []):
            try:
                check(*arguments)
            except AssertionError as e:
                wrong.append(f"{kind}: {check.__name__}: {e}")
    assert not wrong, "\n".join(wrong)
