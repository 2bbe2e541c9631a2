"""What things cost: the server around the engine, agents that stay in the cells, schemas with many values, weights that are repacked."""
import contextlib
import os
import pathlib
import re
import statistics
import tempfile
import time

from common import (GEMMA, MODELS, QWEN, SMOL, THREADS, Stream, both, delete, get, hotseat, metric, post, prompt_of, seat_of,
                    spread)

TICKS = os.sysconf("SC_CLK_TCK")


def process_cpu(pid):
    """Processor seconds of all threads of a process: Linux's clock of a process, see clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def threads_cpu(pid):
    """Processor seconds by thread, oldest thread first; in ticks of 10 ms."""
    out = {}
    for path in sorted(pathlib.Path(f"/proc/{pid}/task").iterdir(), key=lambda p: int(p.name)):
        fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
        out[int(path.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return out


def look(server, seat):
    """Processor seconds so far: the front, the seat's three threads (link, disk, engine; those after them are the engine's helpers), and
    the part of the engine's thread that was spent in the engine's steps."""
    parts = list(threads_cpu(seat).values())
    return {"front": process_cpu(server.p.pid), "link": parts[0], "disk": parts[1], "engine": parts[2],
            "decode": metric(server, "decode_cpu_seconds_total"), "steps": metric(server, "decode_calls_total")}


def overhead_of(server, n, salt, n_tokens):
    seat = seat_of(server)
    before = look(server, seat)
    streams = [Stream(server.url, "/v1/chat/completions",
                      {"messages": [{"role": "user", "content": prompt_of(16, salt + i)}], "max_tokens": n_tokens, "temperature": 0,
                       "ignore_eos": True}) for i in range(n)]
    for s in streams:
        s.done()
    used = {k: v - before[k] for k, v in look(server, seat).items()}
    tokens = sum(s.usage["completion_tokens"] for s in streams)
    outside = used["engine"] - used["decode"]
    row = {"step_ms": used["decode"] / used["steps"] * 1e3, "front_us": used["front"] / tokens * 1e6,
           "link_us": used["link"] / tokens * 1e6, "disk_us": used["disk"] / tokens * 1e6, "engine_us": outside / tokens * 1e6,
           "percent": (used["front"] + used["link"] + used["disk"] + outside) / used["decode"] * 100}
    return row | {"tokens": tokens, "steps": used["steps"]}


def bench_overhead(runs, quick):
    """Processor time of front and seat outside of the engine's steps, a token, against a step of SmolLM2."""
    result, rows = {}, []
    with tempfile.TemporaryDirectory() as folder, hotseat(folder, SMOL, ("--pool", "128M", "--context", 8192)) as server:
        overhead_of(server, 1, 1, 8)  # the engine's helpers start here
        n_threads = len(threads_cpu(seat_of(server)))
        if n_threads != 3 + THREADS - 1:
            raise RuntimeError(f"the seat has {n_threads} threads; this knows link, disk, engine and {THREADS - 1} helper(s)")
        for n in (1, 4):
            found = [overhead_of(server, n, 100 * (run + 1) + n, 64 if quick else 1800) for run in range(runs)]
            result[f"{n} streams"] = found
            m = {k: [f[k] for f in found] for k in found[0]}
            cells = [f"{spread(m[k], '{:.0f}')} us" for k in ("front_us", "link_us", "disk_us", "engine_us")]
            rows.append(f"| {n} | {spread(m['step_ms'])} ms | {' | '.join(cells)} | **{spread(m['percent'])} %** |")
            print(rows[-1], flush=True)
    print("\n| streams | a step, processor time of its thread | front, a token | seat's link | its disk thread "
          "| its engine's thread, outside of the steps | all of it, of the step |\n|---|---|---|---|---|---|---|\n" + "\n".join(rows))
    return result


def bench_idle(runs, quick):
    """What agents that stay in the cells cost each step of one stream that they have nothing to do with: SmolLM2, 1,000 tokens each."""
    counts, size, n_tokens = ((0, 4, 32), 40, 16) if quick else ((0, 4, 8, 16, 32), 1000, 128)
    speed = {k: [] for k in counts}
    with tempfile.TemporaryDirectory() as folder, hotseat(folder, SMOL, ("--pool", "640M", "--context", 8192), 16) as server:
        def ask(agent, n_prompt, salt, n):
            return post(server.url, "/v1/completions", {"model": SMOL, "prompt": f"{salt}. {prompt_of(n_prompt, salt)}", "max_tokens": n,
                                                        "temperature": 0, "ignore_eos": True, "user": agent})

        for i in range(max(counts)):  # read once; later they are put back from the disk, so that all are there within seconds
            ask(f"idle-{i}", size, i + 1, 1)
        tokens = []
        for run in range(runs):
            for k in counts:
                post(server.url, "/admin/models/offload", {})
                post(server.url, "/admin/models/swap", {"model": SMOL})
                tokens += [ask(f"idle-{i}", size, i + 1, 1)["usage"]["prompt_tokens"] for i in range(k)]
                figures = ask("", 32, 10000 + 100 * run + k, n_tokens)["hotseat"]
                resident = get(server.url, "/admin/models/current")["agents_resident"]
                if resident < k:
                    raise RuntimeError(f"{k} agents should be in the cells, {resident} are")
                speed[k].append(figures["decode_ms"] / figures["decode_tokens"])
    rows = [f"| {k} | {k * statistics.median(tokens):.0f} | {spread(v)} ms "
            f"| {spread([a / b for a, b in zip(v, speed[0])])} |" for k, v in speed.items()]
    print("\n| idle agents in the cells | their tokens | a step | against none |\n|---|---|---|---|\n" + "\n".join(rows))
    return {str(k): v for k, v in speed.items()}


def resident_mb(pid):
    """Resident memory of a process and, of that, what is not mapped from a file, in MB."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"^{k}:\s*(\d+) kB", text, re.M)[1]) / 1024 for k in ("VmRSS", "RssAnon")]


def load_and_ask(server, model, n_prompt, salt, n_tokens):
    """From an empty seat to the first token of one request, and its figures."""
    delete(server.url, "/admin/cache")
    post(server.url, "/admin/models/offload", {})
    body = {"model": model, "prompt": f"{salt}. {prompt_of(n_prompt, salt)}", "max_tokens": n_tokens, "temperature": 0, "ignore_eos": True}
    stream = Stream(server.url, "/v1/completions", body).done()
    h, memory = stream.hotseat, resident_mb(seat_of(server))
    return {"first_ms": stream.first_ms, "load_ms": stream.first_ms - h["prefill_ms"], "pp": h["prefill_tokens"] / h["prefill_ms"] * 1e3,
            "tg": h["decode_tokens"] / h["decode_ms"] * 1e3, "rss_mb": memory[0], "anon_mb": memory[1]}


def compare_repack(model, runs, n_prompt, n_tokens, models=MODELS):
    """One model with repacked weights and without, in turns, each time from an empty seat."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        servers = {}
        for way in ("off", "on"):
            place = pathlib.Path(folder) / way
            place.mkdir()
            (place / "hotseat.ini").write_text(f"[model {model}]\nrepack = {way}\n")
            extra = ("--config", place / "hotseat.ini", "--pool", "128M", "--context", 8192)
            servers[way] = stack.enter_context(hotseat(place / "cache", "none", extra, models=models))
        found = {way: [] for way in servers}
        for run in range(-1, runs):  # the first one measures the model and warms the page cache
            for way, server in servers.items():
                row = load_and_ask(server, model, n_prompt, 100 * (run + 2), n_tokens)
                if run >= 0:
                    found[way].append(row)
                post(server.url, "/admin/models/offload", {})
    return found


def print_repack(result):
    """result: what compare_repack() gave, by model."""
    rows, pays = [], []
    for model, found in result.items():
        m = {way: {k: [f[k] for f in v] for k in v[0]} for way, v in found.items()}
        for way, v in m.items():
            rows.append(f"| {model} | {way} | {spread(v['load_ms'], '{:.0f}')} ms | {spread(v['pp'], '{:.1f}')} t/s "
                        f"| {spread(v['tg'], '{:.1f}')} t/s | {statistics.median(v['rss_mb']):.0f} MB | {statistics.median(v['anon_mb']):.0f} MB |")
        off, on = ({k: statistics.median(v) for k, v in m[way].items()} for way in ("off", "on"))
        longer, saved_ms = on["load_ms"] - off["load_ms"], 1e3 / off["pp"] - 1e3 / on["pp"]
        pays.append(f"{model}: a load takes {longer:.0f} ms longer, a token of prompt {saved_ms:.3f} ms less, one of the answer "
                    f"{1e3 / off['tg'] - 1e3 / on['tg']:.3f} ms less; " +
                    (f"paid after {max(0, longer) / saved_ms:.0f} tokens of prompt a load." if saved_ms > 0 else "never paid by prompts."))
    print("\n| model | repack | empty seat to the prompt's first step | prefill | decode | resident | of that not mapped |\n"
          "|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n" + "\n".join(pays))


def bench_repack(runs, quick):
    """Load, prefill, decode and memory with and without repacked weights; after how many tokens of prompt the longer load has paid."""
    n_prompt, n_tokens = (100, 16) if quick else (640, 128)
    result = {model: compare_repack(model, runs, n_prompt, n_tokens) for model in ((GEMMA,) if quick else (SMOL, QWEN, GEMMA))}
    print_repack(result)
    return result


def bench_enum(runs, quick):
    """A schema with an enum of so many values: how long its answer takes, and the longest gap meanwhile of a stream beside it. Qwen."""
    counts, n_tokens = ((4, 20), 60) if quick else ((10, 100, 1000), 2000)
    rows = []
    with both(QWEN, 2) as servers:
        for n in counts:
            schema = {"type": "object", "properties": {"value": {"enum": [f"value number {i} of these" for i in range(n)]}},
                      "required": ["value"], "additionalProperties": False}
            times = {name: ([], []) for name in servers}
            for run in range(runs):
                for name, server in servers.items():
                    beside = Stream(server.url, "/v1/completions", {"prompt": prompt_of(32, 1000 * n + run), "max_tokens": n_tokens,
                                                                    "temperature": 0, "ignore_eos": True}).until(20)
                    began = time.monotonic()
                    answer = post(server.url, "/v1/chat/completions", {
                        "model": QWEN, "messages": [{"role": "user", "content": "Choose one."}], "temperature": 0.8, "seed": run, "max_tokens": 24,
                        "response_format": {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}})
                    ended = time.monotonic()
                    if answer["usage"]["completion_tokens"] < 2:
                        raise RuntimeError(f"{name} said nothing: {answer}")
                    beside.until(len(beside.times) + 2).leave()
                    at = [t for t in beside.times if t >= began - 1]
                    times[name][0].append(ended - began)
                    times[name][1].append(max(b - a for a, b in zip(at, at[1:])) * 1e3)
            rows += [{"values": n, "server": name, "answer_s": t[0], "gap_ms": t[1]} for name, t in times.items()]
            for row in rows[-2:]:
                print(f"| {n} | {row['server']} | {spread(row['answer_s'])} s | {spread(row['gap_ms'])} ms |", flush=True)
    return rows
