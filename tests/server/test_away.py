"""Time in which nothing ran: the machine was frozen, or somebody stopped the server and its seat. It is over for everybody at once, and must not
look like a hang, a stalled load or a client's patience at an end. (The clock itself stands still while a machine sleeps.)"""
import os
import signal
import threading
import time

from fakes import add, running, seconds, wait_until
from hotseat_harness import Talk

PATIENCE_S = seconds(6)
AWAY_S = PATIENCE_S + 1  # more than any limit here, and than what front.c takes for being slow
LIMITS = ["--load-timeout", "1", "--step-timeout", "1.5"]


def status(pid):
    """One letter, as ps has it."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(")")[2].split()[0]


def freeze(s):
    pids = [s.process.pid]
    os.kill(s.process.pid, signal.SIGSTOP)
    wait_until(lambda: status(s.process.pid) == "T", what="the front stands still: nobody is born or buried any more")
    pids += s.children()
    for pid in pids[1:]:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(AWAY_S)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


def nothing_was_ended(s, pid):
    wait_until(lambda: s.metrics().sum("hotseat_away_seconds_total") > AWAY_S - 2, what="the time away is noticed")
    assert s.metrics().sum("hotseat_away_seconds_total") < AWAY_S + 60
    assert s.seat_pid() == pid
    assert s.metrics().sum("hotseat_seat_kills_total") == 0 and s.metrics().sum("hotseat_seat_deaths_total") == 0


def test_a_stream_goes_on_and_who_waits_waits_on(server, models):
    """One is read to, one waits for its turn with a time limit that is shorter than the time away."""
    add(models, "slow", step_us=20000)
    s = server(model="slow", options=LIMITS)
    expected = Talk(s, "slow").say("tell [[len=100]]").text
    pid, got = s.seat_pid(), []
    stream = s.stream("slow", [{"role": "user", "content": "tell [[len=100]]"}])
    running(s)
    waits = threading.Thread(target=lambda: got.append(s.chat("b", "[[say:patient]]", headers={"X-Hotseat-Timeout-S": f"{PATIENCE_S}"})))
    waits.start()
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 1, what="one that waits")
    freeze(s)
    assert stream.read_all().text == expected
    waits.join()
    assert got and got[0]["choices"][0]["message"]["content"] == "patient"
    nothing_was_ended(s, pid)


def test_a_swap_goes_on(server, models):
    add(models, "slow", load_ms=2000)
    s = server(model="a", options=LIMITS)
    pid, got = s.seat_pid(), []
    swap = threading.Thread(target=lambda: got.append(s.swap("slow")))
    swap.start()
    wait_until(lambda: s.swap_status()["state"] == "LOADING", what="the load")
    freeze(s)
    swap.join()
    assert got and (got[0]["status"], got[0]["kind"]) == ("swapped", "hot"), got
    assert got[0]["total_ms"] < AWAY_S * 1000, "it was not the load that took so long"
    nothing_was_ended(s, pid)


def test_control_the_limits_are_that_short(server, models):
    """The same server does end a seat that is stopped alone."""
    add(models, "slow", step_us=20000)
    s = server(model="slow", options=LIMITS)
    pid = s.seat_pid()
    stream = s.stream("slow", [{"role": "user", "content": "tell [[len=100]]"}])
    running(s)
    os.kill(pid, signal.SIGSTOP)
    assert stream.read_all().finish
    assert s.seat_pid() != pid and s.metrics().sum("hotseat_seat_kills_total") == 1
