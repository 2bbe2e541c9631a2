"""S4, S5 where others have the memory: what can't fit is refused before anything is unloaded, and looked at again before it is loaded."""
import threading

import memory_group
import pytest
from fakes import add, assert_warm, long_text, running, seated, wait_until, warm_talk
from hotseat_harness import ApiError

MB = 1 << 20
LIMIT, TOO_LARGE, LARGE, BALLAST = 700 * MB, 800 * MB, 300 * MB, 450 * MB


def pytest_generate_tests(metafunc):
    ballast = "ballast" in metafunc.function.__name__
    metafunc.parametrize("group", memory_group.MADE if ballast else [*memory_group.MADE, memory_group.OptionLimit], indirect=True,
                         ids=lambda kind: kind.__name__)


@pytest.fixture
def group(request, tmp_path):
    g = request.param(tmp_path, LIMIT)
    request.addfinalizer(g.close)
    return g


@pytest.fixture
def limited(group, server, models):
    """A server in the group; large fits there while nobody else needs the memory, too_large never does."""
    add(models, "large", tensor_bytes=LARGE, sparse=True)
    add(models, "too_large", tensor_bytes=TOO_LARGE, sparse=True)
    add(models, "slow", step_us=15000)
    return server(model="slow", prefix=group.prefix, options=["--pool", "8M", *group.options])


def refused(call):
    with pytest.raises(ApiError) as e:
        call()
    error = e.value.error
    assert error["needed_bytes"] > error["available_bytes"] > 0 and LARGE < error["needed_bytes"] and error["available_bytes"] <= LIMIT, error
    return e.value.status, e.value.code


def test_s4_what_the_group_can_never_hold(limited, group):
    talk, pid = warm_talk(limited, "slow"), limited.seat_pid()
    for call in (lambda: limited.swap("too_large"), lambda: limited.chat("too_large", "hello")):
        assert refused(call) == (422, "model_too_large")
    assert seated(limited) == "slow" and limited.seat_pid() == pid
    assert limited.metrics().sum("hotseat_swap_step_seconds_count", step="unload") == 0
    assert_warm(talk)


def test_s4_what_it_can_not_hold_now_beside_a_ballast(limited, group):
    talk, pid = warm_talk(limited, "slow"), limited.seat_pid()
    group.take(BALLAST)
    for call in (lambda: limited.swap("large"), lambda: limited.chat("large", "hello")):
        assert refused(call) == (503, "no_seat")
    assert seated(limited) == "slow" and limited.seat_pid() == pid
    assert limited.metrics().sum("hotseat_swap_step_seconds_count", step="unload") == 0
    assert_warm(talk)
    group.give_back()
    assert limited.swap("large")["status"] == "swapped"


def test_s5_a_ballast_in_mid_swap_brings_the_old_model_back(limited, group):
    """The swap was allowed; while streams drain a ballast comes. It is no fault of the model: it may be loaded as soon as there is room."""
    talk = warm_talk(limited, "slow")
    stream = limited.stream("slow", [{"role": "user", "content": f"{long_text(100)} [[len=300]]"}])
    running(limited)
    failed = []

    def swap():
        try:
            failed.append(limited.swap("large"))
        except ApiError as e:
            failed.append(e)
    thread = threading.Thread(target=swap)
    thread.start()
    wait_until(lambda: limited.swap_status()["state"] == "DRAINING", what="the drain")
    group.take(BALLAST)
    assert limited.swap_status()["state"] == "DRAINING"
    assert len(stream.read_all().text.encode()) == 300  # a token is a byte
    thread.join()
    error = failed[0]
    assert isinstance(error, ApiError) and (error.status, error.code) == (500, "swap_failed"), error
    assert error.error["rolled_back"] is True and "are available" in error.error["message"], error.response.body
    assert seated(limited) == "slow"
    assert limited.metrics().sum("hotseat_swaps_total", outcome="rolled_back") == 1
    assert_warm(talk)
    group.give_back()
    assert limited.swap("large")["status"] == "swapped"


if not memory_group.MADE:  # nobody may make a group here; the second look has its unit test as well (test_swap.c)
    del test_s4_what_it_can_not_hold_now_beside_a_ballast, test_s5_a_ballast_in_mid_swap_brings_the_old_model_back
