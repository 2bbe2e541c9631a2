"""C2: a beginning that several share is read once, also while the first of them is still reading it."""
import threading

import pytest
from fakes import add, long_text, running
from hotseat_harness import Answer, in_threads, wait_until

SYSTEM = long_text(4000, salt="You are the keeper of a lighthouse.")
BLOCKS = 3840  # of its tokens, with what the template puts around it


@pytest.fixture
def slow(models):
    """A model that takes a second for 4,000 tokens, and the same with a window."""
    add(models, "slow", token_us=250)
    add(models, "sloww", token_us=250, architecture="gemma3", layers=6, window=512)
    return models


def ask(server, model, agent, text, system=SYSTEM):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": f"{text} [[len=20]]"}]
    return lambda: Answer(server.chat(model, messages, agent=agent, debug=True))


def check_counts(answers, cached):
    """One has read all of it, the others nothing of what they share."""
    assert sorted(a.cached for a in answers) == [0] + [cached] * (len(answers) - 1), [a.hotseat for a in answers]
    for a in answers:
        assert a.decoded <= a.prompt - a.cached + a.generated, a.hotseat


@pytest.mark.parametrize("agents", [("one", "two"), ("one", "two", "three"), (None, None)], ids=["two", "three", "nobody"])
@pytest.mark.parametrize("model", ["slow", "sloww"])
def test_c2_who_comes_together_reads_the_system_prompt_once(server, slow, model, agents):
    s = server(model=model)
    answers, errors = in_threads([ask(s, model, a, f"question {i}") for i, a in enumerate(agents)])
    assert not any(errors), errors
    check_counts(answers, BLOCKS)
    for i, answer in enumerate(answers):  # on a server that knows nothing the same text and logits
        fresh = server(model=model)
        alone = ask(fresh, model, "alone", f"question {i}")()
        fresh.stop()
        assert alone.cached == 0 and alone.logits == answer.logits and alone.text == answer.text


def test_c2_who_comes_in_the_middle_takes_over_what_is_read_already(server, slow):
    s = server(model="slow")
    results = []
    thread = threading.Thread(target=lambda: results.append(ask(s, "slow", "one", "first")()))
    thread.start()
    running(s)
    second = ask(s, "slow", "two", "second")()
    thread.join()
    check_counts([results[0], second], BLOCKS)


def test_c2_the_leader_goes_away(server, slow):
    s = server(model="slow")
    body = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "first"}]
    leader = s.stream("slow", body, agent="one")
    second = []
    thread = threading.Thread(target=lambda: second.append(ask(s, "slow", "two", "second")()))
    thread.start()
    running(s, 2)
    leader.close()
    thread.join(60)
    assert second, "the follower hangs"
    assert second[0].decoded <= second[0].prompt - second[0].cached + second[0].generated
    wait_until(lambda: s.metrics().sum("hotseat_streams_running") == 0, what="all have ended")
