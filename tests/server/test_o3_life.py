"""O3 and the start: signals, what ends a start with which status, one server per cache folder."""
import os
import signal
import socket
import subprocess
import time

import pytest
from fakes import add, assert_warm, saved, seated, wait_until, warm_talk
from hotseat_harness import Answer, Server


def refused(s, status, *words):
    """The start ends with this status and one line that holds these words. An option of the test's own takes the harness's place."""
    env, command = s.clean_env(), s.command()
    for option in [o for o in s.options if str(o).startswith("--")]:
        if command.count(option) > 1:
            at = command.index(option)
            del command[at:at + 2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, stdin=subprocess.DEVNULL, cwd=s.folder)
    assert done.returncode == status, done
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("hotseat serve:")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_o3_sigterm_saves_and_ends_with_0(server, models):
    s = server(model="a")
    talk = warm_talk(s, "a", n=1000)
    pids = s.children()
    s.stop()
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)
    s.start()
    assert_warm(talk)


def test_o3_sigterm_while_a_stream_runs(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--drain-timeout", "20"])
    stream = s.stream("a", "[[len=300]]")
    events = iter(stream)
    next(events)
    began = time.monotonic()
    s.process.send_signal(signal.SIGTERM)
    wait_until(lambda: s.get("/health/ready").status == 503, what="not ready any more", timeout=5)
    assert s.get("/health/ready").json() == {"status": "stopping"}
    for _ in events:
        pass
    assert stream.done or stream.error, stream.raw[-300:]
    if stream.done:
        assert len(stream.text.encode()) == 300
    assert s.process.wait(30) == 0
    assert time.monotonic() - began < 20


def test_o3_sigint_too(server):
    s = server(model="a")
    s.process.send_signal(signal.SIGINT)
    assert s.process.wait(30) == 0


def test_o3_sigterm_during_a_load(server, models):
    add(models, "b", seed=1, load_ms=20000)
    s = server(model="a")
    s.post("/admin/models/swap", {"model": "b", "wait": False})
    wait_until(lambda: s.swap_status()["state"] == "LOADING", what="loading")
    began = time.monotonic()
    s.stop()
    assert time.monotonic() - began < 15


def test_o3_sighup_and_reload_apply_what_can_be(server, models):
    config = "cache-disk = 64M\n"
    s = server(model="a", config=config)
    assert s.get("/admin/cache").ok()["budget_bytes"] == 64 << 20
    (s.folder / "hotseat.ini").write_text("cache-disk = 96M\n")
    s.process.send_signal(signal.SIGHUP)
    wait_until(lambda: s.get("/admin/cache").ok()["budget_bytes"] == 96 << 20, what="the new budget")
    add(models, "later", seed=77)
    s.post("/admin/reload").ok()
    wait_until(lambda: "later" in [m["id"] for m in s.get("/v1/models").ok()["data"]], what="the new model")  # the look follows the answer
    assert s.chat("later", "[[say:x]]")["model"] == "later" and seated(s) == "later"


def test_o3_reload_of_a_broken_file_keeps_what_is(server):
    s = server(model="a", config="cache-disk = 64M\n")
    (s.folder / "hotseat.ini").write_text("cache-disk = lots\n")
    r = s.post("/admin/reload")
    assert r.status == 400 and "cache-disk" in r.json()["error"]["message"], r.body
    assert s.get("/admin/cache").ok()["budget_bytes"] == 64 << 20


def test_second_server_on_the_same_cache_folder(server, models, tmp_path):
    s = server(model="a")
    other = Server(tmp_path / "other", models, cache=s.cache)
    refused(other, 1, str(s.cache), str(s.process.pid))
    assert s.chat("a", "[[say:fine]]")["choices"][0]["message"]["content"] == "fine"


def test_lock_is_free_after_kill_9(server):
    s = server(model="a")
    s.kill_everything()
    s.start()
    assert seated(s) == "a"


def test_without_the_lock_no_seat_gets_the_store(server, tmp_path):
    lock = tmp_path / "cache" / "LOCK"
    lock.mkdir(parents=True)  # can't be opened
    s = server(model="a", cache=lock.parent)
    current = s.current()
    assert not current["cache_on"] and current["cache_reason"], current
    assert s.chat("a", "[[say:fine]]")["choices"][0]["message"]["content"] == "fine"
    assert [f.name for f in lock.parent.iterdir()] == ["LOCK"]
    lock.rmdir()
    pid = s.seat_pid()
    s.kill_seat()
    wait_until(lambda: s.seat_pid() not in (None, pid) and s.current().get("cache_on"), what="a seat with the store")


def test_port_is_taken(models, tmp_path):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        s = Server(tmp_path / "s", models, options=["--port", str(busy.getsockname()[1])])
        refused(s, 1, str(busy.getsockname()[1]))


@pytest.mark.parametrize("options, words", [
    (["--kv", "q3"], ["--kv", "f16"]), (["--parallel", "0"], ["parallel", "1"]), (["--cache-disk", "-5"], ["cache-disk"]),
    (["--seat-program", "/nowhere/seat"], ["/nowhere/seat"]), (["--colour", "red"], ["colour"]), (["--host", "0.0.0.0"], ["key"])])
def test_bad_options_end_the_start_with_2(models, tmp_path, options, words):
    refused(Server(tmp_path / "s", models, options=options), 2, *words)


def test_bad_configuration_file_names_file_line_and_key(models, tmp_path):
    s = Server(tmp_path / "s", models, config="\n\nparallel = 9999\n")
    refused(s, 2, "hotseat.ini", "3", "parallel", "64")
    refused(Server(tmp_path / "t", models, config="colour = red\n"), 2, "hotseat.ini", "1", "colour")
    refused(Server(tmp_path / "u", models, config="[model a]\nkv = q9\n"), 2, "hotseat.ini", "2", "kv")


def test_cache_folder_that_is_a_file(models, tmp_path):
    (tmp_path / "file").write_text("x")
    refused(Server(tmp_path / "s", models, cache=tmp_path / "file"), 2, str(tmp_path / "file"))


def test_folder_without_models(server, tmp_path):
    (tmp_path / "none").mkdir()
    s = server(models=tmp_path / "none")
    assert s.ready()[0] == 200 and "empty" in s.ready()[1]
    r = s.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]})
    assert r.status in (404, 503) and r.json()["error"]["message"], r.body


def test_models_come_and_go(server, models):
    s = server(model="a")
    add(models, "new", seed=5)
    wait_until(lambda: "new" in {m["id"] for m in s.get("/v1/models").ok()["data"]}, what="the new model", timeout=15)
    (models / "new.gguf").unlink()
    wait_until(lambda: "new" not in {m["id"] for m in s.get("/v1/models").ok()["data"] if m["hotseat"]["state"] != "gone"}, what="gone",
               timeout=15)


def test_modes_of_the_cache_folder(server):
    s = server(model="a")
    warm_talk(s, "a", n=600)
    s.stop()
    for root, folders, files in os.walk(s.cache):
        assert os.stat(root).st_mode & 0o777 == 0o700, root
        for f in files:
            assert os.stat(os.path.join(root, f)).st_mode & 0o777 == 0o600, f


def test_seat_descriptors_and_environment(server):
    """The seat starts with a clean environment and nothing open that is not its own."""
    s = server(model="a", env={"SECRET_THING": "x"})
    pid = s.seat_pid()
    with open(f"/proc/{pid}/environ", "rb") as f:
        assert b"SECRET_THING" not in f.read()
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("LOCK" in link for link in links), links


@pytest.mark.parametrize("asked", ["the same", "something else"])
@pytest.mark.parametrize("n_parked", [0, 1])
@pytest.mark.parametrize("model", ["a", "w"])
def test_o3_sigterm_in_the_middle_of_an_answer_keeps_the_turn_before(server, models, model, n_parked, asked):
    """Whatever the interrupted turn has stored (its prompt's end, what it had said when a swap parked it, when the server stopped): the next
    question goes on from where the turn before it had ended, all of it, whether it is the one that was interrupted or another one."""
    add(models, "a", seed=0, step_us=4000)
    add(models, "w", architecture="gemma3", layers=6, seed=9, window=512, step_us=4000)
    s = server(model=model, options=["--drain-timeout", "0"])
    talk = warm_talk(s, model, n=1100)
    saved(s)
    answer = Answer(talk.answers[-1])
    least = answer.prompt + answer.generated - 1  # the last token was sampled and never read
    assert least % 256 > 0, "nothing would be lost with the tail"
    question = {"role": "user", "content": "and then? [[len=500]]"}
    stream = s.stream(model, [*talk.messages, question], agent="ann")
    events = iter(stream)
    for _ in range(20):
        next(events)
    for _ in range(n_parked):
        assert s.swap("b", drain_timeout_s=0, hold_s=0)["parked"] == 1
        for _ in range(20):
            next(events)
    s.stop()
    stream.read_all()
    assert not stream.done
    s.start()
    talk.messages.append(question if asked == "the same" else {"role": "user", "content": "or rather, why? [[len=20]]"})
    again = Answer(s.chat(model, talk.messages, agent="ann", debug=True))
    assert again.cached >= (least if asked == "something else" else again.prompt - 1), again.usage
