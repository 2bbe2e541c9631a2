#!/usr/bin/env python3
"""What a model takes against what hotseat says before it loads it: weights, KV cells, compute buffers.

usage: bench/estimate.py [--kv LIST] [--contexts LIST] [--pool SIZE] [--parallel N] [--fill] [--large [--layers N] [--width N]]

For the pinned models, with --large for the reference models' shapes (bench/large_models.py) instead. Each load is followed by a prompt that fills a step, with
--fill by as many as fill the cells: buffers are counted whole in what is said, and are touched whole only then. Writes bench/out/estimate.json; ends with 1
if one is off by more than 3 %, or the engine's own count after the load is.
"""
import argparse
import itertools
import json
import pathlib
import re
import signal
import sys
import tempfile

from common import CACHE, GEMMA, MODELS, QWEN, ROOT, SMOL, get, hotseat, post, seat_of
from large_models import SHAPES, scaled, write

TOLERANCE = 0.03


def look(pid):
    """Bytes in memory of the process: mapped of the model's file, and anonymous."""
    mapped = anonymous = 0
    for entry in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", pathlib.Path(f"/proc/{pid}/smaps").read_text(), flags=re.M)[1:]:
        if entry.split("\n", 1)[0].endswith(".gguf"):
            mapped += int(re.search(r"^Rss:\s*(\d+)", entry, re.M)[1]) << 10
        anonymous += int(re.search(r"^Anonymous:\s*(\d+)", entry, re.M)[1]) << 10
    return mapped, anonymous


def ask(server, model, n_tokens, agent):
    prompt = [300 + (agent * 7919 + i * 104729) % 40000 for i in range(n_tokens)]
    post(server.url, "/v1/completions", {"model": model, "prompt": prompt, "max_tokens": 2, "ignore_eos": True, "user": f"agent-{agent}"})


def measure(server, model, fill):
    """What is taken, in bytes: after one full step, or once prompts have filled the cells, for most of a buffer is touched only then. It is loaded
    twice: the first time leaves the seat with what it keeps in any case, warm buffers of blocks."""
    pid = seat_of(server)
    post(server.url, "/admin/models/swap", {"model": model})
    ask(server, model, 1200, 99)
    post(server.url, "/admin/models/offload", {})
    before = look(pid)
    post(server.url, "/admin/models/swap", {"model": model})
    seat = get(server.url, "/admin/models/current")
    ask(server, model, 600, 0)
    for agent in range(1, seat["cells"] // seat["context"] + 1 if fill else 1):
        ask(server, model, seat["context"] - 8, agent)
    assert seat_of(server) == pid
    mapped, anonymous = (a - b for a, b in zip(look(pid), before))
    return get(server.url, "/admin/models/current"), {"mapped": mapped, "private": anonymous}


def row_of(model, kv, context, args, folder):
    extra = ("--kv", kv, "--context", context, "--pool", args.pool, "--memory", args.memory)
    with tempfile.TemporaryDirectory(dir=CACHE) as cache, hotseat(cache, "none", extra, args.parallel, folder) as server:
        seat, taken = measure(server, model, args.fill)
        said = re.search(r"id=measure\.done .*", server.text())[0]
    m = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", said)}
    cells = seat["cells"] * m["bytes_per_token"] + seat["sequences"] * m["window_bytes"]
    row = {"model": model, "kv": kv, "context": context, "cells": seat["cells"], "sequences": seat["sequences"], "weights": m["weights"],
           "cells_bytes": cells, "compute": m["compute"], "heap": m["heap"], "engine_compute": seat["compute_bytes"],
           "cells_used": seat["cells_used"], **taken}
    row["said"], row["taken"] = m["weights"] + cells + m["compute"] + m["heap"], taken["mapped"] + taken["private"]
    return row | {"off": row["said"] / row["taken"] - 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--kv", default="f16,q8_0,q4_0")
    parser.add_argument("--contexts", default="2048,8192,32768")
    parser.add_argument("--pool", default="4G")
    parser.add_argument("--memory", default="20G")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--fill", action="store_true", help="fill the cells with prompts: minutes for 8K, hours for 32K")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--width", type=int)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended and the files removed
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    rows = []
    print("| model | KV | context | cells | weights | KV | compute | vocabulary | said | mapped | private | taken | off |\n|" + "---|" * 13, flush=True)
    with tempfile.TemporaryDirectory(prefix="large.", dir=CACHE) as made:
        folder = pathlib.Path(made) if args.large else MODELS
        for name in SHAPES if args.large else (SMOL, QWEN, GEMMA):
            if args.large:
                path = write(folder / f"{name}.gguf", scaled(SHAPES[name], args.layers, args.width))
            for kv, context in itertools.product(args.kv.split(","), map(int, args.contexts.split(","))):
                row = row_of(name, kv, context, args, folder)
                rows.append(row)
                print(f"| {name} | {kv} | {context} | {row['cells']} | " + " | ".join(
                    f"{row[k] / 1e6:.1f}" for k in ("weights", "cells_bytes", "compute", "heap", "said", "mapped", "private", "taken")) +
                    f" | {row['off'] * 100:+.1f} % |", flush=True)
            if args.large:
                path.unlink()
    (out / "estimate.json").write_text(json.dumps(rows, indent=1))
    worst = max(rows, key=lambda r: abs(r["off"]))
    print(f"\nWorst: {worst['model']} {worst['kv']} {worst['context']}: {worst['off'] * 100:+.1f} %. MB are 10^6 bytes.")
    compute = max(abs(r["compute"] / r["engine_compute"] - 1) for r in rows)
    print(f"Compute buffers, said against the engine's count after the load: {compute * 100:.2f} % off at most.")
    return 1 if max(abs(worst["off"]), compute) > TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(main())
