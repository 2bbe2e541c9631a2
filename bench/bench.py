#!/usr/bin/env python3
"""Benchmarks of hotseat beside llama.cpp's own programs, as ratios in one run.

usage: bench/bench.py [router] [steps] [restore] [stream] [memory] [--runs N]      (no name: all of them)

Needs `make build` and the pinned models; builds llama-server and llama-bench from the pinned source once.
Writes bench/out/results.json and prints tables for docs/benchmarks.md.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "hotseat"
PIN = "0.3.36"
ENGINE = pathlib.Path(os.environ.get("HOTSEAT_ENGINE_DIR") or CACHE / "engine" / PIN)
MODELS = CACHE / "models"
SMOL = "SmolLM2-135M-Instruct.Q4_1"
QWEN = "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M"
GEMMA = "gemma-3-270m-Q4_K_M"
THREADS = max(1, min(os.cpu_count() or 1, 2))
WORDS = ("river stone lantern quiet harvest window copper meadow signal thread winter anchor garden mirror "
         "bridge candle forest pepper marble island rocket violin planet basket hammer silver").split()


def tools():
    build = ENGINE / "build-tools"
    targets = ["llama-server", "llama-bench"]
    if not all((build / "bin" / t).exists() for t in targets):
        print("building llama-server and llama-bench from the pinned source (once)", flush=True)
        subprocess.run(["cmake", "-S", ENGINE / "src", "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
                        "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON",
                        "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_OPENSSL=OFF", "-DGGML_NATIVE=ON"],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", build, *targets], check=True, stdout=subprocess.DEVNULL)
    return build / "bin"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """A server as a child process; ended by its own id."""

    def __init__(self, argv, ready, env=None):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)
        self.p = subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log, env=env)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.p.poll() is not None:
                raise RuntimeError(f"{argv[0]} ended at start; see {self.log.name}")
            if ready(self):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{argv[0]} was not ready in 120 s; see {self.log.name}")

    def text(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def stop(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            try:
                self.p.wait(60)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return r.status == 200
    except OSError:
        return False


def hotseat(folder, model=SMOL, extra=()):
    def ready(p):
        m = re.search(r"hotseat: ready on (http://\S+)", p.text())
        if m:
            p.url = m.group(1)
        return bool(m) and answers(p.url + "/health/ready")

    return Program([ROOT / "build/release/hotseat", "serve", "--port", "0", "--models", MODELS, "--model", model,
                    "--cache-dir", folder, "--kv", "q8_0", "--threads", THREADS, "--parallel", 4, *extra], ready)


def router(folder):
    ini = pathlib.Path(folder) / "models.ini"
    common = f"flash-attn = on\ncache-type-k = q8_0\ncache-type-v = q8_0\nthreads = {THREADS}\nparallel = 4\nkv-unified = on\n"
    ini.write_text("".join(f"[{n}]\nmodel = {MODELS / n}.gguf\nctx-size = {c}\n{common}\n"
                           for n, c in ((SMOL, 8192), (QWEN, 16384))))
    port = free_port()

    def ready(p):
        p.url = f"http://127.0.0.1:{port}"
        return answers(p.url + "/health")

    return Program([tools() / "llama-server", "--models-preset", ini, "--models-max", 1, "--port", port, "--no-ui"],
                   ready)


def prompt_of(n_tokens, salt):
    """About n_tokens of words: most are one token for both vocabularies."""
    out, i = [], salt
    while len(out) < n_tokens * 0.95:
        i = (i * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(WORDS[i % len(WORDS)])
    return "Remember these words: " + " ".join(out)


def turn(url, model, agent, messages, max_tokens=8):
    """One streamed turn: time to the first content, the text, the usage."""
    body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, "prompt_cache_key": agent}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    start = time.monotonic()
    first, text, usage, extra = None, "", {}, {}
    with urllib.request.urlopen(request, timeout=600) as response:
        for raw in response:
            line = raw.decode().strip()
            if not line.startswith("data:") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[5:])
            if "error" in chunk:
                raise RuntimeError(line)
            for choice in chunk.get("choices", []):
                piece = choice.get("delta", {}).get("content") or ""
                if piece and first is None:
                    first = time.monotonic() - start
                text += piece
            usage = chunk.get("usage") or usage
            extra = chunk.get("hotseat") or extra
    return {"ttft_ms": (first or time.monotonic() - start) * 1e3, "text": text, "usage": usage, "hotseat": extra}


def returning(url, sizes, runs):
    """An agent on SmolLM2 and one on Qwen take turns; each coming back is timed, the swap included."""
    out = []
    for model, other in ((SMOL, QWEN), (QWEN, SMOL)):
        for n in sizes:
            talk = [{"role": "user", "content": prompt_of(n, n + len(model))}]
            cold = turn(url, model, f"bench-{n}", talk)
            talk.append({"role": "assistant", "content": cold["text"]})
            times, cached, prompt = [], [], 0
            for i in range(runs if n < 3000 else 1):  # the router reads for a minute each time
                turn(url, other, "bench-other", [{"role": "user", "content": "Say one word."}])
                talk.append({"role": "user", "content": f"And which word was number {i + 2}?"})
                warm = turn(url, model, f"bench-{n}", talk)
                talk.append({"role": "assistant", "content": warm["text"]})
                times.append(warm["ttft_ms"])
                prompt = warm["usage"].get("prompt_tokens", 0)
                cached.append((warm["usage"].get("prompt_tokens_details") or {}).get("cached_tokens", 0))
            out.append({"model": model, "tokens": n, "prompt_tokens": prompt, "cold_ms": cold["ttft_ms"],
                        "return_ms": statistics.median(times), "cached": cached,
                        "figures": warm["hotseat"]})
            print(f"  {model:40} {prompt:6} tokens  cold {cold['ttft_ms']:8.0f} ms  "
                  f"return {statistics.median(times):8.0f} ms  cached {cached}", flush=True)
    return out


def bench_router(runs):
    sizes = (500, 1500, 6000)
    result = {}
    # A pool as large as the router's caches (8,192 and 16,384 cells), for the whole buffer is touched when it is made; and no patience: the
    # router has none. By default an idle model keeps the seat for as long as a swap takes before another one gets it.
    small = ("--pool", "128M", "--context", 8192, "--patience", 0)
    for name, start in (("hotseat", lambda folder: hotseat(folder, extra=small)), ("llama-server router", router)):
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder, start(folder) as server:
            result[name] = returning(server.url, sizes, runs)
    print("\n| model | prompt tokens | router, return | hotseat, return | ratio | cached there / here |\n|---|---|---|---|---|---|")
    for a, b in zip(result["llama-server router"], result["hotseat"]):
        b["ratio"] = a["return_ms"] / b["return_ms"]
        print(f"| {a['model']} | {b['prompt_tokens']} | {a['return_ms']:.0f} ms | {b['return_ms']:.0f} ms "
              f"| {b['ratio']:.1f} | {a['cached'][-1]} / {b['cached'][-1]} |")
    return result


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as r:
        return json.load(r)


def get(url, path):
    with urllib.request.urlopen(url + path, timeout=60) as r:
        return json.load(r)


def delete(url, path):
    with urllib.request.urlopen(urllib.request.Request(url + path, method="DELETE"), timeout=60) as r:
        return json.load(r)


def bench_steps(runs):
    """The steps of a swap; load and context against a program that does nothing else, in turns."""
    floor = ROOT / "build/release/floor_load"
    result = {}
    with tempfile.TemporaryDirectory() as folder, hotseat(folder) as server:
        for model in (SMOL, QWEN):
            steps, floors = [], []
            for i in range(runs):
                post(server.url, "/admin/models/offload", {})
                swap = post(server.url, "/admin/models/swap", {"model": model})
                steps.append(swap["steps_ms"])
                seat = get(server.url, "/admin/models/current")
                line = subprocess.run([floor, MODELS / f"{model}.gguf", str(seat["cells"]), str(seat["sequences"] + 1),
                                       "512", str(THREADS)], capture_output=True, text=True, check=True).stdout
                floors.append(json.loads(line))
            row = {k: statistics.median(s[k] for s in steps) for k in steps[0]}
            row["floor_load"] = statistics.median(f["load_ms"] for f in floors)
            row["floor_context"] = statistics.median(f["context_ms"] for f in floors)
            row["ratio"] = (row["load"] + row["configure"]) / (row["floor_load"] + row["floor_context"])
            result[model] = row
            print(f"  {model:40} " + "  ".join(f"{k} {v:.1f}" for k, v in row.items()), flush=True)
    return result


def saved(server):
    """Waits until nothing is on its way to the disk."""
    while True:
        with urllib.request.urlopen(server.url + "/metrics", timeout=60) as r:
            if re.search(r"^hotseat_cache_dirty_bytes 0$", r.read().decode(), re.M):
                return
        time.sleep(0.2)


def bench_restore(runs):
    """Putting a conversation back against a program that does no more than read, check, set_data and seq_cp on the same files, in
    turns; and against the prefill that it saves."""
    floor = ROOT / "build/release/floor_restore"
    result = {}
    for model, other in ((SMOL, QWEN), (QWEN, SMOL)):
        for n in (500, 1500, 6000) if runs > 2 else (500, 1500):
            with tempfile.TemporaryDirectory() as folder, hotseat(folder, model) as server:
                talk = [{"role": "user", "content": prompt_of(n, n)}]
                cold = turn(server.url, model, "bench", talk)
                saved(server)
                (tag,) = (pathlib.Path(folder) / "blocks").iterdir()
                seat = get(server.url, "/admin/models/current")
                ours, floors = [], []
                for _ in range(runs):
                    post(server.url, "/admin/models/swap", {"model": other})
                    post(server.url, "/admin/models/swap", {"model": model})
                    figures = turn(server.url, model, "bench", talk)
                    ours.append(figures["hotseat"]["restore_ms"])
                    line = subprocess.run([floor, MODELS / f"{model}.gguf", tag, str(seat["cells"]), str(seat["sequences"] + 1),
                                           str(THREADS)], capture_output=True, text=True, check=True).stdout
                    floors.append(json.loads(line)["restore_ms"])
                saved_ms = cold["hotseat"]["prefill_ms"]
                row = {"cached": figures["usage"]["prompt_tokens_details"]["cached_tokens"], "restore_ms": statistics.median(ours),
                       "floor_ms": statistics.median(floors), "prefill_ms": saved_ms}
                row |= {"of_floor": row["restore_ms"] / row["floor_ms"], "of_prefill": row["restore_ms"] / saved_ms}
                result[f"{model} {n}"] = row
                print(f"  {model:40} " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
    return result


def seat_of(server):
    children = subprocess.run(["pgrep", "-P", str(server.p.pid)], capture_output=True, text=True, check=True).stdout.split()
    return int(children[0])


def kernel_written(pid):
    return int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


def bench_memory(runs):
    """What stays after an unload, over swaps of three vocabularies; what the kernel saw written by swaps without a new token."""
    del runs
    with tempfile.TemporaryDirectory() as folder, hotseat(folder) as server:
        unloaded, kinds = [], []
        turn(server.url, SMOL, "bench", [{"role": "user", "content": prompt_of(1500, 1)}])
        for i in range(100):
            swap = post(server.url, "/admin/models/swap", {"model": (QWEN, GEMMA, SMOL)[i % 3]})
            unloaded.append(swap["memory"]["unloaded_bytes"])
            kinds.append(swap["kind"])
        saved(server)
        pid = seat_of(server)
        before, files = kernel_written(pid), len(list((pathlib.Path(folder) / "blocks").rglob("*.kv")))
        for i in range(20):
            post(server.url, "/admin/models/swap", {"model": (QWEN, SMOL)[i % 2]})
        row = {"hot": kinds.count("hot"), "unloaded_max": max(unloaded), "unloaded_20": unloaded[19], "unloaded_100": unloaded[99],
               "growth_a_swap": (unloaded[99] - unloaded[19]) / 80, "files": files,
               "written_by_20_swaps": kernel_written(pid) - before}
    print("  " + "  ".join(f"{k} {v:.0f}" for k, v in row.items()), flush=True)
    return row


def bench_stream(runs):
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


STAGES = {"router": bench_router, "steps": bench_steps, "restore": bench_restore, "stream": bench_stream, "memory": bench_memory}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    out = ROOT / "bench" / "out"
    out.mkdir(exist_ok=True)
    path = out / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in args.stages or STAGES:
        print(f"== {name}", flush=True)
        results[name] = STAGES[name](args.runs)
        path.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
