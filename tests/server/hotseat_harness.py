"""Starts real servers and talks to them. Tests use the fixtures in conftest.py; this is what they get.

HOTSEAT_BUILD names the preset whose programs are tested (default release); HOTSEAT_SLOW stretches every time limit (sanitizers).
"""
import http.client
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / os.environ.get("HOTSEAT_BUILD", "release")
if "/" in os.environ.get("HOTSEAT_BUILD", ""):
    BUILD = pathlib.Path(os.environ["HOTSEAT_BUILD"])
SLOW = float(os.environ.get("HOTSEAT_SLOW", "1"))
LONG = os.environ.get("HOTSEAT_LONG") == "1"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "hotseat"
REAL_MODELS = CACHE / "models"
SMOL = "SmolLM2-135M-Instruct.Q4_1"
QWEN = "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M"
GEMMA = "gemma-3-270m-Q4_K_M"
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer|must\(.*failed|must failed")


def seconds(s):
    """A time limit on a machine that may be slower than ours."""
    return s * SLOW


def wait_until(predicate, timeout=20, what=None, every=0.02):
    """Polls until predicate() is true and returns what it gave."""
    end = time.monotonic() + seconds(timeout)
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds(timeout):.0f} s: {what or getattr(predicate, '__name__', 'condition')}")
        time.sleep(every)


class ApiError(Exception):
    """An answer that was not 2xx."""

    def __init__(self, response):
        self.response = response
        self.status = response.status
        body = response.json_or_none()
        self.error = (body or {}).get("error") or {}
        self.code = self.error.get("code")
        super().__init__(f"{response.status} {self.code}: {self.error.get('message') or response.body[:300]!r}")


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.body)

    def json_or_none(self):
        try:
            value = json.loads(self.body)
            return value if isinstance(value, dict) else None
        except ValueError:
            return None

    def ok(self):
        """The JSON of a 2xx answer, else ApiError."""
        if self.status // 100 != 2:
            raise ApiError(self)
        return self.json()


class Stream:
    """A server-sent event stream as it arrives. Iterating gives the parsed JSON of each `data:`; comments, event names and
    arrival times are kept. close() leaves in the middle."""

    def __init__(self, connection, response):
        self.connection, self.response = connection, response
        self.status, self.headers = response.status, dict(response.headers.items())
        self.comments, self.events, self.times = [], [], []
        self.done = False          # [DONE] was seen
        self.after_done = b""      # what came after it: must stay empty
        self.error = None          # the error event's object
        self.usage = self.hotseat = self.finish = None
        self.first_byte = None
        self.raw = b""

    def lines(self):
        while True:
            line = self.response.readline()
            if not line:
                return
            self.raw += line
            if self.first_byte is None:
                self.first_byte = time.monotonic()
            if self.done and line.strip():
                self.after_done += line
            yield line.rstrip(b"\r\n").decode("utf-8")

    def __iter__(self):
        name, data = None, []
        for line in self.lines():
            if line.startswith(":"):
                self.comments.append((time.monotonic(), line[1:].strip()))
            elif line.startswith("event:"):
                name = line[6:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                body, data = "\n".join(data), []
                if body == "[DONE]":
                    self.done = True
                    continue
                value = json.loads(body)
                self.events.append((name, value))
                self.times.append(time.monotonic())
                self._note(value)
                yield (name, value) if name else value
                name = None

    def _note(self, value):
        if not isinstance(value, dict):
            return
        self.error = value.get("error") or self.error
        self.usage = value.get("usage") or self.usage
        self.hotseat = value.get("hotseat") or self.hotseat
        for choice in value.get("choices") or []:
            self.finish = choice.get("finish_reason") or self.finish

    def read_all(self):
        for _ in self:
            pass
        self.connection.close()
        return self

    @property
    def text(self):
        """The concatenated deltas so far, of chat or plain completions."""
        out = []
        for _, value in self.events:
            for choice in (value.get("choices") or []) if isinstance(value, dict) else []:
                out.append((choice.get("delta") or {}).get("content") or choice.get("text") or "")
        return "".join(out)

    def close(self):
        try:
            if self.connection.sock:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.response.close()
        self.connection.close()


class Metrics(dict):
    """Prometheus text, parsed: {(name, frozenset(labels)): value}."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            found = re.match(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$", line)
            assert found, f"not a Prometheus line: {line!r}"
            labels = frozenset(re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            self[(found[1], labels)] = float(found[3])

    def sum(self, name, **labels):
        """The sum over all series of that name that have these labels; 0 when there is none."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.items() if n == name and wanted <= set(have))

    def names(self):
        return {n for n, _ in self}


def _read_to_the_end(pipe):
    """A worker runs hundreds of servers, and pytest keeps them all: each would hold its pipe."""
    with pipe:
        pipe.read()


class Server:
    """One `hotseat serve` with folders of its own. Use the `server` fixture, which ends it and looks at its log."""

    def __init__(self, folder, models, seat="fake", options=(), config=None, env=None, cache=None, debug=True, model=None,
                 log_level="debug", prefix=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cache = pathlib.Path(cache) if cache else self.folder / "cache"
        self.models = [pathlib.Path(m) for m in (models if isinstance(models, (list, tuple)) else [models])]
        self.seat, self.options, self.debug, self.model = seat, list(options), debug, model
        self.config, self.log_level = config, log_level
        self.prefix = list(prefix)  # a command that starts another one
        self.env = env or {}
        self.process = None
        self.port = None
        self.allow_in_log = []  # patterns that would else fail the test
        self.starts = 0

    # ---- life ----
    @property
    def log_path(self):
        return self.folder / f"log.{self.starts}"

    @property
    def log(self):
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("log.*")))

    def command(self):
        seat = BUILD / ("hotseat-seat-fake" if self.seat == "fake" else "hotseat-seat")
        command = [str(BUILD / "hotseat"), "serve", "--port", "0", "--cache-dir", str(self.cache), "--seat-program", str(seat),
                   "--log-level", self.log_level]
        for m in self.models:
            command += ["--models", str(m)]
        if self.model:
            command += ["--model", self.model]
        if self.debug:
            command.append("--debug")
        if self.config is not None:
            path = self.folder / "hotseat.ini"
            path.write_text(self.config)
            command += ["--config", str(path)]
        return self.prefix + command + [str(o) for o in self.options]

    def clean_env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_") and k != "XDG_CONFIG_HOME"}
        env["XDG_CONFIG_HOME"] = str(self.folder / "no-config")
        env.update({k: str(v) for k, v in self.env.items()})
        return env

    def start(self, ready=True, timeout=30):
        """Starts it and waits for the ready line; with ready also until the first model is seated (or the seat is empty)."""
        assert self.process is None or self.process.poll() is not None, "already running"
        self.starts += 1
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
                                            env=self.clean_env(), cwd=self.folder)
        end = time.monotonic() + seconds(timeout)
        line = b""
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"no ready line; log:\n{self.log[-4000:]}")
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                self.process.wait()
                raise AssertionError(f"ended with {self.process.returncode} before it was ready; log:\n{self.log[-4000:]}")
            line += piece
        found = re.match(rb"hotseat: ready on http://[^:]+:(\d+)\n", line)
        assert found, line
        self.port = int(found[1])
        threading.Thread(target=_read_to_the_end, args=(self.process.stdout,), daemon=True).start()
        if ready:
            wait_until(lambda: self.get("/health/ready").status == 200, timeout=60, what="ready")
        return self

    def stop(self, timeout=30, expect=0):
        """SIGTERM; the exit status must be expect."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds(timeout))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end on SIGTERM; log:\n{self.log[-4000:]}") from None
        assert status == expect, f"exit status {status}; log:\n{self.log[-4000:]}"
        return status

    def kill(self):
        """kill -9 of the front; its seats notice by themselves."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def kill_everything(self):
        """kill -9 of the front and its seats at once, as a power cut of the program would be."""
        pids = self.children()
        os.kill(self.process.pid, signal.SIGKILL)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        wait_until(lambda: not any(pathlib.Path(f"/proc/{p}/exe").exists() and _alive(p) for p in pids), what="seats gone")

    def restart(self, **kw):
        self.stop()
        return self.start(**kw)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def children(self):
        return children_of(self.process.pid)

    def seat_pid(self):
        """The pid of the seat (not of a measuring one), or None."""
        for pid in self.children():
            try:
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"hotseat-seat" in command and b"--measure" not in command:
                return pid
        return None

    def kill_seat(self):
        """kill -9 of the seat; returns the pid it had, without waiting for the next one."""
        pid = wait_until(self.seat_pid, what="a seat")
        os.kill(pid, signal.SIGKILL)
        return pid

    def check_log(self):
        for line in self.log.splitlines():
            if SANITIZER.search(line) and not any(re.search(p, line) for p in self.allow_in_log):
                raise AssertionError(f"in the server's log: {line}\n{self.log[-6000:]}")

    # ---- HTTP ----
    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connection(self, timeout=60):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds(timeout))

    def request(self, method, path, body=None, headers=None, timeout=120):
        """One request on a connection of its own. body: bytes as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        c = self.connection(timeout)
        try:
            c.request(method, path, body=body, headers=headers)
            r = c.getresponse()
            return Response(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
        finally:
            c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body=body if body is not None else {}, **kw)

    def raw(self, data=b"", timeout=10):
        """A plain socket with data already sent."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=seconds(timeout))
        if data:
            s.sendall(data)
        return s

    # ---- inference ----
    @staticmethod
    def messages(messages):
        return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages

    def _headers(self, agent, debug, headers):
        out = dict(headers or {})
        if agent is not None:
            out["X-Hotseat-Agent"] = agent
        if debug:
            out["X-Hotseat-Debug"] = "1"
        return out

    def body(self, model, messages, params):
        body = {"messages": self.messages(messages), "temperature": 0, **params}
        if model is not None:
            body["model"] = model
        return body

    def chat(self, model, messages, agent=None, debug=False, headers=None, timeout=300, **params):
        """A whole answer; ApiError when it is not one. T=0 unless params say otherwise."""
        return self.post("/v1/chat/completions", self.body(model, messages, params), headers=self._headers(agent, debug, headers),
                         timeout=timeout).ok()

    def complete(self, model, prompt, agent=None, debug=False, headers=None, timeout=300, **params):
        body = {"prompt": prompt, "temperature": 0, **params}
        if model is not None:
            body["model"] = model
        return self.post("/v1/completions", body, headers=self._headers(agent, debug, headers), timeout=timeout).ok()

    def open_stream(self, path, body, headers=None, timeout=300, method="POST"):
        c = self.connection(timeout)
        headers = dict(headers or {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        c.request(method, path, body=None if body is None else json.dumps(body).encode(), headers=headers)
        r = c.getresponse()
        if r.status != 200:
            response = Response(r.status, {k.lower(): v for k, v in r.getheaders()}, r.read())
            c.close()
            raise ApiError(response)
        return Stream(c, r)

    def stream(self, model, messages, agent=None, debug=False, headers=None, timeout=300, **params):
        """A streamed chat, headers already read: iterate it, or read_all()."""
        params.setdefault("stream_options", {"include_usage": True})
        body = self.body(model, messages, dict(params, stream=True))
        return self.open_stream("/v1/chat/completions", body, self._headers(agent, debug, headers), timeout)

    def events(self, timeout=300):
        """GET /admin/events, read in the background: the list of (event, data) grows as they come."""
        stream = self.open_stream("/admin/events", None, method="GET", timeout=timeout)
        seen = []

        def reader():
            try:
                for item in stream:
                    seen.append(item if isinstance(item, tuple) else (None, item))
            except (OSError, ValueError, http.client.HTTPException, AttributeError):
                pass
        threading.Thread(target=reader, daemon=True).start()
        return stream, seen

    # ---- administration ----
    def swap(self, model, timeout=300, **kw):
        return self.post("/admin/models/swap", {"model": model, **kw}, timeout=timeout).ok()

    def offload(self):
        return self.post("/admin/models/offload").ok()

    def current(self):
        return self.get("/admin/models/current").ok()

    def swap_status(self):
        return self.get("/admin/swap").ok()

    def ready(self):
        r = self.get("/health/ready")
        return r.status, r.text

    def fault(self, name, times=1, arg=None):
        body = {"name": name, "times": times}
        if arg is not None:
            body["arg"] = arg
        return self.post("/admin/debug/fault", body).ok()

    def metrics(self):
        r = self.get("/metrics")
        assert r.status == 200, r.body
        return Metrics(r.text)

    def block_files(self):
        """Every file below the store's blocks/: {path: (inode, mtime_ns, ctime_ns, size)}. What goes meanwhile is left out."""
        out = {}
        for folder, _, names in os.walk(self.cache / "blocks"):
            for p in (pathlib.Path(folder) / n for n in names):
                try:
                    st = p.stat()
                except FileNotFoundError:
                    continue
                out[str(p.relative_to(self.cache))] = (st.st_ino, st.st_mtime_ns, st.st_ctime_ns, st.st_size)
        return dict(sorted(out.items()))


class Talk:
    """A conversation of one agent with one model; say() sends the whole of it and keeps the answer, as clients do."""

    def __init__(self, server, model, agent=None, system=None, debug=True, **params):
        self.server, self.model, self.agent, self.debug, self.params = server, model, agent, debug, params
        self.messages = [{"role": "system", "content": system}] if system else []
        self.answers = []

    def say(self, text, **params):
        self.messages.append({"role": "user", "content": text})
        answer = self.server.chat(self.model, self.messages, agent=self.agent, debug=self.debug, **{**self.params, **params})
        message = answer["choices"][0]["message"]
        self.messages.append({"role": "assistant", "content": message["content"]})
        self.answers.append(answer)
        return Answer(answer)


class Answer:
    """The figures of one answer, by short names."""

    def __init__(self, body):
        self.body = body
        choice = body["choices"][0]
        self.text = choice["message"]["content"] if "message" in choice else choice["text"]
        self.finish = body["choices"][0]["finish_reason"]
        self.usage = body["usage"]
        self.prompt = self.usage["prompt_tokens"]
        self.generated = self.usage["completion_tokens"]
        self.cached = self.usage["prompt_tokens_details"]["cached_tokens"]
        self.hotseat = body["hotseat"]
        debug = self.hotseat.get("debug") or {}
        self.kv, self.logits, self.decoded = debug.get("kv_xxh3"), debug.get("first_logits_xxh3"), debug.get("decoded_tokens")

    def same_as(self, other):
        return (self.text, self.kv, self.logits) == (other.text, other.kv, other.logits)


def _alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid):
    """Living children, by /proc."""
    out = []
    for p in pathlib.Path("/proc").iterdir():
        if not p.name.isdigit():
            continue
        try:
            fields = (p / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            out.append(int(p.name))
    return sorted(out)


def alive(pid):
    return _alive(pid)


def memory_bytes(pid):
    """Private and anonymous memory of a process: what no file gives back."""
    total = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Dirty:", "Private_Clean:", "Anonymous:")):
            key, value, _ = line.split()
            if key != "Private_Clean:":
                total = max(total, int(value) * 1024)
    return total


def written_bytes(pid):
    """What the kernel counts as written to disk by this process."""
    return int(re.search(r"^write_bytes: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


def in_threads(calls, timeout=300):
    """Runs callables at once; gives (results, errors) in their order, None where there is none. A hang is a failure."""
    results, errors = [None] * len(calls), [None] * len(calls)

    def one(i):
        try:
            results[i] = calls[i]()
        except Exception as e:  # noqa: BLE001 - the test looks at it
            errors[i] = e
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(calls))]
    for t in threads:
        t.start()
    end = time.monotonic() + seconds(timeout)
    for t in threads:
        t.join(max(0, end - time.monotonic()))
        assert not t.is_alive(), "a request hangs"
    return results, errors


def run_cli(server, *args, timeout=60, env=None):
    """One `hotseat VERB ...` against a server; the finished process with text output."""
    url = server if isinstance(server, str) else server.url
    full = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_")}
    full.update({"HOTSEAT_SERVER": url, **(env or {})})
    return subprocess.run([str(BUILD / "hotseat"), *map(str, args)], capture_output=True, text=True, timeout=seconds(timeout), env=full,
                          stdin=subprocess.DEVNULL)


def link_models(folder, *names):
    """A models folder with links to the pinned real models."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        source = REAL_MODELS / f"{name}.gguf"
        assert source.exists(), f"{source} is missing: run scripts/setup"
        (folder / source.name).symlink_to(source)
    return folder


def copy_model(folder, name, to):
    """A real copy of a pinned model under another id, for damaging."""
    target = pathlib.Path(folder) / f"{to}.gguf"
    shutil.copyfile(REAL_MODELS / f"{name}.gguf", target)
    return target


def quote(text):
    return urllib.parse.quote(text, safe="")
