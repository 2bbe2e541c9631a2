"""Models as people keep them: in parts, behind links, on a disk that comes and goes, replaced while one of them is seated."""
import os
import threading
import time

import gguf_writer
import pytest
from fakes import add, assert_warm, seated, seconds, wait_until, warm_talk
from hotseat_harness import ApiError


def listed(s):
    return {m["id"]: m for m in s.get("/admin/models/available").ok()["models"]}


def refused(s, model):
    with pytest.raises(ApiError) as e:
        s.chat(model, "hello")
    return e.value.status, e.value.code, e.value.error["message"]


def state_becomes(s, model, state):
    wait_until(lambda: listed(s).get(model, {}).get("state") == state, what=f"{model} is {state}")
    return listed(s)[model]


# ---- parts ----

def test_parts_are_one_model(server, models):
    whole = (models / "b.gguf").stat().st_size
    parts = gguf_writer.split(models / "b.gguf", 3)
    s = server(model="a")
    b = listed(s)["b"]
    assert b["state"] == "available" and b["file_bytes"] == sum(p.stat().st_size for p in parts) > whole
    assert sorted(listed(s)) == ["a", "b", "c", "w"]
    talk = warm_talk(s, "b")
    s.swap("a")
    assert_warm(talk)
    s.swap("a", hold_s=0)
    with open(f"/proc/{s.seat_pid()}/maps") as f:
        assert "b-0000" not in f.read()


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_part_is_named_and_may_come(server, models, tmp_path, missing):
    part = gguf_writer.split(models / "b.gguf", 3)[missing - 1]
    part.rename(tmp_path / "away")
    s = server(model="a")
    assert listed(s)["b"]["state"] == "invalid"
    status, code, text = refused(s, "b")
    assert (status, code) == (422, "model_invalid") and f"part {missing} of 3 is missing: {part}" in text, text
    (tmp_path / "away").rename(part)
    state_becomes(s, "b", "available")
    assert s.swap("b")["status"] == "swapped"


def test_a_part_of_a_whole_model_of_that_name_is_no_news(server, models):
    add(models, "part")
    gguf_writer.split(models / "part.gguf", 2)[0].unlink()
    add(models, "part")
    s = server(model="a")
    assert listed(s)["part"]["state"] == "available"


# A whole file, and elsewhere a broken copy under its name that is met first.

def test_a_stray_part_hides_no_whole_model(server, models, tmp_path):
    stray = tmp_path / "first"
    stray.mkdir()
    (stray / "b-00002-of-00003.gguf").write_bytes((models / "c.gguf").read_bytes())
    s = server(models=[stray, models], model="a")
    assert listed(s)["b"]["state"] == "available"
    assert s.swap("b")["status"] == "swapped"


def test_a_dead_link_hides_no_whole_model(server, models, tmp_path):
    dead = tmp_path / "first"
    dead.mkdir()
    (dead / "b.gguf").symlink_to(tmp_path / "nowhere.gguf")
    (models / "c-00001-of-00002.gguf").symlink_to(tmp_path / "nowhere.gguf")  # in the same folder
    s = server(models=[dead, models], model="a")
    assert (listed(s)["b"]["state"], listed(s)["c"]["state"]) == ("available", "available")
    (models / "b.gguf").rename(tmp_path / "away")
    assert "which is not there" in state_becomes(s, "b", "invalid")["reason"]
    (tmp_path / "away").rename(models / "b.gguf")
    state_becomes(s, "b", "available")


def test_a_section_s_own_path_is_not_replaced(server, models, tmp_path):
    """Somebody has said which file it is."""
    gone = tmp_path / "gone.gguf"
    gone.symlink_to(tmp_path / "nowhere.gguf")
    s = server(model="a", config=f"[model b]\npath = {gone}\n")
    assert "which is not there" in listed(s)["b"]["reason"]


def test_a_damaged_part_is_named(server, models):
    part = gguf_writer.split(models / "b.gguf", 3)[1]
    part.write_bytes(part.read_bytes()[:-5000])
    s = server(model="a")
    status, code, text = refused(s, "b")
    assert (status, code) == (422, "model_invalid") and "part 2 of 3" in text, text


def test_parts_that_another_set_has_left(server, models):
    """Names alone make no set: the headers must say the same."""
    parts = gguf_writer.split(models / "b.gguf", 2)
    other = gguf_writer.split(models / "c.gguf", 3)
    parts[1].write_bytes(other[1].read_bytes())
    s = server(model="a")
    status, code, text = refused(s, "b")
    assert (status, code) == (422, "model_invalid") and "part 2 of 2" in text and "part 2 of 3" in text, text


# ---- links ----

def test_links_to_models(server, models, tmp_path):
    """As a download cache keeps them: a name here, the file under its hash elsewhere; parts, too."""
    store = tmp_path / "blobs"
    store.mkdir()
    for i, path in enumerate([models / "b.gguf", *gguf_writer.split(models / "c.gguf", 2)]):
        path.rename(store / f"hash-{i}")
        path.symlink_to(store / f"hash-{i}")
    s = server(model="a")
    assert (listed(s)["b"]["state"], listed(s)["c"]["state"]) == ("available", "available")
    talks = [warm_talk(s, "b"), warm_talk(s, "c")]
    for talk in talks:
        assert_warm(talk)


def test_a_link_that_leads_nowhere_is_said(server, models, tmp_path):
    """The disk with the models is not plugged in."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (models / "b.gguf").rename(disk / "b.gguf")
    (models / "b.gguf").symlink_to(disk / "b.gguf")
    disk.rename(tmp_path / "unplugged")
    s = server(model="a")
    assert listed(s)["b"]["state"] == "invalid"
    status, code, text = refused(s, "b")
    assert (status, code) == (422, "model_invalid") and f"a link to {disk / 'b.gguf'}, which is not there" in text, text
    (tmp_path / "unplugged").rename(disk)
    state_becomes(s, "b", "available")
    talk = warm_talk(s, "b")
    disk.rename(tmp_path / "unplugged")  # while it sits: its mapping stays
    s.get("/admin/models/available").ok()
    assert_warm(talk)
    s.swap("a")
    assert "which is not there" in state_becomes(s, "b", "invalid")["reason"]


def test_parts_behind_links_of_which_one_is_missing(server, models, tmp_path):
    """What is named is the part that is missing, not a link that is fine; of a link that is not, where it leads."""
    parts = gguf_writer.split(models / "b.gguf", 3)
    for i, part in enumerate(parts):
        part.rename(tmp_path / f"hash-{i}")
        part.symlink_to(tmp_path / f"hash-{i}")
    parts[1].unlink()
    s = server(model="a")
    text = listed(s)["b"]["reason"]
    assert text == f"part 2 of 3 is missing: {parts[1]}", text
    parts[1].symlink_to(tmp_path / "hash-1")
    state_becomes(s, "b", "available")
    (tmp_path / "hash-1").unlink()
    text = state_becomes(s, "b", "invalid")["reason"]
    assert text == f"part 2 of 3 is a link to {tmp_path / 'hash-1'}, which is not there", text


def test_a_link_in_a_circle(server, models):
    (models / "b.gguf").unlink()
    (models / "b.gguf").symlink_to(models / "b.gguf")
    s = server(model="a")
    assert listed(s)["b"]["state"] == "invalid" and "b.gguf" in listed(s)["b"]["reason"]
    assert refused(s, "b")[:2] == (422, "model_invalid")


# ---- replaced while it sits ----

def replace(s, path, data, created):
    """As a download does it: another file, then the old name. Returns when the server has seen it."""
    new = path.with_name("new.part")
    new.write_bytes(data)
    os.utime(new, (created, created))
    os.replace(new, path)
    wait_until(lambda: {m["id"]: m for m in s.get("/v1/models").ok()["data"]}[path.stem]["created"] == created, what="the new file is seen")


def test_a_file_replaced_while_seated_counts_from_the_next_load_on(server, models, tmp_path):
    """The seat keeps what it has mapped; the caches of the old weights are not the new ones', and are the old ones' once more."""
    path = models / "a.gguf"
    old = path.read_bytes()
    other = add(tmp_path, "a", seed="other weights").read_bytes()
    assert len(other) == len(old) and other != old
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    replace(s, path, other, 1700000000)
    assert seated(s) == "a" and s.seat_pid() == pid
    assert_warm(talk)
    said = list(talk.messages)
    s.swap("b", hold_s=0)
    s.swap("a", hold_s=0)
    assert talk.say("again [[len=40]]").cached == 0
    s.swap("b", hold_s=0)
    replace(s, path, old, 1600000000)
    s.swap("a", hold_s=0)
    talk.messages = said
    assert_warm(talk)


# ---- a disk that does not answer ----

def test_a_look_that_hangs_keeps_nobody_from_other_models(server, models, tmp_path):
    """The look at the models' files stands still, here at a template that is a pipe by now: after a while what was seen before counts."""
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    s = server(model="a", config=f"[model c]\ntemplate = {template}\n")
    template.unlink()
    os.mkfifo(template)
    try:
        began = time.monotonic()
        assert s.chat("b", "[[say:there]]")["choices"][0]["message"]["content"] == "there"
        assert s.swap("a")["status"] == "swapped"
        assert time.monotonic() - began > 5, "it did not hang"
    finally:
        writer = os.open(template, os.O_WRONLY)  # when somebody reads
        template.unlink()
        os.close(writer)
    state_becomes(s, "c", "invalid")
    template.write_text("{{ messages }}")
    state_becomes(s, "c", "available")


def hanging(s, template):
    """The template is a pipe from now on, and the look at the files has begun to read it. Closing the writer ends that."""
    template.unlink()
    os.mkfifo(template)

    def writer():
        try:
            return os.open(template, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return None
    return wait_until(writer, what="the look at the template")


def test_a_look_that_hangs_keeps_no_server_from_ending(server, models, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    s = server(model="a", config=f"[model c]\ntemplate = {template}\n")
    writer = hanging(s, template)
    s.stop(timeout=10)
    os.close(writer)
    assert "models.left" in s.log


def test_a_reload_that_hangs_keeps_no_server_from_ending(server, tmp_path):
    s = server(model="a", config="parallel = 2\n")
    config = s.folder / "hotseat.ini"
    config.unlink()
    os.mkfifo(config)
    got = []
    reload = threading.Thread(target=lambda: got.append(s.post("/admin/reload")))
    reload.start()
    writer = wait_until(lambda: os.open(config, os.O_WRONLY), what="the reload's reading")
    s.stop(timeout=10)
    reload.join()
    os.close(writer)
    assert got[0].status == 503 and got[0].json()["error"]["code"] == "shutting_down"


def test_a_reload_behind_a_look_that_hangs_is_answered(server, models, tmp_path):
    """It is read on the same thread, and whoever asked is told so: after a while, or at once when it hangs for a while already."""
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    s = server(model="a", config=f"[model c]\ntemplate = {template}\n")
    writer = hanging(s, template)
    began = time.monotonic()
    first = s.post("/admin/reload")
    assert first.status == 503 and "could not be read yet" in first.json()["error"]["message"], first.text
    assert time.monotonic() - began < seconds(15)
    began = time.monotonic()
    second = s.post("/admin/reload")
    assert second.status == 503 and "was not read" in second.json()["error"]["message"], second.text
    assert time.monotonic() - began < seconds(2)
    template.unlink()
    os.close(writer)
    template.write_text("{{ messages }}")
    wait_until(lambda: "id=reload ok=1" in s.log, what="the first one, as it was told")
    wait_until(lambda: s.post("/admin/reload").status == 200, what="a reload")
