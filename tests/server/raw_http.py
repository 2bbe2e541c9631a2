"""Requests that no client library would send, and answers read strictly: one whole HTTP answer and nothing else."""
import json
import re
import socket

from hotseat_harness import Response, seconds

HOST = b"Host: localhost\r\n"


def read_answer(s, timeout=20):
    """One answer by its Content-Length from a socket; AssertionError when it is anything else."""
    s.settimeout(seconds(timeout))
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        assert piece, f"the connection ended without a whole head: {data!r}"
        data += piece
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    found = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]*", lines[0])
    assert found, lines[0]
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(": ")
        assert colon and name.lower() not in headers, lines
        headers[name.lower()] = value
    length = 0 if found[1] == "204" else int(headers["content-length"])
    while len(body) < length:
        piece = s.recv(65536)
        assert piece, f"the body ends after {len(body)} of {length} bytes"
        body += piece
    assert body[:9] != b"HTTP/1.1 ", "two heads"
    assert len(body) == length, body[length:]
    return Response(int(found[1]), headers, body)


def ask(server, data, timeout=20):
    """Sends bytes on a connection of their own; the one answer."""
    with server.raw(timeout=timeout) as s:
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent; the answer is there
        return read_answer(s, timeout)


def ended(s, timeout=5):
    """Whether the server closes without another byte."""
    s.settimeout(seconds(timeout))
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True
    except socket.timeout:
        return False


def post(path, body, *headers):
    """The bytes of a POST; headers: whole lines."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = b"".join(h.encode("latin-1") + b"\r\n" for h in headers)
    return b"POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s" % (
        path.encode(), HOST, len(body), lines, body)


def get(path, *headers):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + b"".join(h.encode("latin-1") + b"\r\n" for h in headers) + b"\r\n"
