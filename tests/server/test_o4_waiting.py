"""O4: a thousand connections that wait for a model. Each hears where it stands, the memory is flat, and each gets its answer.

A server needs about two descriptors for each connection it may have (`ulimit -Hn` of 8,320 for all 4,096); the soft limit it raises by itself.
"""
import asyncio
import os
import re
import resource
import time

from crowd import Crowd, elsewhere, prepare_descriptors, until
from fakes import seated
from hotseat_harness import LONG, SLOW, memory_bytes, seconds

N = 1000
BATCH = 50
ROUNDS = (4, 1) if not LONG else (10, 4)  # comments that the first thousand and the second get: at 1 s, then every 4 s
WAITING = re.compile(r"waiting model=b position=(\d+) eta_ms=(\d+)")
KB = 1 << 10


def held(s):
    """(private memory, descriptors, threads) of the front, memory of the seat."""
    pid = s.process.pid
    return memory_bytes(pid), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")), memory_bytes(s.seat_pid())


async def wait_in_line(s, crowd, first, rounds):
    """A thousand ask for b while a is held; gives what the server held after each round of comments, and what was asked."""
    tasks, figures = [], []
    for i in range(first, first + N):
        tasks.append(asyncio.create_task(crowd.ask("b", f"[[say:no. {i}]]")))
        if (i + 1) % BATCH == 0:  # those of one batch are in no order
            await until(lambda: s.metrics().sum("hotseat_requests_waiting") == i + 1 - first, 20, "they wait")
    asked = crowd.asked[first:]
    await until(lambda: all(a.headers for a in asked), 20, "headers before any answer")
    assert max(a.headers - a.sent for a in asked) < seconds(2)
    for n in range(1, rounds + 1):
        await until(lambda: all(len(a.comments) >= n for a in asked), 20, f"comment {n} of everybody")
        figures.append(held(s))
        began = time.monotonic()
        assert (await elsewhere(s.get, "/health/live")).status == 200
        assert time.monotonic() - began < seconds(1)
        if n == 1:
            assert s.metrics().sum("hotseat_requests_waiting") == N
    return asyncio.gather(*tasks), asked, figures


def check_comments(asked, rounds):
    for a in asked:
        found = [WAITING.search(text) for _, text in a.comments]
        assert len(found) >= rounds and all(found), a.comments
        times = [a.sent, *(at for at, _ in a.comments), a.moves[0]]
        assert all(later - earlier < seconds(5.5) for earlier, later in zip(times, times[1:])), times
    for n in range(rounds):  # nobody left meanwhile, so in each round everybody has a place of its own
        assert sorted(int(WAITING.search(a.comments[n][1])[1]) for a in asked) == list(range(1, N + 1))
    places = [int(WAITING.search(a.comments[0][1])[1]) for a in asked]
    late = [int(WAITING.search(a.comments[-1][1])[2]) for a in asked]
    for at in range(0, N, BATCH):
        assert sorted(places[at:at + BATCH]) == list(range(at + 1, at + BATCH + 1)), "first come, first served"
    assert max(late) > min(late), "an estimate that knows of those before"


def check_flat(figures, open_before, rounds):
    """While they wait nothing is added: a line of text kept for each would be 60 KB a round. (The second round finds the last buffers.)"""
    print([[f // KB if f > 10 * KB else f for f in figure] for figure in figures])
    assert all(N < f[1] <= open_before + N for f in figures), figures
    assert len({f[2] for f in figures}) == 1, figures
    if SLOW == 1:  # a sanitizer's shadow of the memory is no figure of the server
        for column in (0, 3):
            assert figures[-1][column] - figures[min(1, rounds - 1)][column] <= 30 * max(0, rounds - 2) * KB, figures


def test_o4_a_thousand_connections_wait(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # what the server is started with
    try:
        s = server(model="a", options=["--parallel", "64", "--pool", "32M"], env={"HOTSEAT_FAKE_STEP_US": 10000}, log_level="info")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = prepare_descriptors(N)
    try:
        crowd = Crowd(s)

        async def once(first, rounds):
            await elsewhere(s.swap, "a", hold_s=600)
            before = held(s)
            answers, asked, figures = await wait_in_line(s, crowd, first, rounds)
            assert seated(s) == "a"
            assert (await elsewhere(s.swap, "b", hold_s=0))["to"] == "b"
            await answers
            for i, a in enumerate(asked, first):
                a.check(f"no. {i}")
            await until(lambda: all(now <= then for now, then in zip(held(s)[1:3], before[1:3])), 20,
                        f"no more descriptors and threads than {before}")
            check_comments(asked, rounds)
            check_flat(figures, before[1], rounds)
            return held(s)[0]
        once_more = [asyncio.run(once(first, rounds)) for first, rounds in zip((0, N), ROUNDS)]
        print("the front afterwards", once_more)
        if SLOW == 1:
            assert once_more[1] - once_more[0] < 500 * KB, "what the second thousand left behind"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert s.metrics().sum("hotseat_requests_total", outcome="ok") == 2 * N
    assert s.metrics().sum("hotseat_replies_dropped_total") == 0
