#!/usr/bin/env python3
"""Runs the simulator of turns, draws one SVG for each trace into docs/sim/, and prints the tables of docs/scheduling.md.

usage: bench/sim_plot.py [PROGRAM] [SEEDS]     (make sim)
Every figure is the average over the seeds 1 to SEEDS (20).
"""
import json
import math
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
POLICIES = {"hotseat": "#c2410c", "first come": "#64748b", "exhaustive": "#2563eb", "slices": "#15803d"}
W, H, LEFT, TOP, GAP = 360, 240, 56, 34, 40


def text(x, y, words, anchor="middle", size=11, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" {more}>{words}</text>'


def lines(rows, key, title, x0):
    """One panel: load against seconds, both as they are measured, seconds on a logarithmic axis."""
    loads = sorted({r["load"] for r in rows})
    top = max(max(r[key] for r in rows), 10)
    low, high = -1, math.ceil(math.log10(top))

    def xy(r):
        y = (math.log10(max(r[key], 0.1)) - low) / (high - low)
        return x0 + LEFT + (r["load"] - loads[0]) / (loads[-1] - loads[0]) * W, TOP + H - y * H
    out = [text(x0 + LEFT + W / 2, TOP - 12, title, size=13)]
    for decade in range(low, high + 1):
        y = TOP + H - (decade - low) / (high - low) * H
        out.append(f'<line x1="{x0 + LEFT}" y1="{y:.0f}" x2="{x0 + LEFT + W}" y2="{y:.0f}" stroke="#e2e8f0"/>')
        out.append(text(x0 + LEFT - 6, y + 4, f"{10 ** decade:g} s", "end"))
    for load in loads:
        out.append(text(xy({"load": load, key: 1})[0], TOP + H + 16, f"{load:g}"))
    for policy, colour in POLICIES.items():
        points = [xy(r) for r in rows if r["policy"] == policy]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{3 if policy == "hotseat" else 1.5}"/>')
    return out


def bars(rows, key, title, unit, x0):
    top = max(r[key] for r in rows) or 1
    out = [text(x0 + LEFT + W / 2, TOP - 12, title, size=13)]
    for i, r in enumerate(rows):
        y, width = TOP + 20 + i * 48, r[key] / top * (W - 90)
        out.append(f'<rect x="{x0 + LEFT + 20}" y="{y}" width="{width:.1f}" height="26" fill="{POLICIES[r["policy"]]}"/>')
        out.append(text(x0 + LEFT + 26 + width, y + 18, f"{r[key]:,.1f}{unit}", "start"))
    return out


def draw(trace, rows):
    closed = rows[0]["load"] == 0
    if closed:
        panels = bars(rows, "answers_per_hour", "answers an hour", "", 0) + bars(rows, "swaps_per_hour", "swaps an hour", "", LEFT + W + GAP)
    else:
        panels = lines(rows, "wait_mean", "mean wait, by load", 0) + lines(rows, "wait_p99", "wait, 99th percentile, by load", LEFT + W + GAP)
    width, height = 2 * (LEFT + W) + GAP + 20, TOP + H + 60
    for i, (policy, colour) in enumerate(POLICIES.items()):
        x = LEFT + i * 130
        panels.append(f'<rect x="{x}" y="{height - 24}" width="12" height="12" fill="{colour}"/>')
        panels.append(text(x + 18, height - 14, policy, "start"))
    name = trace.replace(",", "").replace(" ", "-")
    path = ROOT / "docs" / "sim" / f"{name}.svg"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
                    f'font-family="sans-serif" fill="#1e293b"><rect width="100%" height="100%" fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n")


def table(rows):
    print("\n| trace | load | policy | answers an hour | mean wait | p99 | longest | swaps an hour |\n|---|---|---|---|---|---|---|---|")
    for r in rows:
        if r["load"] not in (0, 0.5, 0.9):
            continue
        load = f"{r['load']:g}" if r["load"] else "-"
        print(f"| {r['trace']} | {load} | {r['policy']} | {r['answers_per_hour']:,.0f} | {r['wait_mean']:,.1f} s | {r['wait_p99']:,.0f} s "
              f"| {r['wait_max']:,.0f} s | {r['swaps_per_hour']:.0f} |")
    print("\n| trace | load | waits over 1 s: median error of the estimate | 90th percentile |\n|---|---|---|---|")
    for r in rows:
        if r["policy"] == "hotseat" and r["load"] in (0, 0.5, 0.9):
            print(f"| {r['trace']} | {r['load']:g} | {r['error_median']:.1f} s | {r['error_p90']:.1f} s |")


def dominated(rows):
    """Where another policy is better or equal in everything that counts, and better in one."""
    keys, ours = ("wait_mean", "wait_p99", "wait_max", "swaps_per_hour"), [r for r in rows if r["policy"] == "hotseat"]
    found = [(r, o) for r in ours for o in rows if (o["trace"], o["load"]) == (r["trace"], r["load"])
             and all(o[k] <= r[k] for k in keys) and any(o[k] < r[k] for k in keys)]
    print(f"\nAhead of ours in all of {', '.join(keys)}: {len(found)} of {len(ours)} pairs of trace and load")
    for r, o in found:
        print(f"  {r['trace']} at {r['load']:g}: {o['policy']}")


def average(program, seeds):
    runs = [[json.loads(line) for line in subprocess.run([program, str(seed)], capture_output=True, text=True, check=True).stdout.splitlines()]
            for seed in range(1, seeds + 1)]
    rows = []
    for same in zip(*runs):
        assert len({(r["trace"], r["load"], r["policy"]) for r in same}) == 1
        row = {k: v if isinstance(v, str) else statistics.fmean(r[k] for r in same) for k, v in same[0].items()}
        row["answers_per_hour"] = row["done"] / row["hours"]
        rows.append(row)
    return rows


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release/sim_turns"
    rows = average(program, int(sys.argv[2]) if len(sys.argv) > 2 else 20)
    for trace in dict.fromkeys(r["trace"] for r in rows):
        draw(trace, [r for r in rows if r["trace"] == trace])
    table(rows)
    dominated(rows)


if __name__ == "__main__":
    main()
