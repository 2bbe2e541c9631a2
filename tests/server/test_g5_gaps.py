"""G5: while a long prompt is read, streams that run go on, and a short request that comes meanwhile ends first. Counted, not timed."""
import http.client
import threading

from fakes import add, long_text, running, wait_until

LONG = 3000


class Reader:
    """A stream that is read in the background."""

    def __init__(self, s, prompt, **params):
        self.stream = s.stream("a", prompt, **params)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            self.stream.read_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):  # closed meanwhile
            pass

    def leave(self):
        self.stream.close()
        self.thread.join(10)

    def said(self):
        return len(self.stream.text.encode())  # a token is a byte


def slow_server(server, models, *options):
    """15 prompt tokens or so fit between two tokens of a stream, with the default gap."""
    add(models, "a", seed=0, step_us=4000, token_us=500)
    return server(model="a", options=["--pool", "64M", *options])


def said_while_a_long_prompt_is_read(s):
    """What each of two running streams says from a long request's arrival to its first token."""
    streams = [Reader(s, f"{name} [[len=4000]]", max_tokens=4000) for name in ("ann", "bob")]
    wait_until(lambda: all(r.said() > 20 for r in streams), what="both run")
    before = [r.said() for r in streams]
    slow = Reader(s, long_text(LONG) + "[[say:read]]")
    wait_until(slow.said, what="the long one's first token", timeout=60)
    said = [r.said() - b for r, b in zip(streams, before)]
    assert all(r.thread.is_alive() and not r.stream.error for r in streams)
    slow.thread.join()
    assert slow.stream.text == "read" and slow.stream.usage["prompt_tokens"] >= LONG
    for r in streams:
        r.leave()
    return said


def test_g5_streams_go_on_while_a_long_prompt_is_read(server, models):
    said = said_while_a_long_prompt_is_read(slow_server(server, models))
    # A step with a token of each carries about 15 of the prompt; with a fixed chunk of 256 there were 12 steps.
    assert all(LONG // 60 < n < LONG // 3 for n in said), said


def test_g5_the_gap_is_a_setting(server, models):
    narrow, wide = (said_while_a_long_prompt_is_read(slow_server(server, models, "--token-gap", gap)) for gap in ("2", "20"))
    assert min(narrow) > 4 * max(wide), (narrow, wide)


def test_g5_a_short_request_during_a_long_one_ends_first(server, models):
    s = slow_server(server, models)
    slow = Reader(s, long_text(12000) + "[[say:slow]]")
    running(s, 1)
    answer = s.chat("a", long_text(1000, salt="short") + "[[say:quick]]")
    assert answer["choices"][0]["message"]["content"] == "quick"
    assert slow.said() == 0 and slow.thread.is_alive()
    slow.leave()


def test_g5_a_short_request_ends_first_beside_running_streams(server, models):
    s = slow_server(server, models)
    streams = [Reader(s, f"{name} [[len=4000]]", max_tokens=4000) for name in ("ann", "bob")]
    wait_until(lambda: all(r.said() > 20 for r in streams), what="both run")
    slow = Reader(s, long_text(12000) + "[[say:slow]]")
    running(s, 3)
    before = [r.said() for r in streams]
    answer = s.chat("a", long_text(200, salt="short") + "[[say:quick]]")
    assert answer["choices"][0]["message"]["content"] == "quick"
    assert slow.said() == 0 and slow.thread.is_alive()
    assert all(r.said() - b >= 10 for r, b in zip(streams, before)), "each has a token in every step"
    for r in [slow, *streams]:
        r.leave()
