"""S13 under load: requests for two models come and go, and every 5 s the seat is killed. Whoever moves between two deaths gets the whole and
right text; whoever brought no new token in two submissions ends with engine_died. HOTSEAT_LONG=1: three minutes instead of 25 s.
"""
import asyncio
import os
import signal
import time

import pytest
from crowd import Crowd, right_texts, until
from fakes import long_text
from hotseat_harness import LONG, Server, seconds
from life import seed_of_run
from load_trace import draw_trace

DURATION_S = 180 if LONG else 25
EVERY_S = 5
# A seat that lived less than a minute is followed by the next one after 0.1 s, 0.2 s ... 30 s: so long the next death waits, too.
STEP_US, TOKEN_US = 10000, 1000
LONG_PROMPT = 15000  # tokens of a millisecond each: read by no seat that lives 5 s, not even by two after one another

pytestmark = [pytest.mark.timeout(10 * DURATION_S + 600), pytest.mark.first]


class Killer:
    """Kills the seat, whatever it does at the moment; knows when."""

    def __init__(self, server):
        self.server, self.deaths, self.killed = server, [], None

    async def run(self, stop):
        while not stop.is_set():
            await until(lambda: self.server.seat_pid(), 60, "a seat")
            try:
                await asyncio.wait_for(stop.wait(), EVERY_S)
                return
            except TimeoutError:
                pid = self.server.seat_pid()
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    self.killed = pid
                    self.deaths.append(time.monotonic())


def test_s13_load_while_the_seat_is_killed_every_5_s(server, models, tmp_path):
    seed = seed_of_run()
    print(f"HOTSEAT_SEED={seed}")
    s = server(model="a", options=["--wait-bound", "3", "--stay-min", "1", "--drain-timeout", "1", "--pool", "32M"], log_level="info",
               env={"HOTSEAT_FAKE_STEP_US": STEP_US, "HOTSEAT_FAKE_LOAD_MS": 200, "HOTSEAT_FAKE_TOKEN_US": TOKEN_US})
    trace = draw_trace(seed, ["a", "b"], DURATION_S, 1.2, (30, 200), sizes=(30, 300), leaving=0)
    crowd, killer = Crowd(s), Killer(s)

    async def all_of_it():
        began, stop = time.monotonic(), asyncio.Event()

        async def one(i, r):
            await asyncio.sleep(max(0, began + r.at - time.monotonic()))
            return await crowd.ask(r.model, r.prompt, stream=r.stream, agent=r.agent, temperature=0.8 * (i % 2), seed=i)

        async def too_long():
            # And the next seat is there: what is given to a dead one, before that is known, is its first submission.
            await until(lambda: len(killer.deaths) == 2 and s.seat_pid() not in (None, killer.killed), 60, "two deaths that hit only what moves")
            return await crowd.ask("a", long_text(LONG_PROMPT) + "[[len=20]]", stream=False, agent="eve")
        deaths = asyncio.create_task(killer.run(stop))
        long_one = asyncio.create_task(too_long())
        others = asyncio.gather(*(one(i, r) for i, r in enumerate(trace)))
        await asyncio.sleep(DURATION_S)
        lost = await long_one
        stop.set()
        await deaths
        return await others, lost
    asked, lost = asyncio.run(all_of_it())
    metrics, deaths = s.metrics(), killer.deaths
    hit = sum(any(a.sent < d < a.ended for d in deaths) for a in asked)
    print(f"{len(asked)} requests in {max(a.ended for a in asked) - asked[0].sent:.0f} s, {len(deaths)} deaths, {hit} lived through one, "
          f"{metrics.sum('hotseat_streams_resubmitted_total'):.0f} went on after one")
    # (A process that was leaving anyway dies uncounted.)
    assert DURATION_S / EVERY_S / 3 <= metrics.sum("hotseat_seat_deaths_total") <= len(deaths), deaths
    assert sum(a.moves[0] < d < a.moves[-1] for a in asked if a.stream for d in deaths) >= 2, "nobody was hit in the middle"
    # The rule for the others, and nobody but that one fell under it.
    assert (lost.status, lost.error["code"], lost.text) == (500, "engine_died", ""), lost
    assert metrics.sum("hotseat_streams_lost_total") == 1
    before = [d for d in deaths if lost.sent < d < lost.ended]
    assert len(before) >= 2 and lost.ended - before[-1] < seconds(1), "at a death of its own, which was not the first"
    quiet = Server(tmp_path / "quiet", models, log_level="warn").start()
    try:
        texts = asyncio.run(right_texts(quiet, asked))
    finally:
        quiet.stop()
    for a, text in zip(asked, texts):
        a.check(text)
