"""X-Hotseat-Priority and X-Hotseat-Timeout-S as a client sees them."""
import time

import pytest
from fakes import add, in_threads, long_text, running, seated, seconds, wait_until
from hotseat_harness import ApiError


def priority(p):
    return {"X-Hotseat-Priority": p}


def time_limit(s):
    return {"X-Hotseat-Timeout-S": str(s)}


def text_of(answer):
    return answer["choices"][0]["message"]["content"]


def test_background_causes_no_swap_while_the_seated_model_is_wanted(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--patience", "0", "--stay-min", "0.5", "--wait-bound", "0", "--drain-timeout", "0"])
    busy = s.stream("a", "[[len=3000]]")
    next(iter(busy))
    done = {}

    def ask(name, headers):
        done[name] = text_of(s.chat(name, "[[say:fine]]", headers=headers))

    def normal():  # a normal one takes the seat from the long answer, which is parked and goes on
        wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 1, what="the background one waits")
        time.sleep(0.3)  # it must not have done anything by then
        assert seated(s) == "a" and s.metrics().sum("hotseat_swaps_total") == 0
        ask("c", None)
    _, errors = in_threads([lambda: ask("b", priority("background")), normal, busy.read_all])
    assert errors == [None] * 3
    assert done == {"b": "fine", "c": "fine"}
    assert busy.done and len(busy.text.encode()) >= 3000
    order = [h["to"] for h in reversed(s.swap_status()["swaps"])]
    assert order == ["c", "a", "b"], order
    assert s.metrics().sum("hotseat_streams_parked_total") >= 1


def test_interactive_goes_first(server, models):
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--parallel", "1"])
    busy = s.stream("a", "[[len=800]]")
    next(iter(busy))
    running(s, 1)
    ends = []

    def ask(name, headers, before):
        wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") >= before, what="its turn to ask")
        s.chat("a", f"[[say:{name}]]", headers=headers)
        ends.append(name)
    _, errors = in_threads([lambda: ask("background", priority("background"), 0), lambda: ask("normal", None, 1),
                            lambda: ask("interactive", priority("interactive"), 2), busy.read_all])
    assert errors == [None] * 4
    assert ends == ["interactive", "normal", "background"]


def test_background_gives_its_cells_up(server, models):
    """There are sequences enough, but it has reserved 12 of the pool's 15 blocks: who needs five does not wait for its end."""
    add(models, "a", seed=0, step_us=3000)
    s = server(model="a", options=["--pool", "2M", "--parallel", "4"])
    batch = s.stream("a", "[[len=2500]]", max_tokens=3000, headers=priority("background"))
    next(iter(batch))
    running(s, 1)
    other = s.stream("a", long_text(800) + "[[len=300]]", max_tokens=300)
    next(iter(other))
    m = s.metrics()
    assert (m.sum("hotseat_requests_waiting"), m.sum("hotseat_streams_running")) == (1, 1)
    assert m.sum("hotseat_streams_resubmitted_total") == 0, "it would find no cells"
    other.read_all()
    assert other.done and len(other.text.encode()) >= 300
    batch.read_all()
    assert batch.done and len(batch.text.encode()) >= 2500
    assert s.metrics().sum("hotseat_streams_resubmitted_total") == 1


def test_too_late_is_408_and_its_work_ends(server, models):
    add(models, "a", seed=0, step_us=5000)
    s = server(model="a", options=["--stay-min", "600", "--wait-bound", "600"])
    began = time.monotonic()
    with pytest.raises(ApiError) as e:
        s.chat("a", "[[len=4000]]", headers=time_limit(0.5))
    assert (e.value.status, e.value.code) == (408, "timeout"), e.value
    assert "0.5 s" in str(e.value) and 0.5 <= time.monotonic() - began < seconds(1.5)
    wait_until(lambda: s.metrics().sum("hotseat_streams_running") == 0, timeout=1, what="the seat has let go")
    st = s.stream("a", "[[len=4000]]", headers=time_limit(0.7)).read_all()
    assert st.status == 200 and st.text and st.error["code"] == "timeout", st.error
    busy = s.stream("a", "[[len=4000]]")
    next(iter(busy))
    with pytest.raises(ApiError) as e:
        s.chat("b", "[[say:never]]", headers=time_limit(0.3))
    assert e.value.status == 408 and "waited for b" in str(e.value)
    waiting = s.stream("b", "[[say:never]]", headers=time_limit(1.5)).read_all()  # after its first sign of life
    assert waiting.comments and waiting.error["code"] == "timeout"
    wait_until(lambda: s.metrics().sum("hotseat_requests_waiting") == 0, timeout=2, what="nobody waits")
    busy.close()
    assert s.metrics().sum("hotseat_requests_total", outcome="timeout") == 4
    assert s.metrics().sum("hotseat_swaps_total") == 0
    assert text_of(s.chat("a", "[[say:in time]]", headers=time_limit(60))) == "in time"


def test_headers_that_mean_nothing_are_refused(server):
    s = server(model="a")
    for headers in (priority("urgent"), priority(""), time_limit("soon"), time_limit(0), time_limit(-1), time_limit("1e9")):
        with pytest.raises(ApiError) as e:
            s.chat("a", "x", headers=headers)
        assert (e.value.status, e.value.code) == (400, "invalid_request"), (headers, e.value)
        assert e.value.error["param"] == next(iter(headers)), e.value
