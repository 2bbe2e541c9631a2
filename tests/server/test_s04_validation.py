"""S4, S5: a swap that cannot succeed never unloads anything; one that fails while loading brings the old model back."""
import struct

import gguf_writer
import pytest
from fakes import add, assert_warm, seated, wait_until, warm_talk
from hotseat_harness import ApiError


def truncated(folder):
    add(folder, "bad", data_cut=5000)


def no_gguf(folder):
    (folder / "bad.gguf").write_bytes(b"this is a text that was renamed\n" * 100)


def empty(folder):
    (folder / "bad.gguf").write_bytes(b"")


def header_cut(folder):
    add(folder, "bad")
    data = (folder / "bad.gguf").read_bytes()
    (folder / "bad.gguf").write_bytes(data[:200])


def wild_counts(folder):
    add(folder, "bad")
    data = bytearray((folder / "bad.gguf").read_bytes())
    data[8:24] = struct.pack("<QQ", 2**60, 2**61)
    (folder / "bad.gguf").write_bytes(data)


def wild_offset(folder):
    add(folder, "bad")
    data = bytearray((folder / "bad.gguf").read_bytes())
    at = data.find(b"blk.3.attn_k.weight") + len(b"blk.3.attn_k.weight") + 4 + 16 + 4
    data[at:at + 8] = struct.pack("<Q", 2**50)
    (folder / "bad.gguf").write_bytes(data)


def no_layers(folder):
    add(folder, "bad", layers=0, tensors=[("token_embd.weight", (128, 320))])


def version_9(folder):
    add(folder, "bad", version=9)


def bad_epsilon(folder):
    add(folder, "bad", epsilon=float("nan"))


DAMAGES = [truncated, no_gguf, empty, header_cut, wild_counts, wild_offset, no_layers, version_9, bad_epsilon]


def nothing_moved(server, pid, talk):
    assert seated(server) == "a"
    assert server.seat_pid() == pid
    assert server.metrics().sum("hotseat_swap_step_seconds_count", step="unload") == 0
    assert_warm(talk)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
def test_s4_damaged_file_is_refused_before_anything_is_unloaded(server, models, damage):
    damage(models)
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    for call in (lambda: s.swap("bad"), lambda: s.chat("bad", "hello")):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (422, "model_invalid"), e.value
        assert "bad" in e.value.error["message"] or len(e.value.error["message"]) > 12
    nothing_moved(s, pid, talk)


def test_s4_unknown_model(server, models):
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    for call in (lambda: s.swap("nobody"), lambda: s.chat("nobody", "hello")):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (404, "model_not_found"), e.value
    nothing_moved(s, pid, talk)


def test_s4_too_large_is_refused_with_figures(server, models):
    add(models, "big", tensor_bytes=160 << 20)
    s = server(model="a", options=["--memory", "128M", "--pool", "8M"])
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    for call in (lambda: s.swap("big"), lambda: s.chat("big", "hello")):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (422, "model_too_large"), e.value
        assert e.value.error["needed_bytes"] > e.value.error["available_bytes"] > 0, e.value.error
    nothing_moved(s, pid, talk)


def test_s4_too_large_for_the_gpu_is_refused_and_says_so(server, models):
    """Metal's working set is smaller than the memory of the machine; here the fake engine says that it has a GPU."""
    add(models, "big", tensor_bytes=48 << 20, device_mb=40)
    add(models, "small", tensor_bytes=16 << 20, device_mb=40)
    s = server(model="a", options=["--pool", "8M"])
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    for call in (lambda: s.swap("big"), lambda: s.chat("big", "hello")):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (422, "model_too_large"), e.value
        assert "the GPU may hold no more" in e.value.error["message"] and e.value.error["available_bytes"] == 40 << 20, e.value.error
    nothing_moved(s, pid, talk)
    assert s.swap("small")["status"] == "swapped"


def test_s4_control_the_same_swap_of_a_whole_file_unloads(server, models):
    """What nothing_moved() looks at does move when a swap happens."""
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    assert s.swap("b")["status"] == "swapped"
    with pytest.raises(AssertionError):
        nothing_moved(s, pid, talk)


def test_s4_file_cut_while_another_model_is_seated(server, models):
    """The file changes after the scan: it is read again before anything is unloaded."""
    s = server(model="a")
    talk, pid = warm_talk(s, "a"), s.seat_pid()
    data = (models / "b.gguf").read_bytes()
    (models / "b.gguf").write_bytes(data[:-4000])
    with pytest.raises(ApiError) as e:
        s.swap("b")
    assert e.value.status == 422
    nothing_moved(s, pid, talk)


@pytest.mark.parametrize("fault", ["load_fail", "configure_fail"])
def test_s5_failed_load_brings_the_old_model_back_and_cools_down(server, fault):
    s = server(model="a")
    talk = warm_talk(s, "a")
    s.fault(fault)
    with pytest.raises(ApiError) as e:
        s.swap("b")
    assert e.value.status == 500 and e.value.code == "swap_failed", e.value
    body = e.value.response.json()
    assert (body.get("rolled_back") or body["error"].get("rolled_back")) is True, body
    assert fault in e.value.error["message"], e.value
    assert seated(s) == "a"
    assert_warm(talk)
    for call in (lambda: s.swap("b"), lambda: s.chat("b", "hello")):
        with pytest.raises(ApiError) as e:
            call()
        assert (e.value.status, e.value.code) == (503, "model_cooling_down"), e.value
        assert int(e.value.response.headers["retry-after"]) >= 1
    assert seated(s) == "a"


def test_s5_waiting_request_gets_the_reason(server, models):
    """At once, not when the old model is back; nobody else may try it then."""
    add(models, "a", load_ms=2000)
    add(models, "broken", load_fail=1)
    s = server(model="a")
    talk = warm_talk(s, "a")
    for _ in range(2):
        with pytest.raises(ApiError) as e:
            s.chat("broken", "hello")
        assert (e.value.status, e.value.code) == (503, "model_cooling_down") and "load_fail" in e.value.error["message"], e.value
        assert 10 <= int(e.value.response.headers["retry-after"]) <= 20, "the way back, and 10 s"
        assert s.ready()[0] == 503, "a is not back yet"
    wait_until(lambda: s.ready()[0] == 200, what="ready again")
    assert seated(s) == "a"
    assert_warm(talk)


def test_s5_who_comes_on_the_way_back_waits_for_a_try_of_his_own(server, models):
    """The file was put right meanwhile: what the old one had is no answer."""
    add(models, "a", load_ms=2000)
    add(models, "broken", load_fail=1)
    s = server(model="a")
    with pytest.raises(ApiError):
        s.chat("broken", "hello")
    add(models, "broken", seed=7)
    s.post("/admin/reload").ok()
    assert s.ready()[0] == 503, "a is not back yet"
    assert s.chat("broken", "[[say:here]]")["choices"][0]["message"]["content"] == "here"
    assert seated(s) == "broken"


def test_s5_first_model_broken_leaves_an_empty_seat(server, models):
    add(models, "broken", load_fail=1)
    s = server(model="broken", ready=False)
    answer = None

    def answered():
        nonlocal answer
        try:
            answer = s.chat("a", "[[say:here]]")
        except ApiError:
            return False
        return True
    wait_until(answered, what="a answers")
    assert answer["choices"][0]["message"]["content"] == "here"


def test_s4_writer_makes_good_files(server, models):
    """The damages above start from a file that is fine."""
    gguf_writer.write(models / "fine.gguf", name="fine", seed="fine")
    s = server(model="a")
    assert s.swap("fine")["to"] == "fine"
