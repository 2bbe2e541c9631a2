"""hotseat chat, at a terminal and through a pipe, on the fake engine."""
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from fakes import add, running, seated, wait_until
from hotseat_harness import BUILD, run_cli, seconds
from pty_talk import Terminal

def chat(server, *args, **kw):
    url = server if isinstance(server, str) else server.url
    return Terminal([BUILD / "hotseat", "chat", "--server", url, *args], **kw)


def pipe(server, text, *args, timeout=60, env=None):
    url = server if isinstance(server, str) else server.url
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_")} | (env or {})
    return subprocess.run([str(BUILD / "hotseat"), "chat", "--server", url, *map(str, args)], input=text.encode() if isinstance(text, str) else text,
                          capture_output=True, timeout=seconds(timeout), env=clean)


def say(t, text, before=r"(\r|\n)"):
    t.type(text + "\n")
    t.expect(r"\n")  # the echo
    return t.prompt(before)


def saved(t, path):
    say(t, f"/save {path}")
    assert path.stat().st_mode & 0o777 == 0o600
    return json.loads(path.read_text())


def test_two_turns_at_a_terminal(server, tmp_path):
    s = server(model="a")
    with chat(s) as t:
        t.prompt()
        first = say(t, "hello [[say:Grüße 🙂 an alle]]")
        assert first.startswith("Grüße 🙂 an alle\r\n\x1b[2ma: ") and "tokens/s" in first, first
        second = say(t, "and now [[say:again]]")
        assert "again\r\n" in second and "tokens from the cache" in second, second
        body = saved(t, tmp_path / "talk.json")
        assert body == {"model": "a", "messages": [
            {"role": "user", "content": "hello [[say:Grüße 🙂 an alle]]"}, {"role": "assistant", "content": "Grüße 🙂 an alle"},
            {"role": "user", "content": "and now [[say:again]]"}, {"role": "assistant", "content": "again"}]}
        assert "File exists" in say(t, f"/save {tmp_path / 'talk.json'}")
        t.type("\x04")
        assert t.ended() == 0
    agents = s.get("/admin/agents").ok()["agents"]
    assert len(agents) == 1 and agents[0]["id"].startswith("chat-"), agents  # one name for the whole chat


def test_another_model_takes_the_seat(server, models):
    add(models, "slow", load_ms=2500)
    s = server(model="a")
    with chat(s, "a", "--agent", "ann") as t:
        t.prompt()
        say(t, "tell me [[len=40]]")
        assert "slow answers from now on; it takes the seat with your next message" in say(t, "/model slow")
        shown = say(t, "go on [[say:I am slow]]", before=r"tokens/s.*\n")
        assert "waiting for slow: place 1" in shown and "about " in shown, shown
        assert shown.index("waiting for") < shown.index("\r\x1b[KI am slow\r\n"), shown  # it took the place of the line
        assert "slow: " in shown and "; waited " in shown and "the swap took " in shown, shown
        assert seated(s) == "slow"
        assert "a answers from now on; it takes the seat" in say(t, "/model a")
        back = say(t, "and you? [[len=5]]", before=r"tokens/s.*\n")
        assert "a: " in back and "tokens from the cache, restored in " in back, back
        assert say(t, "/model").startswith("\x1b[2ma\x1b")
        models_shown = say(t, "/models")
        assert "MODEL" in models_shown and "slow" in models_shown
        t.type("/quit\n")
        assert t.ended() == 0
    assert {(a["id"], a["model"]) for a in s.get("/admin/agents").ok()["agents"]} == {("ann", "a"), ("ann", "slow")}


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(server, models, tmp_path):
    add(models, "steady", step_us=3000)
    s = server(model="steady")
    with chat(s) as t:
        t.prompt()
        t.type("talk [[len=100000]]\n")
        t.expect(r"\n")
        t.expect(r"\w+ \w+ \w+ ")
        t.type("\x03")
        t.expect("stopped")
        t.prompt()
        wait_until(lambda: s.metrics().sum("hotseat_requests_total", outcome="canceled") == 1, what="the server has let it go")
        assert "more" in say(t, "once more [[say:more]]")
        part = saved(t, tmp_path / "talk.json")["messages"]
        assert [m["role"] for m in part] == ["user", "assistant", "user", "assistant"]
        assert 10 < len(part[1]["content"]) < 100000 and part[3]["content"] == "more"
        t.type("\x03")  # at the prompt
        assert t.ended() == 0


def test_ctrl_c_while_it_waits_takes_the_message_back(server, models, tmp_path):
    add(models, "slow", load_ms=20000)
    s = server(model="a")
    with chat(s, "a") as t:
        t.prompt()
        say(t, "/model slow")
        t.type("hello\n")
        t.expect("waiting for slow")
        t.type("\x03")
        t.expect("stopped")
        t.prompt()
        assert saved(t, tmp_path / "talk.json")["messages"] == []
        t.type("\x04")
        assert t.ended() == 0


def test_lines_can_be_edited_and_called_back(server, tmp_path):
    s = server(model="a")
    with chat(s, env={"LC_ALL": "C"}) as t:  # UTF-8 all the same
        t.prompt()
        say(t, "üü\x7f x\x7fy")   # backspace takes a character, not a byte
        say(t, "\x1b[A!")          # arrow up
        t.type("not this\x15")      # kill the line
        say(t, "that")
        content = [m["content"] for m in saved(t, tmp_path / "talk.json")["messages"] if m["role"] == "user"]
        assert content == ["ü y", "ü y!", "that"]
        t.type("\x04")
        assert t.ended() == 0


def test_commands(server, tmp_path):
    s = server(model="a")
    with chat(s, "--system", "be brief") as t:
        t.prompt()
        help_text = say(t, "/help")
        for name in ("/model", "/models", "/new", "/system", "/save", "/quit", "Ctrl-C"):
            assert name in help_text
        assert "there is no /dance" in say(t, "/dance")
        assert "a\r\n" in say(t, "//dance [[say:a]]")
        assert "needs a file" in say(t, "/save")
        talk = saved(t, tmp_path / "1.json")["messages"]
        assert talk[0] == {"role": "system", "content": "be brief"} and talk[1]["content"] == "/dance [[say:a]]"
        say(t, "/new")
        say(t, "/system be  long")
        t.type('"""\none\n\n  two [[say:b]]\n"""\n')
        t.expect("b\r\n")
        t.prompt()
        assert saved(t, tmp_path / "2.json")["messages"] == [
            {"role": "system", "content": "be  long"}, {"role": "user", "content": "one\n\n  two [[say:b]]"}, {"role": "assistant", "content": "b"}]
        say(t, "/system")
        assert saved(t, tmp_path / "3.json")["messages"][0]["role"] == "user"
        t.type("/quit\n")
        assert t.ended() == 0


def test_errors_at_a_terminal_leave_the_prompt(server, tmp_path):
    s = server(model="a")
    with chat(s) as t:
        t.prompt()
        say(t, "hello [[say:one]]")
        refused = say(t, "/model nobody")
        assert 'no model is named "nobody"' in refused and "hotseat models" in refused
        s.stop()
        gone = say(t, "anybody? [[len=5]]")
        assert "no server at" in gone and "hotseat serve" in gone, gone
        assert [m["content"] for m in saved(t, tmp_path / "talk.json")["messages"]][:2] == ["hello [[say:one]]", "one"]
        t.type("\x04")
        assert t.ended() == 0


def test_a_server_that_dies_in_the_middle(server, models, tmp_path):
    add(models, "steady", step_us=3000)
    s = server(model="steady")
    with chat(s) as t:
        t.prompt()
        t.type("talk [[len=100000]]\n")
        t.expect(r"\n")
        seen = re.search(r"\w+ \w+ \w+ $", t.expect(r"\w+ \w+ \w+ "))[0]
        s.kill_everything()
        t.expect("no whole answer from")
        t.prompt()
        part = saved(t, tmp_path / "talk.json")["messages"]
        assert len(part) == 2 and seen in part[1]["content"]  # what came is kept
        t.type("\x04")
        assert t.ended() == 0


def test_a_signal_at_the_prompt_leaves_the_terminal_as_it_was(server):
    s = server(model="a")
    for sig in (signal.SIGTERM, signal.SIGINT):
        with chat(s) as t:
            t.prompt()
            t.process.send_signal(sig)
            assert t.ended() == -sig


def test_ctrl_z_at_the_prompt_gives_the_shell_back(server):
    s = server(model="a")
    with Terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"], env={"PS1": "shell% ", "HISTFILE": ""}) as t:
        t.expect("shell% ")
        t.type(f"'{BUILD}/hotseat' chat --server {s.url}\n")
        t.prompt()
        t.type("half a ")
        t.expect("half a ")
        t.type("\x1a")
        t.expect("Stopped")
        t.expect("shell% ")
        t.type("fg\n")
        t.prompt(r"\x1b\[K")  # the line is drawn again
        t.expect("half a ")
        t.type("line [[say:whole]]\n")
        t.expect("whole\r\n")
        t.prompt()
        t.type("\x04")
        t.expect("shell% ")
        t.type("exit $?\n")
        assert t.ended() == 0


def test_thoughts_are_shown_and_not_kept(server, tmp_path):
    s = server(model="a")
    with chat(s) as t:
        t.prompt()
        shown = say(t, "why? [[think:because]] [[say:so]]")
        assert "\x1b[2mbecause" in shown and "so\r\n" in shown, shown
        assert saved(t, tmp_path / "talk.json")["messages"][1]["content"] == "so"
        t.type("\x04")
        assert t.ended() == 0


def test_through_a_pipe(server):
    s = server(model="a")
    done = pipe(s, 'one [[say:Grüße 🙂]]\n\n"""\ntwo\nlines [[say:zwei]]\n"""\n/models\nthree [[say:drei]]')
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0 and lines[:2] == ["Grüße 🙂", "zwei"] and lines[2].startswith("MODEL") and lines[-1] == "drei", done
    notes = done.stderr.decode().splitlines()
    assert len(notes) == 3 and all(n.startswith("a: ") for n in notes) and "\x1b" not in done.stderr.decode()
    assert " tokens from the cache" not in notes[0] and " tokens from the cache" in notes[2]


def test_what_a_model_writes_does_not_steer_the_terminal(server):
    s = server(model="a")
    done = pipe(s, b"x [[say:\x1b[31mred\x07\x7f\xc2\x9b2J\ttab\xff\r.]]\n")
    assert done.returncode == 0
    assert done.stdout.decode() == "[31mred2J\ttab\N{REPLACEMENT CHARACTER}.\n", done.stdout


def test_exit_status(server):
    s = server(model="a")
    nobody = pipe(s, "hello\n", "nobody")
    assert nobody.returncode == 1 and nobody.stdout == b"" and b'"nobody"' in nobody.stderr and len(nobody.stderr.splitlines()) == 1
    away = pipe("http://127.0.0.1:9", "hello\n")
    assert away.returncode == 3 and b"no server at http://127.0.0.1:9" in away.stderr and b"hotseat serve" in away.stderr
    later = pipe(s, "one [[say:1]]\n/model nobody\ntwo [[say:2]]\n")
    assert later.returncode == 1 and later.stdout == b"1\n"  # the first error ends it
    assert pipe(s, "/dance\n").returncode == 2
    assert pipe(s, "", "a", "b").returncode == 2 and pipe(s, "", "--json").returncode == 2
    assert pipe(s, "").returncode == 0


def test_a_refused_turn_in_a_pipe(server, models):
    """Before the stream and in it."""
    add(models, "broken", load_fail=1)
    s = server(model="a")
    done = pipe(s, "hello " + "word " * 5000 + "\n")
    assert done.returncode == 1 and b"context" in done.stderr and b"HTTP 400" in done.stderr, done.stderr
    done = pipe(s, "hello\n", "broken")
    assert done.returncode == 1 and done.stdout == b"" and done.stderr.startswith(b"hotseat chat: "), done


PIECE = b'data: {"model": "m", "choices": [{"delta": {"content": "hi"}}]}\n\n'


@pytest.mark.parametrize("events, status, says", [
    (PIECE, 3, b"broke off"),
    (PIECE + b'data: {"error": {"message": "no luck", "code": "engine_died"}}\n\n', 1, b"no luck (engine_died)"),
    (PIECE + b"data: {nope\n\n", 3, b"no whole answer"),
    (b": waiting\n\n: waiting model=\n\n: waiting position=x model=m eta_ms=\n\n: working\n\n" + PIECE + b"data: [DONE]\n\n", 0, b""),
    (PIECE + b'data: {"choices": [], "usage": {}}\n\ndata: [DONE]\n\n', 0, b"m: 0 read in 0 ms; 0 written"),
], ids=["broken off", "error", "garbage", "comments", "empty figures"])
def test_what_a_server_may_send(events, status, says):
    class Odd(http.server.BaseHTTPRequestHandler):
        def answer(self, kind, body):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer("application/json", b'{"data": []}')

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer("text/event-stream", events)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd) as odd:
        thread = threading.Thread(target=odd.serve_forever)
        thread.start()
        try:
            done = pipe(f"http://127.0.0.1:{odd.server_port}", "hello\n")
        finally:
            odd.shutdown()
            thread.join()
    assert done.returncode == status and done.stdout == b"hi\n" and says in done.stderr, done
    assert says or not done.stderr


def test_keys(server, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    s = server(model="a", options=["--api-key", str(tmp_path / "key")])
    done = pipe(s, "hello\n")
    assert done.returncode == 1 and b"--api-key" in done.stderr
    done = pipe(s, "hello [[say:yes]]\n", "--api-key", tmp_path / "key")
    assert done.returncode == 0 and done.stdout == b"yes\n"


def test_a_long_answer_is_shown_as_it_comes(server, models):
    add(models, "steady", step_us=2000)
    s = server(model="steady")
    p = subprocess.Popen([str(BUILD / "hotseat"), "chat", "--server", s.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        p.stdin.write(b"talk [[len=2000]]\n")
        p.stdin.flush()
        running(s)
        began = time.monotonic()
        first = os.read(p.stdout.fileno(), 20)
        assert first and time.monotonic() - began < seconds(2)
        p.stdin.close()
        assert len(p.stdout.read()) > 1000 and p.wait(seconds(30)) == 0
    finally:
        p.kill()
        p.wait()


def test_help_names_it(server):
    done = run_cli("http://127.0.0.1:9", "chat", "--help")
    assert done.returncode == 0 and "--system" in done.stdout and "--agent" in done.stdout
