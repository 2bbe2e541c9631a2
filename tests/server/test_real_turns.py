"""S17 on real models: requests interleaved, nobody starves, the stated bound holds, the swaps are few. HOTSEAT_LONG=1: two and five models
(links to the three files under five names), three minutes each; else two for 15 s, which is too short to count more than that swaps are few.
"""
import asyncio

import pytest
from hotseat_harness import GEMMA, LONG, SMOL, Server, link_models
from load_trace import Played, draw_trace, play_all
from real_talk import CONFIG, MODELS

DURATION_S, BOUND_S, DRAIN_S, TOKENS = (180, 10, 5, (10, 120)) if LONG else (15, 2, 1, (5, 30))
PER_S = {2: 0.5 if LONG else 1.0, 5: 0.3}
SEED = 1


def five_names(folder):
    """Three files, five names: weights that are the same and are loaded as others'."""
    link_models(folder, *MODELS)
    for name, of in (("smol-again", SMOL), ("gemma-again", GEMMA)):
        (folder / f"{name}.gguf").symlink_to((folder / f"{of}.gguf").resolve())
    return [*MODELS, "smol-again", "gemma-again"], CONFIG + "[model gemma-again]\ntemplate = gemma\n"


@pytest.mark.xdist_group("smol")
@pytest.mark.timeout(4 * DURATION_S + 600)
@pytest.mark.parametrize("n_models", [2, 5] if LONG else [2])
def test_s17_real_models(tmp_path, n_models):
    folder = tmp_path / "models"
    names, config = five_names(folder)
    if n_models == 2:
        names = [SMOL, GEMMA]
    options = ["--threads", 1, "--pool", "128M", "--context", 4096, "--wait-bound", BOUND_S, "--drain-timeout", DRAIN_S]
    server = Server(tmp_path / "server", folder, seat="llama", options=options, config=config, model=names[0], log_level="info").start()
    try:
        trace = draw_trace(SEED, names, DURATION_S, PER_S[n_models], TOKENS, sizes=(30, 300), leaving=0, prompt="{0} Go on.", ignore_eos=True)
        trace = [r._replace(params={**r.params, "max_tokens": r.n_tokens}) for r in trace]
        played = Played(server, names, trace, BOUND_S, DRAIN_S)
        asyncio.run(play_all([played]))
        played.check_answers(finish="length")
        played.check_waits(step_s=3)
        played.check_swaps(more=0 if LONG else 2)
        played.stop()
    finally:
        server.kill()
