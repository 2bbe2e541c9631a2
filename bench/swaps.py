"""Swaps: an agent that comes back, the steps, putting back, what stays in memory, what the disk costs."""
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from common import (CACHE, GEMMA, MODELS, QWEN, RELEASE, SMOL, THREADS, Stream, forget_file, get, hotseat, kernel_written, post, prompt_of,
                    router, saved, seat_of, turn)


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


def bench_router(runs, _quick):
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


def bench_steps(runs, _quick):
    """The steps of a swap; load and context against a program that does nothing else, in turns."""
    floor = RELEASE / "floor_load"
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


def bench_restore(runs, _quick):
    """Putting a conversation back against a program that does no more than read, check, set_data and seq_cp on the same files, in
    turns; and against the prefill that it saves."""
    floor = RELEASE / "floor_restore"
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


def forget_pages(folder):
    """The files' pages leave the page cache."""
    for path in pathlib.Path(folder).rglob("*.*"):
        forget_file(path)


def read_all(folder):
    """Milliseconds of reading the files whole, one after the other."""
    paths = sorted(pathlib.Path(folder).rglob("*.kv"), key=lambda p: p.stat().st_mtime_ns)
    buffer = bytearray(max(p.stat().st_size for p in paths))
    began = time.monotonic()
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.readv(fd, [buffer])
        os.close(fd)
    return (time.monotonic() - began) * 1e3


def cold_restores(runs):
    """A restore from the disk itself against reading the same files, both with the page cache forgotten, in turns."""
    result = {}
    for model, other in ((SMOL, QWEN), (QWEN, SMOL)):
        with tempfile.TemporaryDirectory(dir=CACHE) as folder, hotseat(folder, model) as server:
            talk = [{"role": "user", "content": prompt_of(1500, 3)}]
            turn(server.url, model, "bench", talk)
            saved(server)
            (tag,) = (pathlib.Path(folder) / "blocks").iterdir()
            ours, floors = [], []
            for _ in range(runs):
                post(server.url, "/admin/models/swap", {"model": other})
                post(server.url, "/admin/models/swap", {"model": model})
                forget_pages(tag)
                ours.append(turn(server.url, model, "bench", talk)["hotseat"]["restore_ms"])
                forget_pages(tag)
                floors.append(read_all(tag))
            row = {"restore_ms": statistics.median(ours), "read_ms": statistics.median(floors),
                   "bytes": sum(p.stat().st_size for p in tag.rglob("*.kv"))}
            result[f"cold restore {model}"] = row | {"of_read": row["restore_ms"] / row["read_ms"]}
    return result


def writes(model):
    """Bytes that the kernel saw written for a turn, and bytes of its files, for each byte of KV."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, hotseat(folder, model) as server:
        before = kernel_written(seat_of(server))
        turn(server.url, model, "bench", [{"role": "user", "content": prompt_of(1500, 4)}])
        saved(server)
        time.sleep(2)  # the index follows after a second without work
        written = kernel_written(seat_of(server)) - before
        heads = [path.open("rb").read(56) for path in (pathlib.Path(folder) / "blocks").rglob("*.kv")]
        sizes = [path.stat().st_size for path in (pathlib.Path(folder) / "blocks").rglob("*.kv")]
    tokens = [int.from_bytes(h[24:28], "little") for h in heads]
    kv = [int.from_bytes(h[40:48], "little") for h in heads]
    full = [i for i, n in enumerate(tokens) if n == 256]
    return {"tokens": sum(tokens), "kv_bytes": sum(kv), "written_per_kv": written / sum(kv),
            "file_per_kv_filled": sum(sizes[i] for i in full) / sum(kv[i] for i in full),
            "file_per_kv": sum(sizes) / sum(kv)}


def slow_disk(runs):
    """Decode of long streams whose blocks go to a disk that takes 100 ms a call in every other window of 256 tokens: a block is written in each,
    and a slow window is compared with the two beside it. With the ends of the interval that holds the median in 95 of 100 cases."""
    window, windows, ratios = 256, 29, []
    with tempfile.TemporaryDirectory() as folder, hotseat(folder, extra=("--debug",)) as server:
        for i in range(runs):
            stream = Stream(server.url, "/v1/completions", {"model": SMOL, "prompt": prompt_of(400, 2000 + i), "max_tokens": window * windows,
                                                            "temperature": 0, "ignore_eos": True, "user": f"slow-{i}"})
            for k in range(windows):
                while stream.ended is None and len(stream.times) < window * k:
                    time.sleep(0.002)
                post(server.url, "/admin/debug/fault", {"name": "disk_slow", "times": -1 if k % 2 else 0, "arg": 100})
            stream.join()
            post(server.url, "/admin/debug/fault", {"name": "disk_slow", "times": 0})
            if stream.error:
                raise stream.error
            took = [stream.times[window * k + window - 1] - stream.times[window * k] for k in range(1, len(stream.times) // window)]
            ratios += [(took[k - 1] + took[k + 1]) / 2 / took[k] for k in range(2, len(took) - 1, 2)]  # took[0] is window 1, a slow one
            saved(server)
    ratios.sort()
    middle, reach = len(ratios) / 2, 0.98 * len(ratios) ** 0.5
    return {"windows": len(ratios), "ratio": statistics.median(ratios), "from": ratios[int(middle - reach)], "to": ratios[-1 - int(middle - reach)]}


def bench_disk(runs, _quick):
    """What the disk costs: cold restores, bytes written, and a disk that takes its time."""
    result = cold_restores(runs) | {f"writes {m}": writes(m) for m in (SMOL, QWEN)} | {"slow disk": slow_disk((runs + 1) // 2)}
    for name, row in result.items():
        print(f"  {name:52} " + "  ".join(f"{k} {v:.4g}" if v < 1e4 else f"{k} {v:.0f}" for k, v in row.items()), flush=True)
    return result


def bench_memory(_runs, _quick):
    """What stays after an unload, over swaps of three vocabularies; what the kernel saw written by swaps without a new token."""
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
