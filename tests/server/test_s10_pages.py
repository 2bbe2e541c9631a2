"""S10 where the page cache counts: the file that has left the seat is given up when the next one has no room beside it, and kept otherwise."""
import os

import gguf_writer
import memory_group
import pytest
from fakes import add, seated
from hotseat_harness import ApiError, wait_until
from page_cache import cached_bytes

MB = 1 << 20
LIMIT, OLD, NEXT, BALLAST = 1000 * MB, 48 * MB, 40 * MB, 400 * MB  # half a gigabyte is spare, a fake model takes 60 MB besides its file


def warm(path):
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        while f.read(MB):
            pass
    assert cached_bytes(path) >= path.stat().st_size


@pytest.fixture
def group(request, tmp_path):
    if not memory_group.MADE:
        pytest.skip("nobody may make a memory group here")  # the unit tests say it of a full and an empty machine
    g = memory_group.MADE[-1](tmp_path, LIMIT)
    request.addfinalizer(g.close)
    return g


@pytest.fixture
def two(group, server, models):
    """A server in the group, what the old model's files are, and the next one's."""
    old = gguf_writer.split(add(models, "old", tensor_bytes=OLD, load_ms=300), 2)
    new = add(models, "next", tensor_bytes=NEXT, load_ms=300)  # a swap that is over ends the work on pages
    add(models, "doomed", tensor_bytes=NEXT, load_ms=500, load_fail=1)  # its hash is there before it fails
    s = server(model="old", prefix=group.prefix, options=["--pool", "8M", "--log-level", "debug"])
    for path in (*old, new):
        warm(path)
    return s, old, new


def looked(server):
    wait_until(lambda: "id=weights.ahead " in server.log.rpartition("to=LOADING model=next")[2], what="the look before the load")


def test_s10_the_old_model_stays_while_memory_is_ample(two):
    server, old, _ = two
    server.swap("next")
    looked(server)
    assert seated(server) == "next" and "id=weights.forgotten" not in server.log
    for path in old:
        assert cached_bytes(path) >= path.stat().st_size


def test_s10_all_files_of_the_old_model_go_when_the_next_has_no_room_beside_them(two, group):
    server, old, new = two
    group.take(BALLAST)
    server.swap("next")
    wait_until(lambda: "id=weights.forgotten" in server.log, what="the old model's pages are given up")
    for path in old:
        assert cached_bytes(path) < path.stat().st_size / 10, path
    assert cached_bytes(new) >= new.stat().st_size
    assert server.swap("old")["status"] == "swapped"


def test_s10_what_failed_to_load_goes_on_the_way_back(two, group, models):
    server, old, _ = two
    doomed = models / "doomed.gguf"
    warm(doomed)
    group.take(BALLAST)
    with pytest.raises(ApiError):
        server.swap("doomed")
    assert seated(server) == "old"
    wait_until(lambda: server.log.count("id=weights.forgotten") == 2, what="both are given up")
    assert cached_bytes(doomed) < doomed.stat().st_size / 10
