"""Minutes of mixed requests for several models, what they did to the server, and what must be true of it: S17 and O5.

draw_trace() says who comes when; Played is one server that it was played on. The order of the checks is that of a reader: all were
answered, nobody waited longer than W, the swaps are few, nothing grows.
"""
import asyncio
import itertools
import os
import random
import statistics
import time
from collections import namedtuple

import turns_reference
from crowd import Crowd, elsewhere
from fakes import long_text
from hotseat_harness import SLOW, memory_bytes, seconds, wait_until

SHARES = {2: [0.6, 0.4], 5: [0.4, 0.25, 0.15, 0.12, 0.08]}
Request = namedtuple("Request", "at model prompt n_tokens stream agent leave_after params")


def draw_trace(seed, models, duration_s, per_s, tokens, sizes=(30, 300, 1200), agents=("ann", "bob", "cid", "dan", None, None),
               leaving=0.05, prompt="{} [[len={}]]", **params):
    """Poisson arrivals: of different lengths, as streams and whole, with a name and without; some leave in the middle."""
    rng = random.Random(seed)
    trace, at = [], rng.expovariate(per_s)
    while at < duration_s:
        n = rng.randint(*tokens)
        leave_after = rng.randint(3, max(3, n // 2)) if rng.random() < leaving else None
        trace.append(Request(at, rng.choices(models, SHARES[len(models)])[0], prompt.format(long_text(rng.choice(sizes), f"{len(trace)}"), n), n,
                             leave_after is not None or rng.random() < 0.7, rng.choice(agents), leave_after, params))
        at += rng.expovariate(per_s)
    return trace


class Watch:
    """What the server's two processes hold, second by second."""
    COLUMNS = {"memory of the front": 1, "memory of the seat": 2, "descriptors of the front": 3, "descriptors of the seat": 4,
               "threads of the front": 5, "threads of the seat": 6}

    def __init__(self, server, crowd):
        self.server, self.crowd, self.samples = server, crowd, []

    def look(self):
        """None while a new seat comes: one that gives no memory back (a sanitizer's) is a new process at every swap."""
        try:
            front, seat = self.server.process.pid, self.server.seat_pid()
            counts = [len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task") for pid in (front, seat)]
            return time.monotonic(), memory_bytes(front), memory_bytes(seat), counts[0] - self.crowd.open, *counts[1:]
        except FileNotFoundError:
            return None

    async def run(self):
        while True:
            self.samples += filter(None, [self.look()])
            await asyncio.sleep(1)

    def growth(self, what):
        """A minute: from the median of the second quarter to that of the last one."""
        n, column = len(self.samples) // 4, self.COLUMNS[what]
        early, late = self.samples[n:2 * n], self.samples[-n:]
        minutes = (late[0][0] - early[0][0]) / 60
        return (statistics.median(s[column] for s in late) - statistics.median(s[column] for s in early)) / minutes


class Played:
    """A server, a trace, and what came of it."""

    def __init__(self, server, models, trace, bound_s, drain_s, parallel=4):
        self.server, self.models, self.trace = server, models, trace
        self.bound_s, self.drain_s, self.parallel = bound_s, drain_s, parallel
        self.crowd = Crowd(server)
        self.watch = Watch(server, self.crowd)
        for m in [*models[1:], models[0]]:  # from now on it knows what each swap costs
            server.swap(m, hold_s=0)
        self.stream, self.events = server.events(timeout=3600)
        self.before = wait_until(self.watch.look, what="a seat")
        self.after = None

    async def everybody(self):
        """They come when the trace says so, however the others fare."""
        began = time.monotonic()

        async def one(r):
            await asyncio.sleep(max(0, began + r.at - time.monotonic()))
            return await self.crowd.ask(r.model, r.prompt, stream=r.stream, agent=r.agent, leave_after=r.leave_after, **r.params)
        return await asyncio.gather(*(one(r) for r in self.trace))

    async def administrate(self):
        while True:
            for path in ("/metrics", "/admin/ps", "/admin/agents", "/v1/models"):
                assert (await elsewhere(self.server.get, path)).status == 200
            await asyncio.sleep(2)

    async def play(self):
        others = [asyncio.create_task(self.watch.run()), asyncio.create_task(self.administrate())]
        self.asked = await self.everybody()
        for t in others:
            assert not t.done(), t
            t.cancel()
        self.whole = [a for a in self.asked if not a.left]
        for _ in range(100):  # what has just been closed goes in a moment; check_growth() looks
            self.after = self.watch.look() or self.after
            if self.no_more_than_before():
                break
            await asyncio.sleep(0.1)

    def no_more_than_before(self):
        return self.after and all(a <= b for a, b in zip(self.after[3:], self.before[3:]))

    def swaps(self):
        """Those of the policy."""
        swaps = [e[1]["swap"] for e in list(self.events) if e[0] == "swap_done"]
        return [w for w in swaps if w["cause"] == "turn"]

    def costs(self):
        return [(w["total_ms"] - w["steps_ms"]["drain"]) / 1000 for w in self.swaps()]

    # ---- what must be true ----

    def check_answers(self, texts=None, finish="stop"):
        assert len(self.asked) == len(self.trace) and len(self.whole) > 0.8 * len(self.trace)
        assert all(a.failure is None and a.error is None for a in self.asked), [a for a in self.asked if a.failure or a.error]
        for a, text in zip(self.whole, texts or [None] * len(self.whole)):
            a.check(text, finish)
        outcomes = {o: self.server.metrics().sum("hotseat_requests_total", outcome=o) for o in ("ok", "canceled")}
        assert outcomes == {"ok": len(self.whole), "canceled": len(self.asked) - len(self.whole)}, outcomes
        assert self.server.metrics().sum("hotseat_seat_deaths_total") == 0

    def bound(self, step_s):
        """W(M), docs/scheduling.md. A step of the engine under way at the drain's end is not cut off."""
        swap_s, m = max(self.costs()), len(self.models)
        least_s = min(9 * swap_s, 30)
        drain_s = max(self.drain_s, *(w["steps_ms"]["drain"] / 1000 for w in self.swaps()))
        assert drain_s < self.drain_s + seconds(step_s), self.swaps()
        return self.bound_s + (m - 1) * max(least_s, 4 * self.bound_s) + m * (drain_s + swap_s)

    def waits_of_the_first(self):
        """Of those who found nobody of their model waiting, as far as the clients know: whoever had come before had entered by then, and
        they were so few that all of them, parked or not, leave a place in the seat."""
        waits = []
        for a in self.whole:
            before = [b for b in self.asked if b.model == a.model and b.sent < a.sent]
            if all(not b.left and b.sent + b.waited < a.sent for b in before if b.ended > a.sent) and \
                    sum(b.ended > a.sent for b in before) < self.parallel:
                waits.append(a.waited)
        return waits

    def check_waits(self, step_s=0.5):
        waits, bound = self.waits_of_the_first(), self.bound(step_s)
        print(f"{len(self.models)} models, {len(self.asked)} requests: the longest wait of {len(waits)} first ones {max(waits):.1f} s, "
              f"of all {max(a.waited for a in self.whole):.1f} s; W {bound:.1f} s")
        assert len(waits) >= len(self.models)
        assert max(waits) <= bound + seconds(0.5), (waits, bound)
        for a in self.whole:  # the server's word for it is not more than what the client saw
            assert a.waited <= a.ended - a.sent, a
            if a.stream:
                assert a.moves[0] - a.sent <= a.waited + a.hotseat["prefill_ms"] / 1000 + seconds(5 + self.drain_s), a
        for m in self.models:
            assert any(a.model == m for a in self.whole), f"nobody asked {m}"

    def services(self):
        """Seconds in the seat of each request: what it read and said, at the pace of all answers (of those that were parked, too)."""
        def nominal(a):
            tokens = len(a.moves) if a.left else a.usage["completion_tokens"]
            return tokens * pace[a.model] + len(a.prompt) * read[a.model]

        def median(figure):
            return {m: statistics.median(figure(a) for a in self.whole if a.model == m) / 1000 for m in self.models}
        pace = median(lambda a: a.hotseat["decode_ms"] / a.hotseat["decode_tokens"])
        read = median(lambda a: a.hotseat["prefill_ms"] / len(a.prompt))
        slower = statistics.median((a.ended - a.sent - a.waited) / nominal(a) for a in self.whole)
        return [nominal(a) * slower for a in self.asked]

    def check_swaps(self, more=0):
        """At most 1.2 times the reference's. It is played at five speeds, a few percent apart: near a tie a hair decides what comes next."""
        first = min(a.sent for a in self.asked)
        trace = sorted((a.sent - first, a.model, s) for a, s in zip(self.asked, self.services()))
        costs = self.costs()
        counts = [turns_reference.play(trace, [c * k for c in costs], self.bound_s, self.drain_s, self.parallel, self.models[0])[0]
                  for k in (0.95, 0.975, 1, 1.025, 1.05)]
        swaps, reference = len(self.swaps()), statistics.mean(counts)
        print(f"{len(self.models)} models: {swaps} swaps of {statistics.mean(costs):.2f} s, the reference {counts}")
        assert self.server.metrics().sum("hotseat_swaps_total", outcome="ok") == swaps + len(self.models)
        assert len({w["to"] for w in self.swaps()}) == len(self.models)
        assert swaps <= 1.2 * reference + more, (swaps, counts)

    def check_growth(self, front_kb, seat_kb):
        """Memory does not grow, and of descriptors and threads there are no more than before the first request."""
        growth = {what: self.watch.growth(what) for what in Watch.COLUMNS}
        print(f"{len(self.models)} models: growth a minute {growth}; before {self.before[1:]}, after {self.after[1:]}")
        assert self.no_more_than_before(), (self.before, self.after)
        for what, grown in growth.items():
            if "memory" not in what:
                assert abs(grown) < 0.5, (what, growth)
            elif SLOW == 1:  # a sanitizer's shadow of the memory is no figure of the server
                assert grown < 1024 * (front_kb if "front" in what else seat_kb), (what, growth)

    def stop(self):
        self.stream.close()
        self.server.stop()
        self.server.check_log()


class Restless(Played):
    """Six clients of the first model ask again as soon as they are answered, so that it never runs out of work; one asks the other
    model now and then. Who served a model until it has no more work would never answer that one."""

    def __init__(self, server, models, duration_s, n_tokens, bound_s, drain_s, parallel=4):
        super().__init__(server, models, [], bound_s, drain_s, parallel)
        self.duration_s, self.n_tokens = duration_s, n_tokens

    async def everybody(self):
        end = time.monotonic() + self.duration_s

        async def client(i, model, pause_s):
            for n in itertools.count():
                if time.monotonic() > end:
                    return
                await self.crowd.ask(model, f"{i} {n} [[len={self.n_tokens}]]")
                await asyncio.sleep(pause_s)
        await asyncio.gather(*(client(i, self.models[0], 0) for i in range(6)), client(6, self.models[1], 2))
        self.trace = self.crowd.asked
        return self.crowd.asked


async def play_all(played):
    await asyncio.gather(*(p.play() for p in played))


