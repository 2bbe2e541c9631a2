"""Swaps of real models: S1, S2, S3, S12, C1, with the KV bytes and logits compared to state that never left memory."""
import pytest
from hotseat_harness import Answer, Talk, copy_model, link_models, wait_until, written_bytes
from real_talk import (CONFIG, GEMMA, MODELS, OPTIONS, OTHER, SHORT, TURNS, check_counts, check_same, start, talk)



def each_of(models):
    return pytest.mark.parametrize("model", [pytest.param(m, id=SHORT[m], marks=pytest.mark.xdist_group(SHORT[m])) for m in models])


per_model = each_of(MODELS)
_references = {}


@pytest.fixture
def reference(model, tmp_path_factory):
    """The whole conversation on a server that does nothing else: no swap, no pause, no restart."""
    return reference_of(model, tmp_path_factory)


def reference_of(model, tmp_path_factory):
    if model not in _references:
        server = start(tmp_path_factory.mktemp(f"reference-{SHORT[model]}"), model)
        try:
            conversation = talk(server, model)
            _references[model] = [conversation.say(t) for t in TURNS]
            assert _references[model][3].cached > 512, "the conversation is too short to say anything about a window"
            for answer in _references[model]:
                check_counts(answer)
                assert answer.hotseat["restore_ms"] == 0, "this one is to be what never left memory"
        finally:
            server.stop()
    return _references[model]


@pytest.fixture
def swapping(model, real_server):
    """A server with the model and another one."""
    return real_server(model, OTHER[model], options=OPTIONS, config=CONFIG, model=model)


def clean(server):
    """Waits until everything is on disk."""
    wait_until(lambda: server.metrics().sum("hotseat_cache_dirty_bytes") == 0, what="nothing dirty")


@per_model
def test_s1_next_turn_after_a_swap_reads_only_the_new_tokens(model, swapping, reference):
    conversation = talk(swapping, model)
    for i in range(3):
        check_same(conversation.say(TURNS[i]), reference[i])
    assert swapping.swap(OTHER[model])["status"] == "swapped"
    back = swapping.swap(model)
    assert back["status"] == "swapped" and back["kind"] == "hot", back
    answer = conversation.say(TURNS[3])
    assert answer.cached > 512 and answer.hotseat["restore_ms"] > 0, answer.hotseat
    assert answer.prompt - answer.cached < answer.prompt / 2
    check_same(answer, reference[3])
    # The turn after the restored one goes on in the cells.
    check_same(conversation.say(TURNS[4]), reference[4])


@each_of(MODELS[:1])
def test_s1_negative_control_a_flipped_kv_byte_is_seen(model, swapping, reference):
    """After a swap; C1 below has one for each model, after a restart."""
    conversation = talk(swapping, model)
    for turn in TURNS[:3]:
        conversation.say(turn)
    swapping.swap(OTHER[model])
    swapping.swap(model)
    swapping.fault("kv_flip")
    answer = conversation.say(TURNS[3])
    assert answer.cached == reference[3].cached, "the fault must not be seen by the checksum"
    assert answer.kv != reference[3].kv, "a flipped byte must turn the comparison red"
    with pytest.raises(AssertionError):
        check_same(answer, reference[3])


@each_of(MODELS[1:])  # the other one is SmolLM2
def test_s2_one_agent_on_two_models_both_go_on(model, swapping, reference, tmp_path_factory):
    other = OTHER[model]
    other_reference = reference_of(other, tmp_path_factory)
    here, there = talk(swapping, model), talk(swapping, other)
    for i in range(4):  # every request names its model: the policy swaps, nobody asks the admin to
        check_same(here.say(TURNS[i]), reference[i])
        check_same(there.say(TURNS[i]), other_reference[i])
    swaps = swapping.swap_status()
    assert swaps["state"] == "SERVING"
    restarts = swapping.metrics().sum("hotseat_seat_restarts_total")
    assert restarts == 0, "hot swaps need no new process"


@per_model
def test_s3_same_shape_other_weights_uses_nothing(model, tmp_path, real_server, reference):
    folder = link_models(tmp_path / "twins", model)
    twin = copy_model(folder, model, "twin")
    with open(twin, "r+b") as f:  # the last byte of the file is the last byte of a tensor
        f.seek(-1, 2)
        byte = f.read(1)[0]
        f.seek(-1, 2)
        f.write(bytes([byte ^ 1]))
    config = CONFIG + ("[model twin]\ntemplate = gemma\n" if model == GEMMA else "")
    server = real_server(models=folder, options=OPTIONS, config=config, model=model)
    conversation = talk(server, model)
    for turn in TURNS[:3]:
        conversation.say(turn)
    same_words = talk(server, "twin")
    same_words.messages = list(conversation.messages)
    foreign = same_words.say(TURNS[3])
    assert foreign.cached == 0 and foreign.decoded >= foreign.prompt, "another model's cache was used"
    check_counts(foreign)
    # The other one is not hurt by it, and its twin's own cache is its own.
    check_same(conversation.say(TURNS[3]), reference[3])
    own = same_words.say(TURNS[4])
    assert own.cached > 512


@pytest.mark.xdist_group("smol")
def test_s3_another_kv_type_uses_nothing_and_the_old_one_is_kept(real_server):
    model = MODELS[0]
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    conversation = talk(server, model)
    for turn in TURNS[:2]:
        conversation.say(turn)
    before = list(conversation.messages)
    for kv in ("f16", "q4_0"):
        server.options = [*OPTIONS, "--kv", kv]
        server.restart()
        conversation.messages = list(before)
        answer = conversation.say(TURNS[2])
        assert answer.cached == 0 and answer.decoded >= answer.prompt, f"bytes of another KV type were used for {kv}"
        assert "another KV type" in server.current()["cache_reason"]
    server.options = OPTIONS
    server.restart()
    conversation.messages = list(before)
    assert conversation.say(TURNS[2]).cached > 256
    assert "are not used" in server.current()["cache_reason"]  # those of the other two


@per_model
def test_s12_a_swap_without_new_tokens_writes_nothing(model, real_server, reference):
    other = OTHER[model]
    # The log is a file too, and the kernel counts what is written to it.
    swapping = real_server(model, other, options=OPTIONS, config=CONFIG, model=model, log_level="warn")
    conversation = talk(swapping, model)
    for turn in TURNS[:3]:
        conversation.say(turn)
    swapping.swap(other)  # hashes and self-tests of both are remembered now
    swapping.swap(model)
    files = swapping.block_files()
    assert files, "nothing was stored, so this would prove nothing"
    smallest = min(size for _, _, _, size in files.values())
    pid = swapping.seat_pid()
    written = written_bytes(pid)
    for there in (other, model, other, model):
        done = swapping.swap(there)
        assert done["status"] == "swapped" and done["kind"] == "hot"
        assert (done["blocks_written"], done["bytes_written"]) == (0, 0), done
    assert swapping.seat_pid() == pid
    assert swapping.block_files() == files, "a file was created, changed or deleted"
    by_swaps = written_bytes(pid) - written
    assert by_swaps < smallest, f"the kernel counted {by_swaps} bytes written"
    # One new turn: that turn is written, and nothing of the old blocks is touched.
    written = written_bytes(pid)
    answer = conversation.say(TURNS[3])
    check_same(answer, reference[3])
    swapping.swap(other)
    after = swapping.block_files()
    for path in set(files) & set(after):
        assert files[path] == after[path], f"{path} was written again"
    new = {p: v for p, v in after.items() if p not in files}
    assert new, "the new turn was not stored"
    per_token = max(size for p, (_, _, _, size) in files.items() if p.endswith(".kv")) / 256
    new_tokens = answer.prompt + answer.generated - answer.cached
    base_bytes = sum(size for p, (_, _, _, size) in new.items() if p.endswith(".kv"))
    # At most the new tokens, and the block that the old tail lies in, once for a full block and once for the tail.
    assert base_bytes <= per_token * (new_tokens + 2 * 256) * 1.05, (base_bytes, per_token, new_tokens)
    assert written_bytes(pid) - written >= min(base_bytes, smallest), "the kernel's counter does not count here: the check above is blind"


@per_model
def test_c1_cached_context_after_a_restart_is_exact_and_fast(model, real_server, reference):
    server = real_server(model, options=OPTIONS, config=CONFIG, model=model)
    conversation = talk(server, model)
    for turn in TURNS[:3]:
        conversation.say(turn)
    old = server.seat_pid()
    server.restart()
    assert server.seat_pid() != old
    answer = conversation.say(TURNS[3])
    check_same(answer, reference[3])
    # The whole prompt again, cold, on the same server: other words at its beginning, so that nothing of it is known.
    cold = Talk(server, model, agent="eve", system=None if model == GEMMA else "Answer in one word.", max_tokens=1, seed=1)
    cold.messages += [dict(m) for m in conversation.messages if m["role"] != "system"][:-2]
    cold.messages[0 if model == GEMMA else 1] = {"role": "user", "content": "Another log. " + TURNS[0]}
    uncached = cold.say(TURNS[3])
    assert uncached.cached < 64 and uncached.decoded >= uncached.prompt - uncached.cached, uncached.hotseat
    work = (uncached.prompt - uncached.cached) / (answer.prompt - answer.cached)
    warm_ms, cold_ms = answer.hotseat["first_token_ms"], uncached.hotseat["first_token_ms"]
    assert cold_ms > warm_ms * max(1.5, work * 0.5), f"cold {cold_ms:.0f} ms, cached {warm_ms:.0f} ms, work {work:.1f}"
    assert answer.hotseat["restore_ms"] < uncached.hotseat["prefill_ms"] * 0.2
    # The control: the same turn asked again after two more restarts, with one byte flipped on its way back at the second.
    again = []
    for flips in (0, 1):
        server.restart()
        if flips:
            server.fault("kv_flip")
        conversation.messages = conversation.messages[:-2]
        again.append(conversation.say(TURNS[3]))
    assert again[0].cached == again[1].cached >= answer.cached and again[0].kv != again[1].kv
    with pytest.raises(AssertionError):
        check_same(again[1], again[0])


@per_model
def test_s1_agents_apart_each_gets_its_own(model, swapping):
    """Two agents with conversations of their own, over two swaps: each goes on from its own words."""
    conversations = [talk(swapping, model, agent=name) for name in ("ada", "bob")]
    conversations[1].messages = [{"role": "user", "content": "My name is Bob. " + TURNS[1]}, {"role": "assistant", "content": "Hello, Bob."}]
    for c in conversations:
        c.say(TURNS[0])
    swapping.swap(OTHER[model])
    for c in conversations:
        answer = c.say("And what came next?")
        assert answer.cached >= 200, (c.agent, answer.hotseat)
        check_counts(answer)
    agents = swapping.get("/admin/agents").ok()["agents"]
    assert {"ada", "bob"} <= {a["id"] for a in agents if a["model"] == model}, agents
    assert all(a["tokens"] > 200 and a["bytes"] > 0 for a in agents if a["model"] == model), agents


def test_answers_keep_their_shape():
    """A typo in Answer would make every comparison of None with None pass."""
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
            "hotseat": {"debug": {"kv_xxh3": "a", "first_logits_xxh3": "b", "decoded_tokens": 2}}}
    answer = Answer(body)
    assert (answer.kv, answer.logits, answer.decoded) == ("a", "b", 2)
    other = Answer(dict(body, hotseat={"debug": {"kv_xxh3": "z", "first_logits_xxh3": "b", "decoded_tokens": 2}}))
    assert not answer.same_as(other)
