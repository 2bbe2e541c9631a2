#!/usr/bin/env python3
"""Benchmarks of hotseat beside llama.cpp's own programs, as ratios in one run.

usage: bench/bench.py [NAME ...] [--runs N] [--quick]      (no name: all of them, an hour or two)

Needs `make build` and the pinned models; builds llama-server and llama-bench from the pinned source once.
Writes bench/out/results.json and prints tables for docs/benchmarks.md. Ends with 1 if a stage failed.
"""
import argparse
import json
import signal
import sys
import traceback

from common import ROOT, conditions
from costs import bench_enum, bench_idle, bench_overhead, bench_repack
from front import bench_front
from mixed import bench_mixed
from streams import bench_bound, bench_gaps, bench_stream, bench_streams
from swaps import bench_disk, bench_memory, bench_restore, bench_router, bench_steps
from tool_calls import bench_tools

# What runs, and how many times unless --runs says so.
STAGES = {
    "router": (bench_router, 5), "steps": (bench_steps, 5), "restore": (bench_restore, 5), "stream": (bench_stream, 5),
    "memory": (bench_memory, 1), "disk": (bench_disk, 5), "streams": (bench_streams, 5), "gaps": (bench_gaps, 5), "bound": (bench_bound, 12),
    "overhead": (bench_overhead, 5), "idle": (bench_idle, 3), "enum": (bench_enum, 3), "repack": (bench_repack, 5),
    "front": (bench_front, 3), "mixed": (bench_mixed, 1), "tools": (bench_tools, 1),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("stages", nargs="*", metavar="NAME", help=", ".join(STAGES))
    parser.add_argument("--runs", type=int, help="how often each thing is measured; default: by stage")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that a stage works; its figures say nothing")
    args = parser.parse_args()
    for name in args.stages:
        if name not in STAGES:
            parser.error(f"no stage is named {name}; there are {', '.join(STAGES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    path = out / ("quick.json" if args.quick else "results.json")
    results = json.loads(path.read_text()) if path.exists() else {}
    failed = []
    for name in args.stages or STAGES:
        stage, runs = STAGES[name]
        runs = args.runs or (1 if args.quick else runs)
        print(f"== {name}\n{conditions(runs)}", flush=True)
        try:
            results[name] = stage(runs, args.quick)
        except Exception:  # the other stages still run
            traceback.print_exc()
            failed.append(name)
        path.write_text(json.dumps(results, indent=1))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
