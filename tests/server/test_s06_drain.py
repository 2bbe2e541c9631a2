"""S6, S9: streams at a swap run to their end, are parked and go on, or are cancelled with a clear error by choice."""
import asyncio
import ctypes
import mmap
import os
import time

import pytest
from crowd import Crowd, elsewhere, right_texts, until
from fakes import add, in_threads, running, seated, slots, wait_until
from hotseat_harness import ApiError, Server

EIGHT = ["--parallel", "8"]


@pytest.fixture
def slow(models):
    add(models, "a", seed=0, step_us=4000)
    return models


def eight_calls(s, n=150):
    """Four streams and four whole answers of n tokens; each returns (text, finish)."""
    def whole(i):
        body = s.chat("a", f"{i} [[len={n}]]", max_tokens=n + 50)
        return body["choices"][0]["message"]["content"], body["choices"][0]["finish_reason"]

    def stream(i):
        st = s.stream("a", f"{i} [[len={n}]]", max_tokens=n + 50).read_all()
        assert st.error is None and st.done, st.raw[-500:]
        return st.text, st.finish
    return [lambda i=i: (stream if i % 2 else whole)(i) for i in range(8)]


def test_s6_eight_in_flight_get_their_whole_answer(server, slow):
    s = server(model="a", options=EIGHT)
    expected = [c() for c in eight_calls(s)]

    def swap():
        running(s, 8)
        return s.swap("b", drain_timeout_s=60)
    results, errors = in_threads([*eight_calls(s), swap])
    assert errors == [None] * 9
    assert results[:8] == expected
    assert results[8]["status"] == "swapped" and results[8]["parked"] == 0
    assert seated(s) == "b"


def test_s6_waiting_ones_are_answered_too(server, slow):
    """Four sequences, eight requests: those that had no place yet when the swap began are answered as well."""
    s = server(model="a", options=["--parallel", "2", "--patience", "0"])

    def swap():
        running(s, 2)
        return s.swap("b", drain_timeout_s=60, hold_s=0)
    results, errors = in_threads([*eight_calls(s, 60), swap])
    assert errors == [None] * 9
    assert all(text and finish == "stop" for text, finish in results[:8]), results


def test_s6_cancel_gives_an_error_with_retry_after(server, slow):
    s = server(model="a", options=EIGHT)

    def whole(i):
        with pytest.raises(ApiError) as e:
            s.chat("a", f"{i} [[len=5000]]")
        assert (e.value.status, e.value.code) == (503, "swap_canceled_request"), e.value
        assert int(e.value.response.headers["retry-after"]) >= 1

    def stream(i):
        st = s.stream("a", f"{i} [[len=5000]]").read_all()
        assert st.error and st.error["code"] == "swap_canceled_request", st.raw[-300:]
        assert st.error["retry_after_s"] >= 1 and not st.done

    def swap():
        running(s, 8)
        return s.swap("b", drain_timeout_s=0.3, on_deadline="cancel")
    results, errors = in_threads([*[lambda i=i: (stream if i % 2 else whole)(i) for i in range(8)], swap])
    assert errors == [None] * 9
    assert seated(s) == "b" and results[8]["parked"] == 0


@pytest.mark.parametrize("drain_timeout_s", [60, 0.2])
def test_s6_s9_64_streams_at_a_swap(server, models, tmp_path, drain_timeout_s):
    """As many as the seat can hold, all of them drained or all parked: each whole and right, warm or hot, streamed or not."""
    n_parked = 0 if drain_timeout_s == 60 else 64
    s = server(model="a", options=["--parallel", "64", "--pool", "64M", "--patience", "0"], env={"HOTSEAT_FAKE_STEP_US": 8000}, log_level="info")
    crowd = Crowd(s)

    async def all_of_it():
        tasks = [asyncio.create_task(crowd.ask("a", f"{i} [[len={150 + i}]]", stream=i % 4 != 0, temperature=0.8 * (i % 2), seed=i)) for i in range(64)]
        await until(lambda: slots(s) == 64, 30, "64 run")
        swap = await elsewhere(s.swap, "b", drain_timeout_s=drain_timeout_s, hold_s=0)
        assert (swap["status"], swap["parked"]) == ("swapped", n_parked), swap
        return await asyncio.gather(*tasks)
    asked = asyncio.run(all_of_it())
    assert s.metrics().sum("hotseat_streams_parked_total") == n_parked
    quiet = Server(tmp_path / "quiet", models, model="a", log_level="warn").start()
    try:
        texts = asyncio.run(right_texts(quiet, asked))
    finally:
        quiet.stop()
    for a, text in zip(asked, texts):
        a.check(text)
    assert len({a.text for a in asked}) == 64


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_s9_parked_stream_goes_on_when_its_model_returns(server, slow, temperature):
    s = server(model="a")
    ask = dict(messages="park me [[len=600]]", temperature=temperature, seed=5)
    reference = s.stream("a", **ask).read_all()
    stream = s.stream("a", **ask)
    events = iter(stream)
    for _ in range(20):
        next(events)
    swap = s.swap("b", drain_timeout_s=0.2, hold_s=0)
    assert swap["parked"] == 1, swap
    assert s.metrics().sum("hotseat_streams_parked_total") == 1
    for _ in events:
        pass
    assert stream.error is None and stream.done, stream.raw[-500:]
    assert len(stream.text.encode()) >= 600
    assert stream.text == reference.text
    assert stream.usage["completion_tokens"] == reference.usage["completion_tokens"]


def test_s9_parked_whole_answer_goes_on_too(server, slow):
    s = server(model="a")
    ask = "park me too [[len=500]]"
    reference = s.chat("a", ask)["choices"][0]["message"]["content"]

    def swap():
        running(s, 1)
        return s.swap("b", drain_timeout_s=0.2, hold_s=0)
    results, errors = in_threads([lambda: s.chat("a", ask), swap])
    assert errors == [None, None]
    assert results[1]["parked"] == 1
    assert results[0]["choices"][0]["message"]["content"] == reference


def test_s9_while_parked_the_other_model_answers(server, slow):
    s = server(model="a")
    stream = s.stream("a", "[[len=800]]")
    events = iter(stream)
    next(events)
    s.swap("b", drain_timeout_s=0.2, hold_s=2)
    began = time.monotonic()
    assert s.chat("b", "[[say:I am b]]")["choices"][0]["message"]["content"] == "I am b"
    assert time.monotonic() - began < 2
    for _ in events:
        pass
    assert stream.done and len(stream.text.encode()) >= 800


def test_s9_client_that_leaves_while_parked_is_forgotten(server, slow):
    s = server(model="a")
    stream = s.stream("a", "[[len=4000]]")
    next(iter(stream))
    s.swap("b", drain_timeout_s=0.2, hold_s=1)
    stream.close()
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 0, what="nobody waits")
    time.sleep(1.5)
    assert seated(s) == "b"


def cached_share(path, drop=False):
    """How much of a file is in the page cache; drop: after it was asked to leave."""
    with open(path, "r+b") as f:
        if drop:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(f.fileno(), 0) as m:
            pages = (ctypes.c_ubyte * ((len(m) + mmap.PAGESIZE - 1) // mmap.PAGESIZE))()
            here = ctypes.c_char.from_buffer(m)
            assert ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(here)), ctypes.c_size_t(len(m)), pages) == 0
            del here
            return sum(p & 1 for p in pages) / len(pages)


def test_the_next_weights_are_read_while_the_drain_runs(server, models):
    add(models, "a", seed=0, step_us=5000)
    add(models, "b", seed=1)
    with open(models / "b.gguf", "ab") as f:  # more than one piece of what is read at a time; a tail is no model's business
        f.write(b"\1" * (48 << 20))
        f.flush()
        os.fsync(f.fileno())
    s = server(model="a", options=["--patience", "0", "--stay-min", "0", "--wait-bound", "0", "--drain-timeout", "60"])
    s.chat("b", "[[say:it is measured]]")
    busy = s.stream("a", "[[len=3000]]")
    next(iter(busy))
    wait_until(lambda: cached_share(models / "b.gguf", drop=True) < 0.5, what="b out of the page cache")
    waiting = s.stream("b", "[[say:fine]]")
    wait_until(lambda: cached_share(models / "b.gguf") > 0.99, what="b in the page cache")
    assert s.swap_status()["state"] == "DRAINING"
    busy.close()
    assert waiting.read_all().text == "fine"
