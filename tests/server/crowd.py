"""Many clients at once, in one thread: asyncio over plain sockets. A thousand threads would measure Python, not the server.

Crowd.ask() is one request on a connection of its own and returns an Asked: what was asked, and when what came. It never raises for what
the server did; check() does. prepare_descriptors() makes room for so many sockets on our side (the server makes its own)."""
import asyncio
import json
import resource
import time

from hotseat_harness import seconds

OUR_DESCRIPTORS = 64  # what a test process has open beside its connections


def prepare_descriptors(n):
    """Room for n sockets here; gives back the limit as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + OUR_DESCRIPTORS
    enough = hard == resource.RLIM_INFINITY or hard >= wanted
    assert enough, f"{n} connections need a hard limit of {wanted} descriptors (ulimit -Hn), not {hard}"
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft, hard


class Asked:
    """One request and its answer. Times are of time.monotonic(); None: it has not come."""

    def __init__(self, model, prompt, stream, params):
        self.model, self.prompt, self.stream, self.params = model, prompt, stream, params
        self.sent = self.headers = self.ended = None
        self.comments, self.moves = [], []  # (time, text); times of deltas with text in them
        self.status, self.error, self.failure = None, None, None
        self.text, self.models = "", set()
        self.finish = self.usage = self.hotseat = None
        self.done = self.left = False

    def __repr__(self):
        what = self.failure or self.error or (self.finish if self.done else "not ended")
        return f"<{self.model} {self.prompt[-60:]!r}: {self.status} {what}, {len(self.text)} characters>"

    def check(self, text=None, finish="stop"):
        """A whole answer, of its own model, and this text."""
        assert self.failure is None and self.error is None and self.status == 200, f"{self}: {self.failure or self.error}"
        assert self.done and self.finish == finish, self
        assert self.models == {self.model}, f"{self}: answered by {self.models}"
        assert self.text, self
        assert text is None or self.text == text, f"another text: {self}\n{self.text}\n{text}"
        return self

    @property
    def waited(self):
        """From its arrival until it entered the seat, as the server says."""
        return (self.hotseat["queue_ms"] + self.hotseat["swap_ms"]) / 1000

    def note(self, line):
        if line.startswith(b":"):
            self.comments.append((time.monotonic(), line[1:].strip().decode()))
        elif line == b"data: [DONE]":
            self.done = True
        elif line.startswith(b"data:"):
            self.note_body(json.loads(line[5:]))

    def note_body(self, body):
        self.error = body.get("error") or self.error
        self.usage = body.get("usage") or self.usage
        self.hotseat = body.get("hotseat") or self.hotseat
        self.models |= {body["model"]} if body.get("model") else set()
        for choice in body.get("choices") or []:
            text = (choice.get("delta") or choice.get("message") or {}).get("content") or ""
            self.finish = choice.get("finish_reason") or self.finish
            self.text += text
            if text:
                self.moves.append(time.monotonic())


class Crowd:
    def __init__(self, server):
        self.server, self.asked, self.open = server, [], 0

    async def ask(self, model, prompt, stream=True, agent=None, leave_after=None, timeout=600, **params):
        """leave_after: goes away after so many deltas."""
        a = Asked(model, prompt, stream, params)
        self.asked.append(a)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0, "stream": stream, **params}
        if stream:
            body["stream_options"] = {"include_usage": True}
        data = json.dumps(body).encode()
        agent = f"X-Hotseat-Agent: {agent}\r\n" if agent else ""
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n{agent}Content-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n")
        writer = None
        self.open += 1
        try:
            async with asyncio.timeout(seconds(timeout)):
                a.sent = time.monotonic()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
                writer.write(head.encode() + data)
                await self._read(a, reader, leave_after)
        except (OSError, asyncio.IncompleteReadError, ValueError) as e:
            a.failure = repr(e)
        except TimeoutError:
            a.failure = "no end"
        finally:
            a.ended = time.monotonic()
            if writer:
                writer.close()
                try:
                    await writer.wait_closed()
                except OSError:
                    pass
            self.open -= 1
        return a

    @staticmethod
    async def _read(a, reader, leave_after):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        a.headers, a.status = time.monotonic(), int(head.split(" ", 2)[1])
        if "transfer-encoding: chunked" not in head:
            length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
            a.note_body(json.loads(await reader.readexactly(length)))
            a.done = a.status == 200
            return
        rest = b""
        while size := int(await reader.readline(), 16):
            *lines, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                a.note(line)
            if leave_after is not None and len(a.moves) >= leave_after:
                a.left = True
                return
        if rest.strip():
            raise ValueError(f"an event without an end: {rest!r}")


async def until(predicate, timeout, what, every=0.05):
    """wait_until() for the crowd's thread."""
    end = time.monotonic() + seconds(timeout)
    while not predicate():
        assert time.monotonic() < end, f"not within {seconds(timeout):.0f} s: {what}"
        await asyncio.sleep(every)


async def elsewhere(call, *args, **kw):
    """A call that blocks (the harness's), while the crowd goes on."""
    return await asyncio.to_thread(call, *args, **kw)


async def right_texts(reference, asked, at_once=8):
    """What a server that does nothing else says to the same: a list of texts in the order of asked."""
    crowd, places, known = Crowd(reference), asyncio.Semaphore(at_once), {}

    async def one(key, a):
        async with places:
            known[key] = (await crowd.ask(a.model, a.prompt, stream=False, **a.params)).check().text
    keys = [(a.model, a.prompt, *sorted(a.params.items())) for a in asked]
    todo = sorted(dict(zip(keys, asked)).items())  # model after model
    await asyncio.gather(*(one(key, a) for key, a in todo))
    return [known[key] for key in keys]
