"""Streams: one against llama-bench, several against llama-server, and what a long prompt beside them does to all."""
import itertools
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time

from common import (MODELS, QWEN, SMOL, THREADS, Stream, both, delete, hotseat, percentile, post, prompt_of, spread, tools)


def bench_stream(runs, _quick):
    """Prefill and decode of one stream against llama-bench with the same settings and the same number of tokens before the first
    generated one, in turns. Nothing else is in the cells."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for model in (SMOL, QWEN):
            ours, theirs = {"pp": [], "tg": []}, {"pp": [], "tg": []}
            with hotseat(folder, model) as server:
                for i in range(runs):
                    body = {"model": model, "prompt": prompt_of(640, 1000 + i), "max_tokens": 64, "temperature": 0,
                            "ignore_eos": True}
                    delete(server.url, "/admin/cache")
                    h = post(server.url, "/v1/completions", body)["hotseat"]
                    ours["pp"].append(h["prefill_tokens"] / h["prefill_ms"] * 1e3)
                    ours["tg"].append(h["decode_tokens"] / h["decode_ms"] * 1e3)
                    n = str(h["prefill_tokens"])
                    for kind, what in (("pp", ["-p", n, "-n", "0"]), ("tg", ["-p", "0", "-n", "64", "-d", n])):
                        line = subprocess.run([tools() / "llama-bench", "-m", MODELS / f"{model}.gguf", "-t", str(THREADS),
                                               "-ctk", "q8_0", "-ctv", "q8_0", "-fa", "1", "--repack", "0", "-r", "1", *what,
                                               "-o", "json"], capture_output=True, text=True, check=True).stdout
                        theirs[kind].append(json.loads(line)[0]["avg_ts"])
            row = {k: statistics.median(v) for k, v in ours.items()}
            row |= {"bench_" + k: statistics.median(v) for k, v in theirs.items()}
            row |= {"pp_ratio": row["pp"] / row["bench_pp"], "tg_ratio": row["tg"] / row["bench_tg"]}
            result[model] = row
            print(f"  {model:40} " + "  ".join(f"{k} {v:.2f}" for k, v in row.items()), flush=True)
    return result


def completion(server, n_prompt, salt, max_tokens):
    """A stream of exactly max_tokens tokens after a prompt that nobody has sent before."""
    body = {"prompt": f"{salt}. {prompt_of(n_prompt, salt)}", "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True}
    return Stream(server.url, "/v1/completions", body)


def burst(server, n, salt, n_tokens):
    """Generated tokens a second of n streams that begin together, from sending to the last token of the last one."""
    began = time.monotonic()
    streams = [completion(server, 64, salt + i, n_tokens) for i in range(n)]
    generated = [s.done().usage["completion_tokens"] for s in streams]
    if generated != [n_tokens] * n:
        raise RuntimeError(f"asked for {n_tokens} tokens a stream, got {generated}")
    return sum(generated) / (max(s.ended for s in streams) - began)


def steady(server, n, salt, n_tokens):
    """Generated tokens a second of n clients who ask again as soon as they have an answer, of half of n_tokens to three halves: all
    answers over all the time, so that a server which reads prompts sooner or later than another one gains nothing by where a window ends."""
    answers, n_answers = [[] for _ in range(n)], max(3, 12 // n)

    def client(i):
        lengths = random.Random(i)
        for k in range(n_answers):
            length = lengths.randint(n_tokens // 2, n_tokens * 3 // 2)
            answers[i].append(completion(server, 64, salt + 100 * k + i, length).done())

    began = time.monotonic()
    clients = [threading.Thread(target=client, args=(i,)) for i in range(n)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    done = [s for a in answers for s in a]
    if len(done) != n * n_answers:
        raise RuntimeError(f"{len(done)} answers instead of {n * n_answers}")
    return sum(s.usage["completion_tokens"] for s in done) / (max(s.ended for s in done) - began)


def first_tokens(server, n, salt, n_long):
    """Time to the first token of n short requests, one after the other, while there is always a long prompt being read."""
    out, long = [], completion(server, n_long, salt, 1)
    for i in range(n):
        time.sleep(0.2)
        if not long.is_alive():
            long.done()
            long = completion(server, n_long, salt + n + i, 1)
            time.sleep(0.2)
        out.append(completion(server, 32, salt + 2 * n + i, 4).done().first_ms)
    long.done()  # to its end: llama-server goes on with a batch whose client has left, and the next measurement is another server's
    return out


def bench_streams(runs, quick):
    """Throughput by the number of streams, and first tokens of short requests beside long prompts, against llama-server, in turns."""
    result, names = {}, ("hotseat", "llama-server")
    n_tokens, n_short, n_long = (16, 4, 600) if quick else (128, 20, 2000)
    rows = []
    for model in (SMOL,) if quick else (SMOL, QWEN):
        for n in (1, 4) if quick else (1, 2, 4, 8, 16):
            with both(model, n) as servers:
                speed = {how.__name__: {name: [] for name in names} for how in (steady, burst)}
                for run in range(runs + 1):  # the first warms up
                    turns = names[::-1] if run % 2 == 0 else names  # who is first is not always the same
                    for how, name in itertools.product((steady, burst) if run else (burst,), turns):
                        value = how(servers[name], n, 10000 * (run + 1) + 5000 * (how is burst), n_tokens if run else 8)
                        if run:
                            speed[how.__name__][name].append(value)
            result[f"{model} {n}"] = speed
            cells = []
            for found in speed.values():
                cells += [spread(found[name], "{:.1f}") for name in names]
                cells.append(f"**{spread([a / b for a, b in zip(*found.values())])}**")
            rows.append(f"| {model} | {n} | " + " | ".join(cells) + " |")
            print(rows[-1], flush=True)
    beside = []
    for model in (SMOL,) if quick else (SMOL, QWEN):
        with both(model, 4) as servers:
            first = {name: [] for name in names}
            for run in range(runs):
                for name in names:
                    first[name] += first_tokens(servers[name], n_short, 100000 + 1000 * run, n_long)
        result[f"{model} beside long prompts"] = first
        for name in names:
            v = first[name]
            beside.append(f"| {model} | {name} | {statistics.median(v):.0f} ms | {percentile(v, 99):.0f} ms | {max(v):.0f} ms | {len(v)} |")
            print(beside[-1], flush=True)
    print("\n| model | streams | one after the other: hotseat, t/s | llama-server, t/s | ratio | at once: hotseat, t/s | llama-server, t/s | ratio |\n"
          "|---|---|---|---|---|---|---|---|\n" + "\n".join(rows))
    print("\n| model | server | first token, median | p99 | longest | requests |\n|---|---|---|---|---|---|\n" + "\n".join(beside))
    print(f"\nPrompts of 64 tokens, answers of {n_tokens}; long prompts of about {n_long} tokens, short ones of 32.")
    return result


def bench_bound(runs, quick):
    """What the bound on gaps costs two streams one after the other: hotseat with it and without, and llama-server, in turns."""
    with tempfile.TemporaryDirectory() as folder, both(SMOL, 2) as servers:
        with hotseat(folder, SMOL, ("--pool", "128M", "--context", 8192, "--token-gap", 100), 2) as unbound:
            servers["hotseat, --token-gap 100"] = unbound
            turns = itertools.cycle(itertools.permutations(servers))
            speed = {name: [] for name in servers}
            for run in range(runs + 1):  # the first warms up
                for name in next(turns):
                    value = steady(servers[name], 2, 10000 * (run + 1), 16 if quick else 128)
                    if run:
                        speed[name].append(value)
    rows = []
    for name, found in speed.items():
        cells = [spread(found, "{:.1f}")]
        for peer in ("llama-server", "hotseat, --token-gap 100"):
            ratios = [a / b for a, b in zip(found, speed[peer])]
            error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else 0
            cells.append(f"**{statistics.mean(ratios):.3f}** +- {error:.3f}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    print("\n| server | t/s | of llama-server's | of --token-gap 100's |\n|---|---|---|---|\n" + "\n".join(rows))
    print("\nMeans of the pairs' ratios, with their standard errors.")
    return speed


def gaps(server, salt, n_long, n_undisturbed):
    """Two streams, undisturbed and then with a long prompt beside them; and the same sort of prompt alone."""
    streams = [completion(server, 32, salt + i, 1500) for i in range(2)]
    for s in streams:
        s.until(8)
    began = time.monotonic()
    for s in streams:
        s.until(8 + n_undisturbed)
    middle = time.monotonic()
    long = completion(server, n_long, salt + 2, 1).done()
    if not all(s.is_alive() for s in streams):
        raise RuntimeError("a stream ended before the long prompt was read")
    for s in streams:
        s.leave()
    time.sleep(0.5)
    alone = completion(server, n_long, salt + 3, 1).done()
    n = long.usage["prompt_tokens"], alone.usage["prompt_tokens"]
    return {"quiet": [g for s in streams for g in s.gaps_ms(began, middle)],
            "beside": [g for s in streams for g in s.gaps_ms(middle, long.ended)],
            "prefill_beside": n[0] / long.first_ms * 1e3, "prefill_alone": n[1] / alone.first_ms * 1e3}


def bench_gaps(runs, quick):
    """How long two streams wait for a token while a long prompt is read, and how long that takes, against llama-server, in turns."""
    result, rows = {}, []
    n_long, n_undisturbed = (600, 20) if quick else (2000, 150)
    for model in (SMOL,) if quick else (SMOL, QWEN):
        with both(model, 4) as servers:
            found = {name: [] for name in servers}
            for run in range(runs):
                for name, server in servers.items():
                    found[name].append(gaps(server, 10000 * (run + 1), n_long, n_undisturbed))
        for name, all_runs in found.items():
            quiet, beside = ([g for r in all_runs for g in r[k]] for k in ("quiet", "beside"))
            q, b = statistics.median(quiet), statistics.median(beside)
            speed = {k: [r[f"prefill_{k}"] for r in all_runs] for k in ("beside", "alone")}
            result[f"{model} {name}"] = {"runs": all_runs}
            rows.append(f"| {model} | {name} | {q:.1f} / {percentile(quiet, 99):.1f} ms | {b:.0f} / {percentile(beside, 99):.0f} / "
                        f"{max(beside):.0f} ms | {b / q:.1f} | {percentile(beside, 99) / percentile(quiet, 99):.1f} "
                        f"| {spread(speed['beside'], '{:.0f}')} | {spread(speed['alone'], '{:.0f}')} |")
            print(rows[-1], flush=True)
    print("\n| model | server | gap, undisturbed: median / p99 | beside a prompt: median / p99 / longest | ratio of the medians | of the p99 "
          "| prefill beside, t/s | alone, t/s |\n|---|---|---|---|---|---|---|---|\n" + "\n".join(rows))
    print(f"\nTwo streams, then one prompt of about {n_long} tokens.")
    return result
