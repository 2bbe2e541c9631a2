"""C8: many agents on a pool for a few. C9: a side prompt leaves the main conversation cached. C2: whatever begins alike is read once.
And the figures of the admin API after a random life, against the files.
"""
import random
import threading

from fakes import in_threads, long_text, saved, wait_until
from hotseat_harness import Answer, Talk
from life import OPTIONS, Life, References, check_figures, seed_of_run

BLOCK = 256
QUICK = ["--patience", "0", "--stay-min", "0", "--wait-bound", "0", "--pool", "24M"]


def test_c8_200_agents_on_a_pool_for_3(server):
    """The pool has 15 blocks of 256 tokens, an agent takes 4: each leaves long before its second turn."""
    s = server(model="a", options=["--pool", "2M", "--parallel", "4"])
    wait_until(lambda: s.metrics().sum("hotseat_kv_cells") == 15 * BLOCK, what="a pool of 15 blocks")
    order = random.Random(seed_of_run())
    talks = [Talk(s, "a", agent=f"agent-{i:03}", system=long_text(860, f"{i}"), max_tokens=30) for i in range(200)]

    def round_of(text):
        todo, lock = list(talks), threading.Lock()
        order.shuffle(todo)
        answers = {}

        def worker():
            while True:
                with lock:
                    if not todo:
                        return
                    t = todo.pop()
                answers[t.agent] = t.say(text)
        _, errors = in_threads([worker] * 12)
        assert errors == [None] * 12
        return answers
    first = round_of("hi [[len=25]]")
    assert len(first) == 200 and all(a.finish == "stop" and a.generated >= 25 for a in first.values())
    second = round_of("go on [[len=25]]")
    assert len(second) == 200 and all(a.finish == "stop" for a in second.values())
    poor = {n: (a.cached, a.prompt) for n, a in second.items() if a.cached < 0.9 * a.prompt}
    assert not poor, poor
    for n, a in second.items():
        assert a.decoded <= a.prompt - a.cached + a.generated + 1, (n, a.hotseat)
        assert a.cached >= first[n].prompt + first[n].generated - 2, (n, a.usage, first[n].usage)
    saved(s)
    assert len(s.get("/admin/agents").ok()["agents"]) == 200
    _, compared = check_figures(s)
    assert compared == 200
    s.kill_everything()
    s.start()
    for t in order.sample(talks, 10):
        last = Answer(t.answers[-1])
        assert t.say("and now [[len=10]]").cached >= last.prompt + last.generated - 2


def test_c9_a_side_prompt_leaves_the_main_conversation_cached(server):
    s = server(model="a", options=QUICK)
    for model, agent in (("a", "ann"), ("w", "wim")):
        main = Talk(s, model, agent=agent, system=long_text(1500, agent))
        main.say("one [[len=60]]"), main.say("two [[len=60]]")
        last = Answer(main.answers[-1])
        for i in range(3):  # a title, a summary, a question of some tool
            side = Talk(s, model, agent=agent)
            assert side.say(f"What is a good title for number {i}? [[len=20]]").finish == "stop"
        answer = main.say("three [[len=60]]")
        assert answer.cached >= last.prompt + last.generated - 2, (model, answer.usage)
        s.swap("b", hold_s=0)
        for i in range(3):
            Talk(s, model, agent=agent).say(f"And what is one for number {i + 3}? [[len=20]]")
        s.swap("b", hold_s=0)
        again = main.say("four [[len=60]]")
        assert again.cached >= answer.prompt + answer.generated - 2, (model, again.usage)
        saved(s)
        s.restart()
        fifth = main.say("five [[len=60]]")
        assert fifth.cached >= again.prompt + again.generated - 2, (model, fifth.usage)


def test_c9_a_side_prompt_while_the_main_one_is_being_answered(server, models):
    s = server(model="a", env={"HOTSEAT_FAKE_STEP_US": 2000})
    main = Talk(s, "a", agent="ann", system=long_text(1500, "ann"))
    main.say("one [[len=60]]")
    (answer, side), errors = in_threads([lambda: main.say("two [[len=200]]"), lambda: Talk(s, "a", agent="ann").say("a title? [[len=10]]")])
    assert errors == [None, None]
    assert answer.cached > 1500 and side.cached == 0
    assert main.say("three [[len=20]]").cached >= answer.prompt + answer.generated - 2


def shared(n=1100):
    return long_text(n, "You are one of many, and all of you were told the same")


def test_c2_a_shared_system_prompt_is_reused_between_agents(server):
    s = server(model="a", options=QUICK)
    assert Talk(s, "a", agent="ann", system=shared()).say("I am Ann [[len=20]]").cached == 0
    saved(s)
    # ann's conversation stays in the cells: another one's is never cut, and its blocks are on the disk.
    assert Talk(s, "a", agent="bob", system=shared()).say("I am Bob [[len=20]]").cached >= 1100 // BLOCK * BLOCK
    assert Talk(s, "a", system=shared()).say("I am nobody [[len=20]]").cached >= 1100 // BLOCK * BLOCK
    s.swap("b", hold_s=0)
    assert Talk(s, "a", agent="cid", system=shared()).say("I came late [[len=20]]").cached >= 1100 // BLOCK * BLOCK
    assert Talk(s, "a", agent="dan", system=shared(600) + "and then otherwise").say("hi [[len=20]]").cached >= 600 // BLOCK * BLOCK


def test_c2_without_any_name_and_between_sessions(server):
    """The second use of what nobody has a name for is what writes it."""
    s = server(model="a", options=QUICK)
    for i in range(2):
        Talk(s, "a", system=shared()).say(f"question {i} [[len=20]]")
    s.swap("b", hold_s=0)
    answer = Talk(s, "a", system=shared()).say("question 3 [[len=20]]")
    assert answer.cached >= 1100 // BLOCK * BLOCK
    s.restart()
    again = Talk(s, "a", system=shared()).say("question 4 [[len=20]]")
    assert again.cached >= 1100 // BLOCK * BLOCK
    s.kill_everything()
    s.start()
    assert Talk(s, "a", agent="ann", system=shared()).say("question 5 [[len=20]]").cached >= 1100 // BLOCK * BLOCK


def test_c2_nobodys_tokens_are_known_after_a_swap(server):
    """What a client without a name sends back is text; what the model made of it, token by token, may be other than what the tokenizer makes
    of it. The seat knows these tokens when the model is back, and not those of another model."""
    s = server(model="a", options=QUICK)
    text = "<|im_end|>" + shared(600)
    spelled = list(text.encode())  # ten letters and no control token: nothing that is made of text begins so
    assert Answer(s.complete("a", spelled, max_tokens=1)).prompt == len(spelled)
    s.swap("b", hold_s=0)
    assert Answer(s.complete("b", text, max_tokens=1)).prompt < len(spelled)
    s.swap("a", hold_s=0)
    back = Answer(s.complete("a", text + " and on", max_tokens=1))
    assert back.prompt == len(spelled) + len(" and on") and back.cached == len(spelled), back.usage
    s.swap("b", hold_s=0)
    assert s.request("DELETE", "/admin/cache?model=a").status == 200
    s.swap("a", hold_s=0)
    assert Answer(s.complete("a", text + " and on", max_tokens=1)).prompt < back.prompt, "they are gone with the cache"


def test_c2_blocks_are_shared_on_the_disk_too(server):
    s = server(model="a", options=QUICK)
    for name in ("ann", "bob", "cid"):
        Talk(s, "a", agent=name, system=shared()).say(f"I am {name} [[len=20]]")
    saved(s)
    files = s.block_files()
    full = sorted(f[3] for f in files.values())[-4:]
    assert len(set(full)) == 1, "the four blocks of the system prompt"
    assert sum(size == full[0] for _, _, _, size in files.values()) == 4, "once, not three times"
    check_figures(s)


def test_figures_equal_the_files_after_a_random_life(server, models, tmp_path):
    """Turns, swaps, edits, pins, deletions on three models; names, counts and bytes are those of the files, and so after a restart."""
    seed = f"{seed_of_run()}"
    print(f"HOTSEAT_SEED={seed}")
    references = References(tmp_path, models)
    s = server(model="a", options=OPTIONS, log_level="info")
    life = Life(s, references, seed, [("ann", "a"), ("bob", "a"), ("cid", "b"), ("dan", "b"), ("wim", "w"), ("wes", "w")])
    try:
        compared = 0  # whose chain is the only one of that length in the files: often one or two of six, now and then none
        for _ in range(3):
            life.live(lambda: None, 0.3, 0.6)
            life.visitor = None
            for p in life.people:
                p.check(references)
            compared += check_figures(s)[1]
        gone = s.request("DELETE", "/admin/agents/bob").ok()
        assert gone["files"] > 0
        compared += check_figures(s)[1]
        assert compared >= 1, "no agent could be compared, not once"
        cache = s.get("/admin/cache").ok()
        agents = {(a["id"], a["model"], a["tokens"], a["blocks"], a["bytes"], a["pinned"]) for a in s.get("/admin/agents").ok()["agents"]}
        s.restart()
        check_figures(s)
        again = s.get("/admin/cache").ok()
        assert (again["blocks"], {m["model"]: m["bytes"] for m in again["models"]}) == (
            cache["blocks"], {m["model"]: m["bytes"] for m in cache["models"]})
        assert agents == {(a["id"], a["model"], a["tokens"], a["blocks"], a["bytes"], a["pinned"])
                          for a in s.get("/admin/agents").ok()["agents"]}
        s.request("DELETE", "/admin/cache").ok()
        assert s.block_files() == {} and s.get("/admin/agents").ok()["agents"] == []
        wait_until(lambda: s.get("/admin/cache").ok()["blocks"] == 0, what="no blocks")
        check_figures(s)
    finally:
        references.stop()
