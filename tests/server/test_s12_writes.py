"""S12: what has not changed is not written again."""
from fakes import saved, warm_talk
from hotseat_harness import written_bytes

BLOCK_BYTES = 256 * 4 * 2 * (34 + 34)


def test_s12_a_swap_without_new_tokens_writes_nothing(server):
    s = server(model="a")
    warm_talk(s, "a", agent="ann", n=1500)
    s.swap("b", hold_s=0)
    warm_talk(s, "b", agent="bob", n=900)
    s.swap("a", hold_s=0)
    saved(s)
    files, written = s.block_files(), written_bytes(s.seat_pid())
    assert len(files) >= 8
    for model in "babab":
        answer = s.swap(model, hold_s=0)
        assert (answer["blocks_written"], answer["bytes_written"]) == (0, 0), answer
    assert s.block_files() == files
    assert written_bytes(s.seat_pid()) - written < BLOCK_BYTES, "less than one block: recency in the index alone"


def test_s12_one_new_turn_writes_that_turn(server):
    s = server(model="a")
    talk = warm_talk(s, "a", agent="ann", n=1500)
    s.swap("b", hold_s=0), s.swap("a", hold_s=0)
    saved(s)
    before = s.block_files()
    talk.say("and one more [[len=300]]")
    s.swap("b", hold_s=0)
    after = s.block_files()
    new = set(after) - set(before)
    assert 1 <= len(new) <= 4, new
    gone = set(before) - set(after)
    assert len(gone) <= 2, "at most the tail it grew out of"
    assert all(after[f] == before[f] for f in set(before) & set(after))
    total = sum(after[f][3] for f in new)
    assert total < 4 * BLOCK_BYTES


def test_s12_window_model(server):
    s = server(model="w")
    warm_talk(s, "w", agent="ann", n=1500)
    s.swap("b", hold_s=0)
    saved(s)
    files = s.block_files()
    s.swap("w", hold_s=0), s.swap("b", hold_s=0)
    assert s.block_files() == files
