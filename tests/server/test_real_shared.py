"""C2 and C4 on real models: two that arrive together read their system prompt once; regenerating reads no prompt."""
import pytest
from hotseat_harness import Answer, in_threads
from real_talk import CONFIG, GEMMA, OPTIONS, SMOL, TURNS, check_counts, check_same, start, talk

SYSTEM = " ".join(TURNS[:4])


def ask(server, agent, question, model=SMOL):
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return lambda: Answer(server.chat(model, messages, agent=agent, debug=True, max_tokens=20, seed=1))


@pytest.mark.xdist_group("smol")
def test_c2_two_that_arrive_together_read_the_system_prompt_once(real_server, tmp_path):
    server = real_server(SMOL, options=OPTIONS, config=CONFIG, model=SMOL)
    answers, errors = in_threads([ask(server, "one", "Who ate the orange?"), ask(server, "two", "What is the lens made of?")])
    assert not any(errors), errors
    leader, follower = sorted(answers, key=lambda a: a.cached)
    assert leader.cached == 0 and follower.cached >= 512, (leader.hotseat, follower.hotseat)
    assert follower.prompt - follower.cached < 256 + 40, "all blocks that both begin with"
    for answer in answers:
        check_counts(answer)
    # The same KV bytes and logits as one after the other, where the second goes on from the store.
    quiet = start(tmp_path / "quiet", SMOL)
    try:
        questions = ["Who ate the orange?", "What is the lens made of?"]
        if leader is answers[1]:
            questions.reverse()
        assert ask(quiet, "one", questions[0])().logits == leader.logits
        second = ask(quiet, "two", questions[1])()
    finally:
        quiet.stop()
        quiet.check_log()
    check_same(follower, second)


@pytest.mark.parametrize("model", [pytest.param(SMOL, id="smol", marks=pytest.mark.xdist_group("smol")),
                                   pytest.param(GEMMA, id="gemma", marks=pytest.mark.xdist_group("gemma"))])
def test_c4_regenerating_reads_no_prompt(model, real_server):
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    conversation = talk(server, model, temperature=0.8)
    for turn in TURNS[:3]:
        answer = conversation.say(turn)
    assert answer.prompt > 512, "past Gemma's window"
    retries = []
    for _ in range(2):
        del conversation.messages[-2:]
        retries.append(conversation.say(TURNS[2]))
        assert retries[-1].cached == retries[-1].prompt - 1, retries[-1].hotseat
        check_counts(retries[-1])
    check_same(*retries)
    if model == SMOL:  # on Gemma a chunk of one token takes another matrix kernel
        assert retries[0].text == answer.text and retries[0].logits == answer.logits
