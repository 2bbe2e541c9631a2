#!/usr/bin/env python3
"""Which restore points are worth their bytes? A model of the store (docs/store-format.md: blocks of 256 tokens, tails, window parts) lives
through conversations as clients send them, once for each policy of restore points, and counts the tokens that are read although they were
read or generated before, and the bytes of window and base parts. Nothing is measured; the only figures are the model's: bytes a token.

    bench/restore_points.py [--model gemma-12b|gemma-27b|gemma-270m]

Every request starts from the disk, as after a swap: what is still in the cells would hide the difference.
"""
import argparse
import dataclasses

BLOCK = 256
MODELS = {  # window, base bytes a token, window bytes a token, at q8_0
    "gemma-12b": (1024, 34816, 174080),
    "gemma-27b": (1024, 43520, 226304),
    "gemma-270m": (512, 1632, 8160),
}
CHAINS = 8


@dataclasses.dataclass
class Block:
    """A full block, or a tail, of the tree."""
    start: int
    tokens: tuple
    children: dict = dataclasses.field(default_factory=dict)
    window_from: int = None
    kind: str = "full"
    owner: str = ""
    chains: int = 0

    @property
    def end(self):
        return self.start + len(self.tokens)


class Store:
    def __init__(self, window, base_bytes, window_bytes):
        self.window, self.base_bytes, self.window_bytes = window, base_bytes, window_bytes
        self.root = Block(0, ())
        self.written = 0
        self.seen = set()      # every prefix, by hash, that was ever read or generated: what a perfect cache would reuse
        self.chains = {}

    def path(self, tokens):
        """Full blocks that hold the beginning of tokens."""
        at, out = self.root, []
        while True:
            n = len(out) * BLOCK
            child = at.children.get(tuple(tokens[n:n + BLOCK]))
            if child is None or child.kind != "full":
                return out
            out.append(child)
            at = child

    def whole(self, blocks, end):
        lowest = max(0, end - self.window + 1)
        for b in reversed(blocks):
            if b.end <= lowest:
                break
            if b.window_from is None or b.window_from > max(b.start, lowest):
                return False
        return True

    def plan(self, tokens):
        """The longest end that can be resumed at; one token is always read again."""
        blocks = self.path(tokens[:(len(tokens) - 1) // BLOCK * BLOCK])
        for k in range(len(blocks), -1, -1):
            at = blocks[k - 1] if k else self.root
            start = k * BLOCK
            tails = [t for t in at.children.values() if t.kind != "full" and t.end < len(tokens)
                     and tuple(tokens[start:t.end]) == t.tokens and self.whole(blocks[:k] + [t], t.end)]
            if tails:
                return max(t.end for t in tails)
            if k and self.whole(blocks[:k], start):
                return start
        return 0

    def put_window(self, b, reach):
        reach = max(b.start, reach)
        if reach >= b.end or (b.window_from is not None and b.window_from <= reach):
            return
        b.window_from = reach
        self.written += (b.end - reach) * self.window_bytes

    def fill(self, tokens, end):
        """Base parts of the full blocks before end."""
        at = self.root
        for n in range(0, end // BLOCK * BLOCK, BLOCK):
            key = tuple(tokens[n:n + BLOCK])
            if key not in at.children:
                at.children[key] = Block(n, key)
                self.written += BLOCK * self.base_bytes
            at = at.children[key]
        return at

    def restore_point(self, tokens, end, kind=None, owner=""):
        """All that a resume at end needs; kind: a tail is written for what does not fill a block, else end is a block's."""
        last = self.fill(tokens, end)
        for b in self.path(tokens[:end // BLOCK * BLOCK]):
            if b.end > end - self.window:
                self.put_window(b, end - self.window)
        if end % BLOCK == 0 or not kind:
            return last
        key = tuple(tokens[last.end:end])
        tail = last.children.get(key)
        if tail is None:
            tail = last.children[key] = Block(last.end, key, kind=kind, owner=owner)
            self.written += len(key) * self.base_bytes
        self.put_window(tail, end - self.window)
        return tail

    def note(self, agent, tokens, leaf):
        """store_agent_note(): the chain grows or is new; of the agent's tails inside it only the nearest before the leaf stays."""
        chains = self.chains.setdefault(agent, [])
        for old in [c for c in chains if tokens[:len(c[0])] == c[0]] + (chains[:1] if len(chains) >= CHAINS else []):
            if old in chains:
                chains.remove(old)
                old[1].chains -= 1
        chains.append((list(tokens), leaf))
        leaf.chains += 1
        blocks, kept = self.path(tokens), False
        for k in range(len(blocks), -1, -1):
            at = blocks[k - 1] if k else self.root
            inside = [t for t in at.children.values() if t.kind == "tail" and t is not leaf and t.owner == agent
                      and t.end <= len(tokens) and tuple(tokens[t.start:t.end]) == t.tokens]
            for t in sorted(inside, key=lambda t: -t.end):
                if kept and not t.chains:
                    del at.children[t.tokens]
                kept = True

    def stored(self):
        total, todo = 0, [self.root]
        while todo:
            b = todo.pop()
            total += len(b.tokens) * self.base_bytes
            total += 0 if b.window_from is None else (b.end - b.window_from) * self.window_bytes
            todo += b.children.values()
        return total

    def known(self, tokens):
        """Tokens at the beginning that were read or generated before."""
        h, n = 0, 0
        for i, t in enumerate(tokens):
            h = hash((h, t))
            if h not in self.seen:
                return i
            n = i + 1
        return n

    def learn(self, tokens):
        h = 0
        for t in tokens:
            h = hash((h, t))
            self.seen.add(h)


@dataclasses.dataclass
class Policy:
    name: str
    every: int = 0              # blocks of a long prefill
    last_full: bool = False     # the last full block of a prompt
    prompt_end: bool = False    # before the first generated token
    system_end: str = ""        # "block": the boundary before it; "tail": exactly
    messages: bool = False      # exactly at the end of each message
    branches: bool = False      # the last block that a prompt shares with what is stored, when it could not be resumed at


POLICIES = [
    Policy("turn ends only"),
    Policy("+ every 8 blocks", every=8),
    Policy("+ every 2 blocks", every=2),
    Policy("+ message ends", messages=True),
    Policy("+ prompts' last blocks, every 8", every=8, last_full=True),
    Policy("+ prompt ends, every 8", every=8, prompt_end=True),
    Policy("+ prompt ends, system's end, every 8", every=8, prompt_end=True, system_end="block"),
    Policy("+ prompt ends, branches, every 8", every=8, prompt_end=True, branches=True),
    Policy("+ prompt ends, branches, system's end", prompt_end=True, system_end="block", branches=True),
    Policy("ours: + prompt ends, branches, system's end, every 8", every=8, prompt_end=True, system_end="block", branches=True),
    Policy("+ prompt ends, branches, every 16", every=16, prompt_end=True, branches=True),
    Policy("ours + prompts' last blocks", every=8, prompt_end=True, last_full=True, system_end="block", branches=True),
]


def run(store, policy, requests):
    """requests: (agent, [message], answer), a message being a tuple of tokens, the first one the system prompt."""
    read_again = n = 0
    for agent, messages, answer in requests:
        prompt = [t for m in messages for t in m]
        resumed = store.plan(prompt)
        read_again += max(0, min(store.known(prompt), len(prompt) - 1) - resumed)
        n += 1
        points = {}   # end: kind of its tail
        last = (len(prompt) - 1) // BLOCK * BLOCK
        if policy.every:
            points.update({p: None for p in range(policy.every * BLOCK, last + 1, policy.every * BLOCK)})
        if policy.last_full and last:
            points[last] = None
        system = len(messages[0])
        if policy.system_end == "block" and len(messages) > 1:
            points[system // BLOCK * BLOCK] = None
        if policy.system_end == "tail" and len(messages) > 1:
            points[system] = "branch"
        if policy.branches:
            points[len(store.path(prompt[:last])) * BLOCK] = None
        if policy.messages:
            at = 0
            for m in messages:
                at += len(m)
                points[min(at, len(prompt) - 1)] = "branch"
        if policy.prompt_end:
            points[len(prompt) - 1] = "tail"
        for p in sorted(points):
            if p > resumed or (p == len(prompt) - 1 and p == resumed):
                store.restore_point(prompt, p, points[p], agent)
        whole = prompt + list(answer[:-1])   # the last token is not in the cells
        leaf = store.restore_point(whole, len(whole), "tail", agent)
        store.note(agent, whole, leaf)
        store.learn(prompt + list(answer))
    return read_again, n


# ---- conversations as clients send them ----

class Words:
    def __init__(self):
        self.next = 0

    def new(self, n):
        self.next += n
        return tuple(range(self.next - n, self.next))


HEAD = 5  # what a template puts before the answer; it belongs to the next prompt as well


def talk(w, agent, system, turns, question=80, answer=250, edit=None, retry=False, thoughts=0, keep=None):
    """A conversation. edit: {turn: how many turns before it the question is written anew}; keep: the client drops the oldest turns beyond it."""
    history, out = [system], []
    for turn in range(turns):
        back = (edit or {}).get(turn)
        if back:
            del history[1 + 2 * (turn - back):]
        history.append(w.new(question + HEAD))
        while keep and sum(map(len, history)) > keep:
            del history[1:3]
        for _ in range(2 if retry else 1):
            told = w.new(answer)
            out.append((agent, list(history), w.new(thoughts) + told))
        history.append(told)
    return out


def conversations():
    """By name: a talk; every answer regenerated once; the last question edited every second turn; edits of a question 4 to 9 turns back; 12
    agents with one system prompt of 4,000 tokens; a tool loop with results of 700; thoughts of 600 that the template strips from the history;
    a history from which the client drops the oldest turns beyond 6,000; 8 questions at the end of a document of 12,000, in one message with it."""
    w = Words()
    shapes = {"talk": talk(w, "a", w.new(300), 12)}
    w = Words()
    shapes["retry"] = talk(w, "a", w.new(300), 8, retry=True)
    w = Words()
    shapes["edit last"] = talk(w, "a", w.new(300), 12, edit={t: 1 for t in (3, 5, 7, 9, 11)})
    w = Words()
    shapes["edit earlier"] = talk(w, "a", w.new(300), 20, edit={8: 4, 12: 6, 16: 9})
    w = Words()
    shapes["edit earlier, long answers"] = talk(w, "a", w.new(300), 20, answer=1500, edit={8: 4, 12: 6, 16: 9})
    w = Words()
    system = w.new(4000)
    shapes["system prompt"] = [r for i in range(12) for r in talk(w, f"a{i}", system, 2, question=60 + 50 * i)]
    w = Words()
    shapes["tool loop"] = talk(w, "a", w.new(2500), 20, question=700, answer=60)
    w = Words()
    shapes["thoughts"] = talk(w, "a", w.new(300), 10, thoughts=600)
    w = Words()
    shapes["truncated"] = talk(w, "a", w.new(1500), 30, question=150, answer=350, keep=6000)
    w = Words()
    document = w.new(12000)
    shapes["document"] = [("a", [w.new(0), document + w.new(40 + HEAD)], w.new(200)) for _ in range(8)]
    return shapes


def table(title, rows, columns, cell):
    print(f"{title}\n\n| restore points | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {row} | {' | '.join(cell(row, c) for c in columns)} |")
    print()


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--model", choices=MODELS, default="gemma-12b")
    model = p.parse_args().model
    shapes, got = conversations(), {}
    for shape, requests in shapes.items():
        for policy in POLICIES:
            store = Store(*MODELS[model])
            again, _ = run(store, policy, requests)
            got[policy.name, shape] = again, store.written / 1e9, store.stored() / 1e9
    policies = [policy.name for policy in POLICIES]
    for shape, requests in shapes.items():
        print(f"* {shape}: {len(requests)} requests, {sum(len(m) for _, messages, _ in requests for m in messages):,} tokens of prompts")
    print()
    table(f"Tokens read again ({model})", policies, list(shapes), lambda p, s: f"{got[p, s][0]:,}")
    table("GB written", policies, list(shapes), lambda p, s: f"{got[p, s][1]:.1f}")
    table("GB stored at the end", policies, list(shapes), lambda p, s: f"{got[p, s][2]:.1f}")


if __name__ == "__main__":
    main()
