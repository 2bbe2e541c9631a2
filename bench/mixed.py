"""A day of agents in minutes: two models, twenty agents, turns that follow one another; hotseat against llama-server's router."""
import dataclasses
import random
import statistics
import tempfile
import threading
import time

from common import QWEN, SMOL, Stream, hotseat, percentile, prompt_of, router

SEED = 5
LIMIT_S = 240  # of one server; who is not through by then is said to be so


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


def made_trace(n_agents, n_turns):
    """Sizes as chats have them: many short messages, few long ones. The same trace for every server."""
    rng = random.Random(SEED)

    def size(median, sigma, least, most):
        return int(min(most, max(least, rng.lognormvariate(0, sigma) * median)))

    return [Agent(f"mixed-{i}", (SMOL, QWEN)[i % 2], size(200, 0.6, 60, 700),
                  [Turn(rng.expovariate(1 / 1.5), size(40, 0.9, 8, 400), size(48, 0.6, 12, 128)) for _ in range(n_turns)])
            for i in range(n_agents)]


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
    agents = made_trace(2, 2) if quick else made_trace(20, 3)
    limit = 40 if quick else LIMIT_S
    # Caches as large as the router's, see bench_router(). The router as it comes repacks the weights at each load; the other one does not.
    servers = {
        "hotseat": lambda folder: hotseat(folder, SMOL, ("--pool", "128M", "--context", 8192)),
        "llama-server router": lambda folder: router(folder, repack=False),
        "llama-server router, repack": router,
    }
    found = {name: [] for name in servers}
    for _ in range(runs):
        for name, start in servers.items():
            with tempfile.TemporaryDirectory() as folder, start(folder) as server:
                row = Run(server.url, limit).all(agents)
            found[name].append(row)
            print(f"  {name}: " + "  ".join(f"{k} {v:.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
    print("\n| server | turns done | total | first token, median | p99 | longest | tokens generated | of prompts, cached | errors |\n"
          "|---|---|---|---|---|---|---|---|---|")
    for name, all_runs in found.items():
        for r in all_runs:
            total = f"> {limit}" if r["done"] < r["turns"] else f"{r['total_s']:.0f}"
            at_least = ">= " if r["still_waiting"] else ""
            print(f"| {name} | {r['done']} of {r['turns']} | {total} s | {r['first_median_ms'] / 1e3:.1f} s "
                  f"| {at_least}{r['first_p99_ms'] / 1e3:.1f} s | {at_least}{r['first_max_ms'] / 1e3:.1f} s | {r['generated']} "
                  f"| {r['cached']} of {r['read']} | {r['errors']} |")
    print(f"\n{len(agents)} agents, {len(agents[0].turns)} turns each, seed {SEED}, at most {limit} s a server.")
    if any(r["errors"] for r in found["hotseat"]):
        raise RuntimeError(f"hotseat gave errors: {[r['error'] for r in found['hotseat']]}")
    return found
