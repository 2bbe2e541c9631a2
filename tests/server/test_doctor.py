"""hotseat doctor: what it finds, what it says to do, its exit status, and that it changes nothing."""
import json
import os
import resource
import socket
import subprocess

import gguf_writer
import pytest
from hotseat_harness import BUILD, seconds


@pytest.fixture
def doctor(tmp_path, models):
    """doctor(options...): (status, findings of --json), in a place where all is well unless the options say otherwise."""
    def look(*options, env=None, plain=False, cache=tmp_path / "cache", folder=models, seat=BUILD / "hotseat-seat-fake", hard_files=None):
        command = [BUILD / "hotseat", "doctor", "--port", "0", "--cache-dir", cache, "--cache-disk", "100M", "--models", folder]
        command += ["--seat-program", seat] if seat else []
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_")}
        clean.update({"XDG_CONFIG_HOME": str(tmp_path / "none"), **(env or {})})
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard_files, hard_files))) if hard_files else None
        done = subprocess.run([str(c) for c in [*command, *options, *([] if plain else ["--json"])]], capture_output=True, text=True, env=clean,
                              timeout=seconds(60), preexec_fn=limit, stdin=subprocess.DEVNULL)
        assert done.stderr == "", done
        return (done.returncode, done.stdout) if plain else (done.returncode, json.loads(done.stdout))
    return look


def problems(report, level="problem"):
    found = [f for f in report["findings"] if f["level"] == level]
    assert len(found) == report[level + "s"]
    return found


def only(report, level="problem"):
    found = problems(report, level)
    assert len(found) == 1, found
    return found[0]


def test_all_is_well_and_nothing_is_changed(doctor, tmp_path, models):
    status, report = doctor()
    assert status == 0 and not problems(report) and {f["level"] for f in report["findings"]} <= {"ok", "warning"}, report
    assert {f["check"] for f in report["findings"]} == {"config", "seat", "memory", "files", "port", "cache", "model"}
    assert [f["text"].split(":")[0] for f in report["findings"] if f["check"] == "model"] == ["a", "b", "c", "w"]
    assert not (tmp_path / "cache").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["models"]
    status, text = doctor(plain=True)
    assert status == 0 and len(text.splitlines()) == len(report["findings"])
    assert all(line.split()[0] in ("ok", "warning") for line in text.splitlines()), text


def test_a_running_server_holds_folder_and_port(doctor, server):
    s = server(model="a")
    status, report = doctor("--port", s.port, cache=s.cache)
    found = problems(report)
    assert status == 1 and {f["check"] for f in found} == {"cache", "port"}, found
    by_check = {f["check"]: f for f in found}
    assert f"pid {s.process.pid}" in by_check["cache"]["text"] and "--cache-dir" in by_check["cache"]["todo"]
    assert f"127.0.0.1:{s.port}" in by_check["port"]["text"] and "--port" in by_check["port"]["text"]
    assert s.chat("a", "still there? [[len=5]]")["choices"][0]["finish_reason"]


def test_a_port_of_another_program(doctor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        status, report = doctor("--port", taken.getsockname()[1])
    assert status == 1 and only(report)["check"] == "port"


@pytest.mark.parametrize("make, words", [
    (lambda p: p.write_text("a file"), "not a folder"),
    (lambda p: (p.mkdir(), (p / "theirs").write_text("x"), p.chmod(0o777)), "other users"),
    (lambda p: (p.mkdir(), p.chmod(0o1777)), "other users"),
    (lambda p: p.symlink_to("/proc"), "no file can be made"),
], ids=["a file", "others write", "sticky", "read only"])
def test_a_cache_folder_that_can_not_be_used(doctor, tmp_path, make, words):
    make(tmp_path / "cache")
    status, report = doctor()
    found = only(report)
    assert status == 1 and found["check"] == "cache" and words in found["text"] and found["todo"], found


@pytest.mark.parametrize("options, check, words", [
    (["--cache-disk", "900T"], "cache", "--cache-disk"),
    (["--memory", "900T"], "memory", "this machine has"),
    (["--models", "/no/such/folder"], "models", "/no/such/folder"),
], ids=["disk", "memory", "folder"])
def test_warnings_leave_the_status_at_0(doctor, models, options, check, words):
    status, report = doctor(*options, *(["--models", models] if "--models" in options else []))
    assert status == 0
    found = [f for f in problems(report, "warning") if f["check"] == check]
    assert len(found) == 1 and words in found[0]["text"] and found[0]["todo"], report


def test_a_cache_in_memory_is_a_warning(doctor, tmp_path):
    status, report = doctor(cache="/dev/shm/hotseat-no-such-folder")
    assert status == 0 and any(f["check"] == "cache" and "in memory" in f["text"] for f in problems(report, "warning")), report


def test_few_open_files(doctor):
    status, report = doctor(hard_files=300)
    found = [f for f in problems(report, "warning") if f["check"] == "files"]
    assert status == 0 and len(found) == 1 and "ulimit" in found[0]["todo"], report


def test_files_that_are_no_models(doctor, models):
    whole = (models / "a.gguf").read_bytes()
    (models / "a.gguf").write_bytes(whole[:len(whole) // 2])
    (models / "evil\n.gguf").write_bytes(b"GGUF")
    status, report = doctor()
    found = problems(report)
    assert status == 1 and [f["check"] for f in found] == ["model"] and found[0]["text"].startswith("a can't be loaded: "), found
    assert found[0]["todo"]


def test_no_model_at_all(doctor, tmp_path):
    (tmp_path / "empty").mkdir()
    status, report = doctor(folder=tmp_path / "empty")
    assert status == 1 and only(report)["check"] == "models" and "--models" in only(report)["todo"]
    status, report = doctor("--model", "nobody")
    assert status == 1 and '"nobody"' in only(report)["text"]


def test_a_model_that_is_too_large(doctor, tmp_path):
    """A problem for the one that would sit at start, else a warning."""
    (tmp_path / "hotseat.ini").write_text("[model b]\npool = 900T\n")
    status, report = doctor("--config", tmp_path / "hotseat.ini")
    found = [f for f in problems(report, "warning") if f["check"] == "model"]
    assert status == 0 and len(found) == 1 and found[0]["text"].startswith("b needs"), report
    status, report = doctor("--config", tmp_path / "hotseat.ini", "--model", "b")
    assert status == 1 and only(report)["text"].startswith("b needs") and "--memory" in only(report)["todo"]


def test_the_configuration(doctor, tmp_path):
    ini = tmp_path / "hotseat.ini"
    ini.write_text("[hotseat]\nparallel = 2\ncolour = red\n")
    status, report = doctor("--config", ini)
    assert status == 2 and only(report)["check"] == "config" and f"{ini}:3" in only(report)["text"] and "colour" in only(report)["text"]
    assert doctor("--parallel", "0")[0] == 2 and doctor("--colour", "red")[0] == 2 and doctor("--host", "0.0.0.0")[0] == 2
    ini.write_text("[model nobody]\npin = on\n")
    status, report = doctor("--config", ini, env={"HOTSEAT_COLOUR": "red"})
    words = [f["text"] for f in problems(report, "warning") if f["check"] == "config"]
    assert status == 0 and len(words) == 2 and "HOTSEAT_COLOUR" in words[0] and "[model nobody]" in words[1], words


def test_the_seat_program(doctor, tmp_path):
    status, report = doctor(seat=tmp_path / "none")
    assert status == 1 and only(report)["check"] == "seat" and "--seat-program" in only(report)["todo"]
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho hotseat-seat 0.0.1, engine of old\n")
    other.chmod(0o755)
    status, report = doctor(seat=other)
    assert status == 1 and only(report)["check"] == "seat" and "0.0.1" in only(report)["text"], report
    other.write_text("#!/bin/sh\nexit 3\n")
    status, report = doctor(seat=other)
    assert status == 1 and "does not run" in only(report)["text"]


def test_it_finds_the_seat_beside_itself(doctor, tmp_path):
    (tmp_path / "more").mkdir()
    gguf_writer.write(tmp_path / "more" / "x.gguf", name="fake x", seed=1)  # no model for a real engine
    status, report = doctor(seat=None, folder=tmp_path / "more")
    seat = [f for f in report["findings"] if f["check"] == "seat"]
    assert status == 1 and len(seat) == 1 and str(BUILD / "hotseat-seat") in seat[0]["text"], seat
    if (BUILD / "hotseat-seat").exists():  # not in builds without an engine
        assert seat[0]["level"] == "ok" and "x can't be loaded" in problems(report)[0]["text"]
    else:
        assert seat[0]["level"] == "problem"


def test_help(doctor):
    status, text = doctor("--help", plain=True)
    assert status == 0 and "hotseat serve" in text and "--json" in text
