"""Conversations of 4,096 to 32,768 tokens come back to models of true size: restore against a plain read of the same files, against the prefill that
it saves, against the reference's figure; and how many agents of 8,192 tokens 10 GB hold of a model with a window.

Nobody reads 32,768 tokens with a 14B model on two cores. The server reads the first block, which gives the rate of prefill as well, and
build/release/store_stretch makes the rest of the conversation of it: every block has the first one's KV values. What the server reads, checks and copies
is in all else what it would have written (bench/store_stretch.c)."""
import array
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from common import PAGE_CACHE, RELEASE, get, hotseat, kernel_read, post, prepare, read_file, saved, seat_of, spread

BLOCK = 256
RESTORE_POINT = 8 * BLOCK  # save.h: where a window can be resumed
SIZES = (4096, 16384, 32768)
AGENT_TOKENS = 8192  # of the agents that are counted
AGENT_GOAL, AGENT_BYTES, AGENT_MS = 40, 10 * 10**9, 1000
REFERENCE_MB, REFERENCE_MS = 432, 577
AGENT = "restore"
# pool_plan.c
RESIDENT_PER_PARALLEL, SEQUENCES_MOST, PARALLEL_MOST = 4, 254, 64
KV_BYTES = {"q8_0": 34, "q4_0": 18}  # of 32 values


def tokens_of(n, salt):
    """Plain tokens of every vocabulary here, none twice in 20,000."""
    return [1000 + (salt + i) * 7919 % 20000 for i in range(n)]


def window_of(shape):
    return next((value for key, _, value in shape.extra if key == "attention.sliding_window"), 0)


def plan_of(token_bytes, window_bytes, pool, parallel):
    """(sequences, cells) of a pool of so many bytes: pool_plan.c, but for its bound by the context."""
    least = parallel * (window_bytes + BLOCK * token_bytes)
    if pool < least:
        return 0, 0
    sequences = min(parallel * RESIDENT_PER_PARALLEL, SEQUENCES_MOST)
    if window_bytes:
        sequences = min(sequences, parallel + (pool - least) // 2 // window_bytes)
    return sequences, (pool - sequences * window_bytes) // (BLOCK * token_bytes) * BLOCK


def resident(token_bytes, window_bytes, pool, parallel):
    """Agents of AGENT_TOKENS whose KV such a pool holds at the same time."""
    sequences, cells = plan_of(token_bytes, window_bytes, pool, parallel)
    return min(sequences, cells // AGENT_TOKENS)


def complete(server, model, tokens, agent):
    body = {"model": model, "prompt": tokens, "max_tokens": 1, "temperature": 0, "ignore_eos": True, "user": agent}
    return post(server.url, "/v1/completions", body)


def cached_of(body):
    return (body["usage"].get("prompt_tokens_details") or {}).get("cached_tokens", 0)


def sit(server, model):
    """The model in the seat, with nothing in its cells and nobody waiting for it, so that nothing is read ahead."""
    post(server.url, "/admin/models/offload", {})
    post(server.url, "/admin/models/swap", {"model": model})
    saved(server)
    while get(server.url, "/admin/cache")["scanning"]:
        time.sleep(0.05)
    seat = get(server.url, "/admin/models/current")
    if not seat["cache_on"]:
        raise RuntimeError(f"{model} has no cache: {seat.get('cache_reason')}")
    return seat


def begin(server, model):
    """The first block is read and stored; then the rate of prefill on another prompt, so that the weights have been touched. What the seat is."""
    seat = sit(server, model)
    (listed,) = [m for m in get(server.url, "/admin/models/available")["models"] if m["id"] == model]
    bodies = [complete(server, model, tokens_of(BLOCK + 1, 0), AGENT), complete(server, model, tokens_of(BLOCK + 1, 10000), "")]
    if any(cached_of(b) for b in bodies):
        raise RuntimeError("an empty store had something cached")
    saved(server)
    h = bodies[1]["hotseat"]
    found = {k: seat[k] for k in ("context", "cells", "sequences", "pool_bytes", "tag", "kv")}
    found |= {k: listed[k] for k in ("kv_bytes_per_token", "window_bytes_per_sequence")}
    return found | {"prefill_tokens": h["prefill_tokens"], "prefill_ms": h["prefill_ms"], "prefill_per_s": h["prefill_tokens"] / h["prefill_ms"] * 1e3}


def sizes_of(shape, context):
    """The contexts to restore: what fits, at a restore point, with a token before and one after it."""
    most = (context - 2) // RESTORE_POINT * RESTORE_POINT
    if most == 0:
        raise RuntimeError(f"a context of {context} tokens is too short")
    wanted = SIZES + ((AGENT_TOKENS,) if shape.gemma else ())
    return sorted({min(n, most) for n in wanted})


def stretch(cache, tag, model, window, n):
    """The store's blocks of the conversation: (base file, window file or None)."""
    argv = [RELEASE / "store_stretch", cache, tag, model, AGENT, window]
    numbers = array.array("i", tokens_of(n, 0))
    if sys.byteorder != "little":
        numbers.byteswap()
    out = subprocess.run([str(a) for a in argv], input=numbers.tobytes(), stdout=subprocess.PIPE, check=True).stdout.decode()
    folder, blocks = pathlib.Path(cache) / "blocks" / tag, []
    for name, has_window in map(str.split, out.splitlines()):
        base = folder / name[:2] / f"{name}.kv"
        blocks.append((base, base.with_suffix(".win") if has_window == "1" else None))
    return blocks


def files_of(blocks, window, n):
    """What a restore of n tokens reads."""
    base = [b for b, _ in blocks[:n // BLOCK]]
    parts = [w for _, w in blocks[max(0, n - window) // BLOCK:n // BLOCK]] if window else []
    return base + parts


def restore_once(server, model, n, files, how):
    sit(server, model)
    for f in files:
        prepare(f, how)
    seat = seat_of(server)
    before = kernel_read(seat)
    body = complete(server, model, tokens_of(n + 1, 0), AGENT)
    h = body["hotseat"]
    if cached_of(body) != n:
        raise RuntimeError(f"{cached_of(body)} of {n} tokens were cached: {body}")
    read, size = kernel_read(seat) - before, sum(f.stat().st_size for f in files)
    if how == "cold" and read < size * 0.9:
        raise RuntimeError(f"only {read} of {size} bytes came from the disk")
    row = {"cache": how, "restore_ms": h["restore_ms"], "first_token_ms": h["first_token_ms"], "kernel_read": read}
    for f in files:
        prepare(f, how)
    return row | {"plain_ms": sum(read_file(f) for f in files) * 1e3}


def restores_of(path, shape, args):
    """All figures of one model."""
    window, runs = window_of(shape), max(2, args.runs)
    extra = ("--memory", args.memory, "--pool", args.pool, *(("--context", args.context) if args.context else ()))
    with tempfile.TemporaryDirectory(dir=args.folder) as cache:
        with hotseat(cache, "none", extra, parallel=1, models=path.parent) as server:
            result = {"window": window, **begin(server, path.stem), "sizes": {}}
        token, per_window = result["kv_bytes_per_token"], result["window_bytes_per_sequence"]
        sizes = sizes_of(shape, result["context"])
        blocks = stretch(cache, result["tag"], path.stem, window, sizes[-1])
        with hotseat(cache, "none", extra, parallel=1, models=path.parent) as server:
            for n in sizes:
                files = files_of(blocks, window, n)
                rows = [restore_once(server, path.stem, n, files, how) for _ in range(runs) for how in PAGE_CACHE]
                kept = [f for pair in blocks[:n // BLOCK] for f in pair if f]
                result["sizes"][n] = {"bytes": sum(f.stat().st_size for f in files), "stored_bytes": sum(f.stat().st_size for f in kept),
                                      "files": len(files), "rows": rows}
                print(f"  {path.stem:24} {n:6} tokens, {len(files)} files: " +
                      "  ".join(f"{r['cache']} {r['restore_ms']:.0f}/{r['plain_ms']:.0f} ms" for r in rows), flush=True)
    plan = plan_of(token, per_window, result["pool_bytes"], 1)
    if plan[0] != result["sequences"] or plan[1] < result["cells"]:
        raise RuntimeError(f"pool_plan.c has changed: {plan} here, the seat has {result['sequences']}, {result['cells']}")
    return result


def medians(size, how):
    rows = [r for r in size["rows"] if r["cache"] == how]
    return {k: statistics.median(r[k] for r in rows) for k in rows[0] if k != "cache"} | {"all": [r["restore_ms"] for r in rows]}


def print_restores(result):
    """result: what restores_of() gave, by model."""
    reference = REFERENCE_MB / REFERENCE_MS * 1e3
    print(f"\n| model | tokens | page cache | restore | read, MB | of that from the disk | MB/s | of the reference's {reference:.0f} | plain read | ratio "
          "| prefill at its rate | times |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, found in result.items():
        for n, size in found["sizes"].items():
            for how in PAGE_CACHE:
                m = medians(size, how)
                rate, prefill_ms = size["bytes"] / 1e3 / m["restore_ms"], n / found["prefill_per_s"] * 1e3
                print(f"| {name} | {n:,} | {how} | {spread(m['all'], '{:,.0f}')} ms | {size['bytes'] / 1e6:,.0f} | {m['kernel_read'] / 1e6:,.0f} "
                      f"| {rate:,.0f} | {rate / reference:.2f} | {m['plain_ms']:,.0f} ms | **{m['restore_ms'] / m['plain_ms']:.2f}** "
                      f"| {prefill_ms / 1e3:,.0f} s at {found['prefill_per_s']:.1f} t/s | **{prefill_ms / m['restore_ms']:,.0f}** |")
    print("\nThe prefill is at the rate of one prompt of 257 tokens. Restores and plain reads are medians.")
    for name, found in result.items():
        if AGENT_TOKENS in found["sizes"] and found["window"]:
            print_agents(name, found)


def print_agents(name, found):
    size = found["sizes"][AGENT_TOKENS]
    warm, cold = (medians(size, how)["restore_ms"] for how in PAGE_CACHE)
    print(f"\nAgents of {AGENT_TOKENS:,} tokens of {name} in {AGENT_BYTES / 1e9:.0f} GB; one is back in {warm:,.0f} ms (page cache), {cold:,.0f} ms (disk); "
          f"q8_0 measured, q4_0 by its bytes a value\n\n| KV | `--parallel` | of one: cells, MB | files, all restore points | files, its end's alone "
          "| in the cells | on disk, all | on disk, ends | cells and disk |\n|---|---|---|---|---|---|---|---|---|")
    most, reached = 0, 0  # of what was measured
    for kv, share in KV_BYTES.items():
        of = [int(b * share / KV_BYTES[found["kv"]]) for b in (found["kv_bytes_per_token"], found["window_bytes_per_sequence"],
                                                             size["stored_bytes"], size["bytes"])]
        one = of[0] * AGENT_TOKENS + of[1]
        best = max(range(1, PARALLEL_MOST + 1), key=lambda p, of=of: (resident(of[0], of[1], AGENT_BYTES, p), -p))
        for parallel in dict.fromkeys((4, best)):
            here, disk, ends = resident(of[0], of[1], AGENT_BYTES, parallel), AGENT_BYTES // of[2], AGENT_BYTES // of[3]
            if kv == found["kv"]:
                most, reached = max(most, here), max(reached, here + (ends if cold < AGENT_MS else 0))
            print(f"| {kv} | {parallel} | {one / 1e6:,.0f} | {of[2] / 1e6:,.0f} | {of[3] / 1e6:,.0f} | {here} | {disk} | {ends} | {here + ends} |")
    print(f"\nAt {found['kv']} at most {most} in {AGENT_BYTES / 1e9:.0f} GB of cells; with as much on the disk beside them {reached} resident or back in under "
          f"{AGENT_MS / 1e3:.0f} s; the goal is {AGENT_GOAL}.")
