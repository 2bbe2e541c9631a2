#!/usr/bin/env python3
"""Models of true size take turns: every step of a swap against its floor, first tokens beside llama-server's router.

usage: bench/large.py [NAME ...] [--type Q4_K_M] [--memory 20G] [--pool 4G] [--runs N] [--layers N --width N] [--peers LIST] [--models-in DIR]
                      [--repack | --restore [--context N] | --promises]

Llama 3.1 8B, Qwen 2.5 14B and Gemma 3 12B in their exact shapes (bench/large_models.py), written to the cache folder and removed at the end:
21 GB of disk, or as NAME-TYPE.gguf in DIR already, where they stay. All ordered pairs of the models, with the file in the page cache and without
(posix_fadvise).
--repack: instead, what repacked weights cost and give, for both types of file; on a few layers it takes minutes, and all of it but the vocabulary and the
output matrix grows with the layers.
--restore: instead, conversations of 4,096, 16,384 and 32,768 tokens (what pool and context hold of that) come back from the disk, one model after the
other (bench/restore_large.py); 5 GB of disk beside the model's file.
--promises: instead, S4, S5, S10 and S15 on these models (bench/large_promises.py); it fails where one is not kept.
Writes bench/out/large.json, draws bench/out/swap-FROM-TO-CACHE.svg and prints tables for docs/benchmarks.md. With --layers and --width (and a small
--pool) it shows that it works; its figures then say nothing.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from common import (CACHE, PAGE_CACHE, RELEASE, ROOT, THREADS, conditions, forget_file, get, hotseat, post, prepare, prompt_of, read_file, router,
                    saved)
from costs import compare_repack, print_repack
from large_models import FILE_TYPES, SHAPES, scaled, tensor_bytes, tensors_of, write
from large_promises import bench_promises
from restore_large import print_restores, restores_of
from timeline import draw, spans_of

PEERS = ("router", "router as it comes")


def bytes_of(text):
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30}[text[-1]]


def processes(server):
    """The server and all below it."""
    out, more = [], [server.p.pid]
    while more:
        out += more
        found = subprocess.run(["pgrep", "-P", ",".join(map(str, more))], capture_output=True, text=True, check=False).stdout
        more = [int(p) for p in found.split()]
    return out


def field(path, key):
    """The number behind a key of a file of /proc; 0 when the process has gone."""
    try:
        found = re.search(rf"^{key}:\s*(\d+)", pathlib.Path(path).read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


class Watch:
    """Of a server and its processes, while it is entered: the most memory they had, the least that was available, bytes read and written."""

    def __init__(self, server):
        self.server, self.peak_anon, self.peak_all, self.least_available = server, 0, 0, 1 << 62
        self.before, self.after, self.ended = {}, {}, threading.Event()

    def look(self):
        anon = rss = 0
        for pid in processes(self.server):
            anon += field(f"/proc/{pid}/status", "RssAnon") << 10
            rss += field(f"/proc/{pid}/status", "VmRSS") << 10
            self.after[pid] = [field(f"/proc/{pid}/io", k) for k in ("read_bytes", "write_bytes")]
        self.peak_anon, self.peak_all = max(self.peak_anon, anon), max(self.peak_all, rss)
        self.least_available = min(self.least_available, field("/proc/meminfo", "MemAvailable") << 10)

    def run(self):
        while not self.ended.wait(0.1):
            self.look()

    def __enter__(self):
        self.look()
        self.before, self.after = self.after, {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.look()

    def figures(self):
        moved = [sum(v[i] - self.before.get(pid, (0, 0))[i] for pid, v in self.after.items()) for i in (0, 1)]
        return {"read_bytes": moved[0], "written_bytes": moved[1], "peak_anon_bytes": self.peak_anon, "peak_bytes": self.peak_all,
                "least_available_bytes": self.least_available}


def ask(server, model, n_words):
    """One token on a prompt that grows: milliseconds to it, and what was cached."""
    began = time.monotonic()
    body = post(server.url, "/v1/completions", {"model": model, "prompt": prompt_of(n_words, 1), "max_tokens": 1, "temperature": 0, "ignore_eos": True,
                                                "user": "large", "cache_prompt": True})
    usage = body["usage"]
    return {"first_ms": (time.monotonic() - began) * 1e3, "prompt_tokens": usage["prompt_tokens"],
            "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0), "figures": body.get("hotseat", {})}


def order_of(names):
    """A walk over all ordered pairs: of three models A B A C B C A, of two A B A."""
    a, b, *more = names
    return [a, b, a] if not more else [a, b, a, more[0], b, more[0], a]


def walk(server, files, how, words):
    """Each visit: the file is made warm or cold, then one request for that model, which swaps."""
    out, here = [], None
    for name in order_of(list(files)):
        prepare(files[name], how)
        words[name] = words.get(name, 90) + 10
        with Watch(server) as watch:
            row = ask(server, files[name].stem, words[name])
        row |= watch.figures() | {"from": here, "to": name, "cache": how}
        if server.ours:
            saved(server)
            row["swap"] = get(server.url, "/admin/swap")["swaps"][0]
            row["spans"] = [*spans_of(server.text())[0], ("who waits", "first token", 0, row["first_ms"] / 1e3)]
            picture = f"swap-{here or 'nobody'}-{name}-{how}.svg"
            draw(ROOT / "bench" / "out" / picture, f"{here or 'nobody'} leaves, {name} comes, its file {how}", row["spans"])
        if here:
            out.append(row)
            print(f"  {how:5} {here:14} -> {name:14} first token {row['first_ms']:9.0f} ms  cached {row['cached']}/{row['prompt_tokens']}  "
                  f"read {row['read_bytes'] / 2**30:.2f} GiB", flush=True)
        here = name
    return out


def floors_of(path, seat, runs):
    """What loading costs a program that does nothing else, and the disk's own rate: nobody sits meanwhile."""
    out = {}
    for how in PAGE_CACHE:
        found = []
        for _ in range(runs):
            prepare(path, how)
            argv = [RELEASE / "floor_load", path, str(seat["cells"]), str(seat["sequences"] + 1), "512", str(THREADS)]
            found.append(json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout))
        out[how] = {k: statistics.median(f[k] for f in found) for k in found[0]}
    forget_file(path)
    out["read_ms"] = read_file(path) * 1e3
    return out


def bench_ours(args, files):
    result = {"floors": {}, "seats": {}, "visits": []}
    extra = ("--log-level", "debug", "--memory", args.memory, "--pool", args.pool, "--patience", 0, "--cache-disk", "4G")
    with tempfile.TemporaryDirectory(dir=args.folder) as cache, hotseat(cache, "none", extra, models=args.models) as server:
        server.ours = True
        for name, path in files.items():  # each is measured, and its floors are taken from the cells that it gets
            post(server.url, "/admin/models/swap", {"model": path.stem})
            result["seats"][name] = get(server.url, "/admin/models/current")
            post(server.url, "/admin/models/offload", {})
            result["floors"][name] = floors_of(path, result["seats"][name], args.runs)
            print(f"  {name:14} " + json.dumps(result["floors"][name]), flush=True)
        words = {}
        for _ in range(args.runs):
            for how in PAGE_CACHE:
                result["visits"] += walk(server, files, how, words)
    return result


def bench_peer(args, files, seats, repack):
    visits, cells = [], [(path, seats[name]["cells"]) for name, path in files.items()]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, router(folder, repack, cells) as server:
        server.ours, words = False, {}
        for _ in range(args.runs):
            for how in PAGE_CACHE:
                visits += walk(server, files, how, words)
    return visits


def median_of(rows, key):
    return statistics.median(key(r) for r in rows)


def gib(n):
    return f"{n / 2**30:.1f}"


def print_steps(ours):
    print("\n| from | to | page cache | drain | evict | unload | load | configure | all | load and context, floor | ratio | read, GiB | written, MiB "
          "| of the disk's rate |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for a, b, how in dict.fromkeys((v["from"], v["to"], v["cache"]) for v in ours["visits"]):
        rows = [v for v in ours["visits"] if (v["from"], v["to"], v["cache"]) == (a, b, how)]
        steps = {k: median_of(rows, lambda v, k=k: v["swap"]["steps_ms"][k]) for k in ("drain", "evict", "unload", "load", "configure")}
        floor = ours["floors"][b][how]
        least = floor["load_ms"] + floor["context_ms"]
        disk = ours["floors"][b]["read_ms"] / steps["load"] if how == "cold" and steps["load"] else 0
        print(f"| {a} | {b} | {how} | " + " | ".join(f"{v:,.0f} ms" for v in steps.values()) +
              f" | {median_of(rows, lambda v: v['swap']['total_ms']):,.0f} ms | {least:,.0f} ms | **{(steps['load'] + steps['configure']) / least:.2f}** "
              f"| {gib(median_of(rows, lambda v: v['read_bytes']))} | {median_of(rows, lambda v: v['written_bytes']) / 2**20:.0f} "
              f"| {f'{disk * 100:.0f} %' if disk else '-'} |")


def print_first_tokens(result):
    names = ["hotseat", *[p for p in PEERS if p in result]]
    print("\n| to | page cache | " + " | ".join(f"{n}, first token | peak, GiB (not mapped) | cached" for n in names) + " |\n|---|---|" +
          "---|---|---|" * len(names))
    visits = {n: result[n]["visits"] if n == "hotseat" else result[n] for n in names}
    for to, how in dict.fromkeys((v["to"], v["cache"]) for v in visits["hotseat"]):
        cells = []
        for n in names:
            rows = [v for v in visits[n] if (v["to"], v["cache"]) == (to, how)]
            cells.append(f"{median_of(rows, lambda v: v['first_ms']):,.0f} ms | {gib(max(v['peak_bytes'] for v in rows))} "
                         f"({gib(max(v['peak_anon_bytes'] for v in rows))}) | {rows[-1]['cached']} of {rows[-1]['prompt_tokens']}")
        print(f"| {to} | {how} | " + " | ".join(cells) + " |")
    least = min(v["least_available_bytes"] for v in visits["hotseat"])
    print(f"\nLeast memory available while hotseat ran: {gib(least)} GiB.")


def small(args):
    return bool(args.layers or args.width)


def bench_repack(args, shapes):
    result = {}
    for name, shape in shapes.items():
        for file_type in FILE_TYPES:
            path = write(args.folder / f"{name}-{file_type}.gguf", shape, file_type)
            result[path.stem] = compare_repack(path.stem, args.runs, 256, 16, args.folder)
            path.unlink()
    print_repack(result)
    return result


def file_of(args, name, shape):
    path = args.models / f"{name}-{args.type}.gguf"
    return path if args.models_in else write(path, shape, args.type)


def bench_restore(args, shapes):
    result = {}
    for name, shape in shapes.items():
        path = file_of(args, name, shape)
        result[name] = restores_of(path, shape, args)
        if not args.models_in:
            path.unlink()
    print_restores(result)
    return result


def bench_swaps(args, files):
    print("hotseat", flush=True)
    result = {"hotseat": bench_ours(args, files)}
    for peer in args.peers:
        print(peer, flush=True)
        result[peer] = bench_peer(args, files, result["hotseat"]["seats"], peer != PEERS[0])
    print_steps(result["hotseat"])
    print_first_tokens(result)
    return result


def room_for(args, shapes):
    """Why it can't be run here, or None."""
    files = [sum(tensor_bytes(d, k) for _, d, k in tensors_of(s, args.type)) for s in shapes.values()]
    size = (0 if args.models_in else max(files) if args.restore or args.repack else sum(files)) + (5 << 30)
    if shutil.disk_usage(CACHE).free < size:
        return f"{CACHE} has no room for {gib(size)} GiB"
    available = field("/proc/meminfo", "MemAvailable") << 10
    if not small(args) and available < bytes_of(args.memory):
        return f"{gib(available)} GiB of memory are available, {args.memory} are to be used"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="two or three of " + ", ".join(SHAPES) + "; default: all")
    parser.add_argument("--type", choices=FILE_TYPES, default="Q4_K_M")
    parser.add_argument("--memory", default="20G")
    parser.add_argument("--pool", default="4G")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--layers", type=int, help="models of so many layers")
    parser.add_argument("--width", type=int, help="and so wide")
    parser.add_argument("--peers", default=",".join(PEERS), help="of these, or none; as it comes it repacks the weights, for minutes a load")
    parser.add_argument("--models-in", type=pathlib.Path, help="the folder of files that are there already; they stay")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--repack", action="store_true", help="with repacked weights and without, one model after the other")
    modes.add_argument("--restore", action="store_true", help="conversations come back from the disk, one model after the other")
    modes.add_argument("--promises", action="store_true", help="refusals, failures, memory and hangs")
    parser.add_argument("--context", type=int, help="of the seat, with --restore; default: what the pool holds")
    args = parser.parse_args()
    names, args.peers = args.names or list(SHAPES), [p for p in args.peers.split(",") if p and p != "none"]
    if args.repack and args.models_in or args.context and not args.restore:
        parser.error("--repack writes its own files; --context goes with --restore")
    if len(set(names)) != len(names) or len(names) < (1 if args.repack or args.restore else 2) or set(names) - set(SHAPES) or set(args.peers) - set(PEERS):
        parser.error("two or three different models, please, and known peers")
    missing = [n for n in names if args.models_in and not (args.models_in / f"{n}-{args.type}.gguf").is_file()]
    if missing:
        parser.error(f"{args.models_in} has no {args.type} of {', '.join(missing)}")
    shapes = {n: scaled(SHAPES[n], args.layers, args.width) for n in names}
    reason = room_for(args, shapes)
    if reason:
        print(f"skip: {reason}", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended and the files removed
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    print(conditions(args.runs) + f"; --memory {args.memory} --pool {args.pool}" + ("; SMALL: figures say nothing" if small(args) else ""), flush=True)
    with tempfile.TemporaryDirectory(prefix="large.", dir=CACHE) as folder:
        args.folder = pathlib.Path(folder)
        args.models = args.models_in or args.folder
        if args.repack or args.restore:
            result = (bench_repack if args.repack else bench_restore)(args, shapes)
        else:
            files = {n: file_of(args, n, s) for n, s in shapes.items()}
            result = (bench_promises if args.promises else bench_swaps)(args, files)
    mode = "-repack" * args.repack + "-restore" * args.restore + "-promises" * args.promises
    (out / f"large{mode}{'-small' * small(args)}.json").write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
