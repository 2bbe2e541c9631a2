"""What tests on the fake engine share: models with a speed, prompts that script the answer, and what an undisturbed run says.

The fake engine reads its speed and faults from a model's name (load_ms, step_us, token_us, load_fail, load_hang, device_mb) and its script from the
last user message ([[len=N]], [[say:TEXT]], [[emoji=N]], [[tool:NAME]], [[think:TEXT]], [[die]]); a token is a byte.
"""
import gguf_writer
from hotseat_harness import Talk, in_threads, seconds, wait_until

WORDS = "the quick brown fox jumps over the lazy dog and then "


def add(folder, name, seed=None, **kw):
    """One more model; speeds and faults as keywords: add(models, "slow", step_us=5000)."""
    settings = {k: kw.pop(k) for k in ("load_ms", "step_us", "token_us", "load_fail", "load_hang", "device_mb") if k in kw}
    text = " ".join([f"fake {name}", *(f"{k}={v}" for k, v in settings.items())])
    kw.setdefault("context", 16384)
    return gguf_writer.write(folder / f"{name}.gguf", name=text, seed=name if seed is None else seed, **kw)


def long_text(n, salt=""):
    """About n bytes, so n tokens."""
    text = f"{salt} "
    while len(text) < n:
        text += f"{len(text)} {WORDS}"
    return text[:n]


def slots(server):
    """The metrics' gauge of requests in the seat."""
    return server.metrics().sum("hotseat_streams_running")


def running(server, n=1):
    wait_until(lambda: slots(server) >= n, what=f"{n} running requests", timeout=30)


def seated(server):
    return server.current().get("model")


def saved(server):
    """The disk has said that it has all of every agent. (The metrics' dirty bytes are up to a second old.)"""
    def look():
        agents = server.get("/admin/agents").ok()["agents"]
        return agents and all(a["saved"] for a in agents)
    wait_until(look, what="all agents are on the disk")


def warm_talk(server, model, agent="ann", turns=2, n=700):
    """A conversation of some turns; what follows on it must be warm."""
    talk = Talk(server, model, agent=agent, system=long_text(n, salt=agent))
    for i in range(turns):
        talk.say(f"turn {i} [[len=60]]")
    return talk


def assert_warm(talk, text="once more [[len=40]]"):
    """The next turn reads only what is new: decoded at most the uncached tokens plus one."""
    answer = talk.say(text)
    assert answer.cached > 0, answer.usage
    assert answer.decoded is not None and answer.decoded <= answer.prompt - answer.cached + 1 + answer.generated, answer.body
    assert answer.prompt - answer.cached < 300, answer.usage
    return answer


__all__ = ["add", "assert_warm", "in_threads", "long_text", "running", "saved", "seated", "seconds", "slots", "wait_until", "warm_talk"]
