"""What the benchmarks share: where things are, servers as child processes, prompts, requests, figures."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
RELEASE = ROOT / "build/release"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "hotseat"
PIN = "0.3.36"
ENGINE = pathlib.Path(os.environ.get("HOTSEAT_ENGINE_DIR") or CACHE / "engine" / PIN)
MODELS = CACHE / "models"
SMOL = "SmolLM2-135M-Instruct.Q4_1"
QWEN = "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M"
GEMMA = "gemma-3-270m-Q4_K_M"
PIECE = 1 << 20
PAGE_CACHE = ("warm", "cold")  # a file is in it, or not
THREADS = max(1, min(os.cpu_count() or 1, 2))
WORDS = ("river stone lantern quiet harvest window copper meadow signal thread winter anchor garden mirror "
         "bridge candle forest pepper marble island rocket violin planet basket hammer silver").split()


def tools():
    build = ENGINE / "build-tools"
    targets = ["llama-server", "llama-bench"]
    if not all((build / "bin" / t).exists() for t in targets):
        print("building llama-server and llama-bench from the pinned source (once)", flush=True)
        subprocess.run(["cmake", "-S", ENGINE / "src", "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                        "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
                        "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_TOOLS=ON", "-DLLAMA_BUILD_SERVER=ON",
                        "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_OPENSSL=OFF", "-DGGML_NATIVE=ON"],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", build, *targets], check=True, stdout=subprocess.DEVNULL)
    return build / "bin"


def conditions(runs):
    """One line about the machine and the run, to stand under a table."""
    cpu = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", cpu.read_text(), re.M) if cpu.exists() else None
    return (f"{found[1] if found else os.uname().machine}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; engine {PIN}, "
            f"KV q8_0, flash attention, {THREADS} threads, no repack unless it is said; runs: {runs}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """A server as a child process; ended by its own id. Its log stays only when something went wrong."""

    def __init__(self, argv, ready, env=None):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)
        self.p = subprocess.Popen([str(a) for a in argv], stdout=self.log, stderr=self.log, env=env)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.p.poll() is not None:
                raise RuntimeError(f"{argv[0]} ended at start; see {self.log.name}")
            if ready(self):
                return
            time.sleep(0.05)
        raise RuntimeError(f"{argv[0]} was not ready in 120 s; see {self.log.name}")

    def text(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def stop(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            try:
                self.p.wait(60)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        self.log.close()
        if kind is None:  # else it says why
            os.unlink(self.log.name)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return r.status == 200
    except OSError:
        return False


def hotseat(folder, model=SMOL, extra=(), parallel=4, models=MODELS):
    def ready(p):
        m = re.search(r"hotseat: ready on (http://\S+)", p.text())
        if m:
            p.url = m.group(1)
        return bool(m) and answers(p.url + "/health/ready")

    return Program([RELEASE / "hotseat", "serve", "--port", "0", "--models", models, "--model", model, "--cache-dir", folder,
                    "--kv", "q8_0", "--threads", THREADS, "--parallel", parallel, *extra], ready)


def router(folder, repack=True, models=((MODELS / f"{SMOL}.gguf", 8192), (MODELS / f"{QWEN}.gguf", 16384))):
    """llama-server's router over these files, each with so many cells."""
    ini = pathlib.Path(folder) / "models.ini"
    common = f"flash-attn = on\ncache-type-k = q8_0\ncache-type-v = q8_0\nthreads = {THREADS}\nparallel = 4\nkv-unified = on\n"
    common += "" if repack else "repack = off\n"
    ini.write_text("".join(f"[{path.stem}]\nmodel = {path}\nctx-size = {cells}\n{common}\n" for path, cells in models))
    port = free_port()

    def ready(p):
        p.url = f"http://127.0.0.1:{port}"
        return answers(p.url + "/health")

    return Program([tools() / "llama-server", "--models-preset", ini, "--models-max", 1, "--port", port, "--no-ui"],
                   ready)


def llama_server(model, parallel, cells, extra=()):
    """llama.cpp's server on one model, set up as hotseat is: one buffer of so many cells for all slots."""
    port = free_port()

    def ready(p):
        p.url = f"http://127.0.0.1:{port}"
        return answers(p.url + "/health")

    return Program([tools() / "llama-server", "--model", MODELS / f"{model}.gguf", "--alias", model, "--port", port, "--no-ui",
                    "--parallel", parallel, "--kv-unified", "--ctx-size", cells, "--cache-type-k", "q8_0", "--cache-type-v", "q8_0",
                    "--flash-attn", "on", "--threads", THREADS, "--no-repack", *extra], ready)


@contextlib.contextmanager
def both(model, parallel, pool="128M", context=8192):
    """hotseat and llama-server on one model, side by side: the same cells, sequences, threads and KV type. Only one has work at a time."""
    with tempfile.TemporaryDirectory() as folder:
        with hotseat(folder, model, ("--pool", pool, "--context", context), parallel) as ours:
            cells = get(ours.url, "/admin/models/current")["cells"]
            with llama_server(model, parallel, cells) as theirs:
                yield {"hotseat": ours, "llama-server": theirs}


def prompt_of(n_tokens, salt):
    """About n_tokens of words: most are one token for both vocabularies."""
    out, i = [], salt
    while len(out) < n_tokens * 0.95:
        i = (i * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(WORDS[i % len(WORDS)])
    return "Remember these words: " + " ".join(out)


def turn(url, model, agent, messages, max_tokens=8):
    """One streamed turn: time to the first content, the text, the usage."""
    body = {"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, "prompt_cache_key": agent}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    start = time.monotonic()
    first, text, usage, extra = None, "", {}, {}
    with urllib.request.urlopen(request, timeout=600) as response:
        for raw in response:
            line = raw.decode().strip()
            if not line.startswith("data:") or line == "data: [DONE]":
                continue
            chunk = json.loads(line[5:])
            if "error" in chunk:
                raise RuntimeError(line)
            for choice in chunk.get("choices", []):
                piece = choice.get("delta", {}).get("content") or ""
                if piece and first is None:
                    first = time.monotonic() - start
                text += piece
            usage = chunk.get("usage") or usage
            extra = chunk.get("hotseat") or extra
    return {"ttft_ms": (first or time.monotonic() - start) * 1e3, "text": text, "usage": usage, "hotseat": extra}


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as r:
        return json.load(r)


def get(url, path):
    with urllib.request.urlopen(url + path, timeout=60) as r:
        return json.load(r)


def delete(url, path):
    with urllib.request.urlopen(urllib.request.Request(url + path, method="DELETE"), timeout=60) as r:
        return json.load(r)


def seat_of(server):
    children = subprocess.run(["pgrep", "-P", str(server.p.pid)], capture_output=True, text=True, check=True).stdout.split()
    return int(children[0])


def forget_file(path):
    """The file's pages leave the page cache, but for those that a process has mapped."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def read_file(path):
    """Seconds of reading it whole, in order."""
    buffer, began = bytearray(PIECE), time.monotonic()
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buffer):
            pass
    return time.monotonic() - began


def prepare(path, how):
    """how: one of PAGE_CACHE."""
    if how == "cold":
        forget_file(path)
    else:
        read_file(path)


def kernel_io(pid, key):
    return int(re.search(rf"^{key}: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text(), re.M)[1])


def kernel_written(pid):
    return kernel_io(pid, "write_bytes")


def kernel_read(pid):
    return kernel_io(pid, "read_bytes")


def saved(server):
    """Waits until nothing is on its way to the disk."""
    while True:
        with urllib.request.urlopen(server.url + "/metrics", timeout=60) as r:
            if re.search(r"^hotseat_cache_dirty_bytes 0$", r.read().decode(), re.M):
                return
        time.sleep(0.2)


class Stream(threading.Thread):
    """A streamed request on a thread of its own: when each piece of text came, and what the last chunk said. Ends by itself, or by leave()."""

    def __init__(self, url, path, body):
        super().__init__(daemon=True)
        at = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(at.hostname, at.port, timeout=600)
        self.path, self.body = path, body | {"stream": True, "stream_options": {"include_usage": True}}
        self.times, self.text, self.usage, self.hotseat = [], "", {}, {}
        self.sent = self.ended = self.error = None
        self.left = False
        self.sent = time.monotonic()
        self.start()

    def run(self):
        try:
            self.connection.request("POST", self.path, json.dumps(self.body), {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            if response.status != 200:
                raise RuntimeError(f"{response.status} {response.read(500).decode(errors='replace')}")
            for line in response:
                if line.startswith(b"data: {"):
                    self.take(json.loads(line[6:]))
        except (OSError, http.client.HTTPException, RuntimeError, ValueError, AttributeError) as e:
            if not self.left:
                self.error = e
        self.ended = time.monotonic()

    def take(self, chunk):
        if "error" in chunk:
            raise RuntimeError(json.dumps(chunk))
        for choice in chunk.get("choices") or []:
            piece = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            if piece:
                self.times.append(time.monotonic())
                self.text += piece
        self.usage = chunk.get("usage") or self.usage
        self.hotseat = chunk.get("hotseat") or self.hotseat

    def leave(self):
        """Closes the connection in the middle of the answer."""
        self.left = True
        if self.connection.sock:
            try:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.join(60)
        self.connection.close()

    def done(self):
        """Waits for the end of the answer; an error is raised here."""
        self.join()
        self.connection.close()
        if self.error:
            raise self.error
        return self

    def until(self, n):
        """Waits until n pieces of text have come."""
        while len(self.times) < n and self.is_alive():
            time.sleep(0.002)
        if self.error:
            raise self.error
        return self

    @property
    def first_ms(self):
        """To the first piece of text; an answer without one counts to its end."""
        return ((self.times[0] if self.times else self.ended) - self.sent) * 1e3

    def gaps_ms(self, since, until):
        """The time before each piece that came in this span."""
        return [(b - a) * 1e3 for a, b in zip(self.times, self.times[1:]) if since < b <= until]


def percentile(values, p):
    """The smallest value that p % of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * p // 100) - 1)]


def spread(values, form="{:.2f}"):
    """Median and, of more than one, the ends."""
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))}-{form.format(max(values))})"


def metric(server, name):
    """The sum over the series of that name."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=60) as r:
        return sum(float(v) for v in re.findall(rf"^hotseat_{name}(?:{{[^}}]*}})? (\S+)$", r.read().decode(), re.M))
