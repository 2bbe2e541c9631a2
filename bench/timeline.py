#!/usr/bin/env python3
"""One swap as a picture: what each thread does when, from the spans that the server logs.

usage: bench/timeline.py [FROM TO] [--cold] [--out docs/swap-timeline.svg]

On FROM two streams run on until they are parked, half a second, and three agents have caches; somebody who has a cache of TO waits for it. --cold: TO's file has been forgotten
by the page cache. bench/large.py draws the same of its swaps. Times are the log's: milliseconds.
"""
import argparse
import datetime
import pathlib
import re
import signal
import sys
import tempfile
import threading
import time

from common import CACHE, GEMMA, MODELS, QWEN, ROOT, Stream, conditions, forget_file, hotseat, post, prompt_of, saved
from sim_plot import text

STEPS = {"DRAINING": "drain", "EVICTING": "evict", "UNLOADING": "unload", "STARTING": "start", "LOADING": "load", "CONFIGURING": "configure",
         "ROLLING_BACK": "way back"}
# Lines of the log that say how long something took when it is over: whose lane, what it was.
TOOK = {"weights.ahead": ("front, read-ahead", "next file read"), "weights.forgotten": ("front, read-ahead", "old file given up"),
        "seat.context": ("engine", "context, cells"), "seat.self_test": ("engine", "self-test"),
        "seat.hash": ("disk thread", "hash of the file"), "seat.caches_ahead": ("disk thread", "caches asked for")}
LANES = {"swap": "#c2410c", "front, read-ahead": "#2563eb", "engine": "#15803d", "disk thread": "#7c3aed", "who waits": "#64748b"}
DRAIN_S = 0.5
ROW, LEFT, WIDTH, TOP = 60, 130, 900, 40


def lines_of(log):
    """Of each line: seconds since 1970, its id, the whole line."""
    for line in log.splitlines():
        found = re.match(r"ts=(\S+)Z level=\S+ program=\S+ id=(\S+)", line)
        if found:
            yield datetime.datetime.fromisoformat(found[1] + "+00:00").timestamp(), found[2], line


def word(line, key):
    found = re.search(rf' {key}=("[^"]*"|\S+)', line)
    return found[1].strip('"') if found else ""


def engine_spans(lines):
    """libllama's own lines: the header and the vocabulary are read until it says that it loads the tensors, which takes until it makes a context."""
    out, began, what = [], None, None
    for ts, kind, line in lines:
        said = word(line, "text") if kind == "engine.llama" else ""
        state = word(line, "to") if kind == "swap.state" else ""
        if state == "LOADING":
            began, what = ts, "header, vocabulary"
        elif began and said.startswith("load_tensors: loading"):
            out.append(("engine", what, began, ts))
            began, what = ts, "weights mapped"
        elif began and (said.startswith("llama_context: constructing") or state == "CONFIGURING"):
            out.append(("engine", what, began, ts))
            began = None
    return out


def spans_of(log, number=-1):
    """The spans (lane, what, from, to) of a swap of this log, in seconds from its beginning, and whose it was. Default: the last one."""
    lines = list(lines_of(log))
    ends = [i for i, (_, kind, _) in enumerate(lines) if kind == "swap.done"]
    end = ends[number]
    begin = max(i for i, (_, kind, line) in enumerate(lines[:end]) if kind == "swap.state" and word(line, "from") in ("SERVING", "EMPTY", "FAILED"))
    own, spans = lines[begin:end + 1], []
    states = [(ts, word(line, "to")) for ts, kind, line in own if kind == "swap.state"]
    for (ts, state), (until, _) in zip(states, states[1:]):
        spans.append(("swap", STEPS[state], ts, until))
    zero, last = states[0][0], states[-1][0]
    for ts, kind, line in lines[begin:]:
        took = float(word(line, "ms") or 0) / 1e3
        if kind in TOOK and ts - took <= last and not (kind == "weights.ahead" and word(line, "bytes") == "0"):
            spans.append((*TOOK[kind], ts - took, ts))
    done = own[-1][2]
    return ([(lane, what, max(0, a - zero), b - zero) for lane, what, a, b in spans + engine_spans(own)],
            (word(done, "swap_from"), word(done, "swap_to")), zero)


def draw(path, title, spans):
    lanes = [lane for lane in LANES if any(s[0] == lane for s in spans)]
    longest = max(s[3] for s in spans)
    height, scale = TOP + ROW * len(lanes) + 40, WIDTH / longest
    out = [text(LEFT, 22, title, "start", 14)]
    tick = next(t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if longest / t <= 12)
    for i in range(int(longest / tick) + 1):
        x = LEFT + i * tick * scale
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - 36}" stroke="#e2e8f0"/>')
        out.append(text(x, height - 20, f"{i * tick:g} s"))
    for i, lane in enumerate(lanes):
        y, taken = TOP + i * ROW + 6, [[] for _ in range(3)]
        out.append(text(LEFT - 8, y + 20, lane, "end", 12))
        for _, what, begin, end in sorted((s for s in spans if s[0] == lane), key=lambda s: s[2] - s[3]):
            x, width = LEFT + begin * scale, max((end - begin) * scale, 1.5)
            label = f"{what} {(end - begin) * 1e3:,.0f} ms"
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="16" fill="{LANES[lane]}" fill-opacity="0.8"><title>{label}</title></rect>')
            until = x + 5.4 * len(label)  # the longest spans have the first choice of three lines for labels
            line = next((n for n, row in enumerate(taken) if all(until <= a or x >= b for a, b in row)), None)
            if line is not None and end - begin >= 0.001:
                out.append(text(x, y + 27 + 10 * line, label, "start", 10))
                taken[line].append((x, until))
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 120}" height="{height}" viewBox="0 0 {LEFT + WIDTH + 120} {height}" '
                    f'font-family="sans-serif" fill="#1e293b"><rect width="100%" height="100%" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")


def table(spans):
    print("\n| lane | what | from | to | took |\n|---|---|---|---|---|")
    for lane, what, begin, end in sorted(spans, key=lambda s: (list(LANES).index(s[0]), s[2])):
        print(f"| {lane} | {what} | {begin * 1e3:,.0f} ms | {end * 1e3:,.0f} ms | {(end - begin) * 1e3:,.0f} ms |")


def one_swap(server, old, new, cold):
    """The agent who waits: when it asked, when its first token came (seconds since 1970), and what its answer says."""
    def begin(model, prompt, n_tokens, agent):
        return Stream(server.url, "/v1/completions", {"model": model, "prompt": prompt, "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True,
                                                      "user": agent})
    said = prompt_of(600, 1)
    begin(new, said, 2, "back").done()
    for i in range(3):
        begin(old, prompt_of(600, 2 + i), 2, f"stays-{i}").done()
    saved(server)
    if cold:
        forget_file(MODELS / f"{new}.gguf")
    streams = [begin(old, prompt_of(300, 9 + i), 400, f"runs-{i}") for i in range(2)]
    for s in streams:
        s.until(4)
    swap = threading.Thread(target=post, args=(server.url, "/admin/models/swap", {"model": new, "drain_timeout_s": DRAIN_S}))
    swap.start()
    asked, since = time.time(), time.monotonic()
    back = begin(new, said + " and then", 4, "back").done()
    swap.join()
    for s in streams:
        s.leave()
    return asked, asked + (back.times[0] if back.times else back.ended) - since, back


def picture(path, old, new, cold):
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, \
            hotseat(folder, old, ("--pool", "128M", "--context", 8192, "--patience", 0, "--log-level", "debug")) as server:
        asked, first, back = one_swap(server, old, new, cold)
        spans, who, zero = spans_of(server.text())
    restored, read = ((back.hotseat.get(k) or 0) / 1e3 for k in ("restore_ms", "prefill_ms"))
    served = max(s[3] for s in spans if s[0] == "swap")
    spans += [("who waits", "for its model", max(0, asked - zero), served), ("who waits", "restore", served, served + restored),
              ("who waits", "prefill", served + restored, max(first - zero, served + restored))]
    draw(path, f"{who[0]} leaves, {who[1]} comes, its file {'cold' if cold else 'warm'}", spans)
    table(spans)
    print("\n" + conditions(1) + f"; restored tokens: {(back.usage.get('prompt_tokens_details') or {}).get('cached_tokens')}, restore {restored * 1e3:.0f} ms, "
          f"prefill {read * 1e3:.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="MODEL", default=[QWEN, GEMMA])
    parser.add_argument("--cold", action="store_true", help="the file of the model that comes is not in the page cache")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "swap-timeline.svg")
    args = parser.parse_args()
    if len(args.names) != 2:
        parser.error("the model that leaves and the one that comes, please")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is ended
    CACHE.mkdir(parents=True, exist_ok=True)
    picture(args.out, *args.names, args.cold)
    return 0


if __name__ == "__main__":
    sys.exit(main())
