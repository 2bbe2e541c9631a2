"""A day of agents in minutes: two models, twenty agents, turns that follow one another; hotseat against llama-server's router."""
import dataclasses
import itertools
import random
import re
import statistics
import tempfile
import threading
import time

from common import QWEN, SMOL, Stream, hotseat, metric, percentile, prompt_of, router

SEED = 5


@dataclasses.dataclass
class Trace:
    """Sizes are medians of log-normal draws."""
    n_agents: int
    n_turns: int
    system_tokens: int
    think_s: float  # the mean of exponential draws
    limit_s: float  # of one server; who is not through by then is said to be so


TRACES = {"chats": Trace(20, 3, 200, 1.5, 240), "agents": Trace(20, 5, 600, 20, 900)}
TRACES_QUICK = {"chats": Trace(2, 2, 200, 1.5, 40), "agents": Trace(2, 2, 400, 4, 40)}


@dataclasses.dataclass
class Turn:
    think_s: float
    n_words: int
    max_tokens: int


@dataclasses.dataclass
class Agent:
    name: str
    model: str
    n_system: int
    turns: list


def agents_of(trace):
    """Sizes as chats have them: many short messages, few long ones. The same for every server."""
    rng = random.Random(SEED)

    def size(median, sigma, least, most):
        return int(min(most, max(least, rng.lognormvariate(0, sigma) * median)))

    return [Agent(f"mixed-{i}", (SMOL, QWEN)[i % 2], size(trace.system_tokens, 0.6, 60, 3.5 * trace.system_tokens),
                  [Turn(rng.expovariate(1 / trace.think_s), size(40, 0.9, 8, 400), size(48, 0.6, 12, 128)) for _ in range(trace.n_turns)])
            for i in range(trace.n_agents)]


def n_swaps(server):
    """hotseat says it; the router's log has a line for each model that is started, the first one included."""
    spawned = len(re.findall(r"spawning server instance with name=", server.text()))
    return spawned - 1 if spawned else int(metric(server, "swaps_total"))


class Run:
    """One server under the trace. What is not through at the deadline is left."""

    def __init__(self, url, limit_s):
        self.url, self.began = url, time.monotonic()
        self.deadline = self.began + limit_s
        self.first_ms, self.waited_ms, self.errors = [], [], []
        self.done = self.generated = self.read = self.cached = 0
        self.ended = self.began
        self.lock = threading.Lock()

    def ask(self, agent, talk, turn):
        """One turn; a refusal is tried again, and its time counts. None: the deadline came first."""
        began = time.monotonic()
        while time.monotonic() < self.deadline:
            stream = Stream(self.url, "/v1/chat/completions", {"model": agent.model, "messages": talk, "max_tokens": turn.max_tokens,
                                                               "temperature": 0, "prompt_cache_key": agent.name})
            stream.join(max(0.0, self.deadline - time.monotonic()))
            if stream.is_alive():
                threading.Thread(target=stream.leave, daemon=True).start()  # a server that is busy with others may not notice at once
                if stream.times:  # its first token came, the rest did not
                    with self.lock:
                        self.first_ms.append((stream.times[0] - began) * 1e3)
                    return None
            elif not stream.error:
                first = stream.times[0] if stream.times else stream.ended
                with self.lock:
                    self.first_ms.append((first - began) * 1e3)
                return stream
            else:
                with self.lock:
                    self.errors.append(str(stream.error))
                time.sleep(0.5)
        with self.lock:
            self.waited_ms.append((self.deadline - began) * 1e3)
        return None

    def agent(self, agent, salt):
        talk = [{"role": "system", "content": f"You are agent {salt}. {prompt_of(agent.n_system, 7 * salt + 1)}"}]
        for i, turn in enumerate(agent.turns):
            time.sleep(turn.think_s)
            talk.append({"role": "user", "content": f"Question {i}. {prompt_of(turn.n_words, 100 * salt + i)}. Tell me about one of them."})
            stream = self.ask(agent, talk, turn)
            if not stream:
                return
            talk.append({"role": "assistant", "content": stream.text})
            with self.lock:
                self.done += 1
                self.ended = stream.ended
                self.generated += stream.usage.get("completion_tokens", 0)
                self.read += stream.usage.get("prompt_tokens", 0)
                self.cached += (stream.usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)

    def all(self, agents):
        threads = [threading.Thread(target=self.agent, args=(a, i), daemon=True) for i, a in enumerate(agents)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        n = sum(len(a.turns) for a in agents)
        first = self.first_ms + self.waited_ms  # who still waits has waited at least so long
        return {"turns": n, "done": self.done, "total_s": self.ended - self.began, "first_median_ms": statistics.median(first),
                "first_p99_ms": percentile(first, 99), "first_max_ms": max(first), "still_waiting": len(self.waited_ms),
                "errors": len(self.errors), "error": self.errors[0] if self.errors else None, "generated": self.generated,
                "read": self.read, "cached": self.cached}


def bench_mixed(runs, quick):
    """Twenty agents on two models, each asking again when it has its answer: time for all of it and time to first tokens."""
    # Caches as large as the router's, see bench_router(); the router as it comes, which repacks the weights at each load.
    servers = {"hotseat": lambda folder: hotseat(folder, SMOL, ("--pool", "128M", "--context", 8192)), "llama-server router": router}
    traces = TRACES_QUICK if quick else TRACES
    found = {}
    for trace_name, trace in traces.items():
        agents = agents_of(trace)
        for run, (name, start) in itertools.product(range(runs), servers.items()):
            with tempfile.TemporaryDirectory() as folder, start(folder) as server:
                row = Run(server.url, trace.limit_s).all(agents) | {"swaps": n_swaps(server)}
            found.setdefault(trace_name, []).append(row | {"server": name})
            print(f"  {trace_name}, {name}, run {run + 1}: "
                  + "  ".join(f"{k} {v:.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    print("\n| trace | server | turns done | total | first token, median | p99 | longest | tokens generated | of prompts, cached | swaps | errors |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|")
    for trace_name, rows in found.items():
        for r in rows:
            total = f"> {traces[trace_name].limit_s}" if r["done"] < r["turns"] else f"{r['total_s']:.0f}"
            at_least = ">= " if r["still_waiting"] else ""
            print(f"| {trace_name} | {r['server']} | {r['done']} of {r['turns']} | {total} s | {r['first_median_ms'] / 1e3:.1f} s "
                  f"| {at_least}{r['first_p99_ms'] / 1e3:.1f} s | {at_least}{r['first_max_ms'] / 1e3:.1f} s | {r['generated']} "
                  f"| {r['cached']} of {r['read']} | {r['swaps']} | {r['errors']} |")
    print(f"\nSeed {SEED}. " + " ".join(f"{n}: {t}." for n, t in traces.items()))
    if any(r["errors"] for rows in found.values() for r in rows if r["server"] == "hotseat"):
        raise RuntimeError(f"hotseat gave errors: {found}")
    return found
