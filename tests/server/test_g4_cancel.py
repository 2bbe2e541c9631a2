"""G4: a client that leaves takes its work along within a second: in a stream, while its prompt is read, without a stream, in a queue."""
import socket
import time

import pytest
from fakes import add, long_text, running, seconds, slots, wait_until
from raw_http import post

CALLS = "hotseat_decode_calls_total"


def stops_within_a_second(s, left, calls_at_most, calls_at_least=0):
    """The seat has let go of it, and the engine's steps stop growing; their figure comes once a second."""
    wait_until(lambda: slots(s) == 0, what="the work has ended", timeout=1)
    assert time.monotonic() - left < seconds(1)
    last = [None, 0]

    def stands_still():
        calls = s.metrics().sum(CALLS)
        if calls != last[0]:
            last[:] = [calls, time.monotonic()]
        return time.monotonic() - last[1] > 1.3
    wait_until(stands_still, what="no more steps", timeout=6)
    assert calls_at_least <= last[0] < calls_at_most, last
    assert s.metrics().sum("hotseat_requests_total", outcome="canceled") >= 1


def leaves(s, body):
    """A client that posts this, is running, and goes."""
    c = s.raw(post("/v1/chat/completions", {"temperature": 0, "model": "a", **body}))
    running(s, 1)
    c.close()
    return time.monotonic()


def test_g4_leaving_a_stream_at_token_5_of_5000(server, models):
    add(models, "a", seed=0, step_us=2000)
    s = server(model="a")
    stream = s.stream("a", "[[len=5000]]", max_tokens=5000)
    events = iter(stream)
    while len(stream.text.encode()) < 5:
        next(events)
    assert slots(s) == 1
    left = time.monotonic()
    stream.close()
    stops_within_a_second(s, left, 1500, 5)  # 5,000 would take ten seconds
    assert s.chat("a", "[[say:next]]")["choices"][0]["message"]["content"] == "next"


def test_g4_leaving_while_the_prompt_is_read(server, models):
    add(models, "a", seed=0, token_us=1000)  # 12,000 tokens take twelve seconds
    s = server(model="a")
    left = leaves(s, {"stream": True, "messages": [{"role": "user", "content": long_text(12000)}]})
    stops_within_a_second(s, left, 100)
    began = time.monotonic()
    assert s.chat("a", "[[say:next]]")["choices"][0]["message"]["content"] == "next"
    assert time.monotonic() - began < seconds(3)


def test_g4_leaving_without_a_stream(server, models):
    add(models, "a", seed=0, step_us=2000)
    s = server(model="a")
    left = leaves(s, {"messages": [{"role": "user", "content": "[[len=5000]]"}]})
    stops_within_a_second(s, left, 1500)


def test_g4_leaving_a_text_completion_while_its_prompt_is_read(server, models):
    add(models, "a", seed=0, token_us=1000)
    s = server(model="a")
    c = s.raw(post("/v1/completions", {"model": "a", "prompt": long_text(12000)}))
    running(s, 1)
    c.close()
    stops_within_a_second(s, time.monotonic(), 100)


def test_g4_a_reset_is_leaving_too(server, models):
    add(models, "a", seed=0, step_us=2000)
    s = server(model="a")
    c = s.raw(post("/v1/chat/completions", {"model": "a", "stream": True, "messages": [{"role": "user", "content": "[[len=5000]]"}]}))
    running(s, 1)
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends a reset
    c.close()
    stops_within_a_second(s, time.monotonic(), 1500)


@pytest.mark.parametrize("stream", [False, True])
def test_g4_leaving_the_queue_of_the_seated_model(server, models, stream):
    add(models, "a", seed=0, step_us=4000)
    s = server(model="a", options=["--parallel", "1"])
    busy = s.stream("a", "[[len=600]]")
    running(s, 1)
    c = s.raw(post("/v1/chat/completions", {"model": "a", "stream": stream, "messages": [{"role": "user", "content": "[[len=5000]]"}]}))
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 1, what="it waits")
    c.close()
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 0, what="it has left", timeout=1)
    busy.read_all()
    assert busy.done and len(busy.text.encode()) >= 600  # the neighbour is unharmed
    wait_until(lambda: slots(s) == 0, what="nothing runs", timeout=1)


def test_g4_control_without_leaving_all_of_it_is_read(server, models):
    """What the tests above would see if nobody had left: the same long prompt costs its time."""
    add(models, "a", seed=0, token_us=200)
    s = server(model="a")
    began = time.monotonic()
    assert s.chat("a", long_text(12000) + "[[say:read]]")["choices"][0]["message"]["content"] == "read"
    assert time.monotonic() - began > 2
