"""The front alone: the fake engine at no cost behind it, wrk before it, nginx with a fixed body beside it."""
import contextlib
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request

from common import RELEASE, ROOT, Program, answers, free_port, hotseat, spread

WRK = """
wrk.method, wrk.body = "{method}", {body}
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
    local e = summary.errors
    io.write(string.format('RESULT {{"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}}\\n', summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log; keepalive_requests 1000000000; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; default_type application/json; {places} }}
}}
"""
ASK = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "[[len=1]]"}], "max_tokens": 1, "temperature": 0})
WHAT = {  # what is asked -> method, path, body
    "a chat of one token": ("POST", "/v1/chat/completions", ASK),
    "the list of models": ("GET", "/v1/models", None),
    "health": ("GET", "/health/live", None),
}


def wrk(url, what, connections, seconds, folder):
    method, path, body = WHAT[what]
    script = pathlib.Path(folder) / "wrk.lua"
    script.write_text(WRK.format(method=method, body=f"[==[{body}]==]" if body else "nil"))
    out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script, url + path],
                         capture_output=True, text=True, check=True, timeout=seconds + 60).stdout
    found = json.loads(re.search(r"^RESULT (.+)$", out, re.M)[1])
    if found["errors"] or not found["requests"]:
        raise RuntimeError(f"{what} at {url}: {found}")
    return {"rps": found["requests"] / found["us"] * 1e6, "p50_ms": found["p50_us"] / 1e3, "p99_ms": found["p99_us"] / 1e3}


def sizes_of(url):
    """Bytes of the body of each answer."""
    out = {}
    for what, (method, path, body) in WHAT.items():
        request = urllib.request.Request(url + path, body.encode() if body else None, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as r:
            out[what] = len(r.read())
    return out


def nginx(folder, sizes):
    """The ruler: the same number of bytes, without a thought."""
    port = free_port()
    places = " ".join(f"location = {WHAT[what][1]} {{ return 200 '{'x' * n}'; }}" for what, n in sizes.items())
    config = pathlib.Path(folder) / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, places=places))

    def ready(p):
        p.url = f"http://127.0.0.1:{port}"
        return answers(p.url + "/health/live")

    return Program([shutil.which("nginx") or "/usr/sbin/nginx", "-c", config, "-e", "stderr"], ready)


def fake(folder):
    sys.path.append(str(ROOT / "tests/server"))
    import gguf_writer  # what the tests of the fake engine use
    models = pathlib.Path(folder) / "models"
    models.mkdir()
    gguf_writer.write(models / "fake.gguf", name="fake", context=16384)
    return hotseat(pathlib.Path(folder) / "cache", "fake", ("--models", models, "--seat-program", RELEASE / "hotseat-seat-fake"), 64)


def bench_front(runs, quick):
    """Requests a second through the front with an engine that costs nothing, and nginx with a body of the same size, in turns. Both
    write their log."""
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is missing: apt-get install wrk")
    ruler = shutil.which("nginx") or pathlib.Path("/usr/sbin/nginx").exists()
    if not ruler:
        print("nginx is missing, so there is no ruler: apt-get install nginx-light", flush=True)
    seconds = 1 if quick else 5
    result, rows = {}, []
    with tempfile.TemporaryDirectory() as folder, fake(folder) as server:
        sizes = sizes_of(server.url)
        with nginx(folder, sizes) if ruler else contextlib.nullcontext() as other:
            for what in WHAT:
                for connections in (16,) if quick else (1, 16, 64):
                    ours, theirs = [], []
                    for _ in range(runs):
                        ours.append(wrk(server.url, what, connections, seconds, folder))
                        if ruler:
                            theirs.append(wrk(other.url, what, connections, seconds, folder))
                    result[f"{what} {connections}"] = {"hotseat": ours, "nginx": theirs}
                    row = f"| {what}, {sizes[what]} bytes | {connections}"
                    for found in (ours, theirs):
                        row += (f" | {spread([f['rps'] for f in found], '{:,.0f}')} | {statistics.median(f['p50_ms'] for f in found):.2f} / "
                                f"{statistics.median(f['p99_ms'] for f in found):.2f} ms") if found else " | - | -"
                    rows.append(row + " |")
                    print(rows[-1], flush=True)
    print("\n| what is asked | connections | hotseat, requests/s | median / p99 | nginx, requests/s | median / p99 |\n|---|---|---|---|---|---|\n" +
          "\n".join(rows))
    return result
