"""What the tests on real models share: a conversation well past Gemma's window of 512 tokens, and the same conversation on a
server where nothing ever left memory, to compare with to the bit.

Equal text proves little, so every comparison is threefold (ACCEPTANCE, first paragraph): the hash of the KV bytes of all reused
positions and of the logits row of the first new token; the tokens handed to the engine; and, in test_real_swap.py, a negative
control where one flipped byte must turn the comparison red.

What the bits depend on besides the tokens: on Gemma, how many tokens were read at once (small chunks take another matrix kernel); on
every model, the order of the conversation's cells, for attention adds them up in that order. Cells that another agent leaves in the
middle of a turn are filled by what is read next, so both sides of a comparison have to be alone, or to lose their neighbours alike.
The differences are rounding (logprobs by some hundredths), and the text is nearly always the same.
"""
from hotseat_harness import GEMMA, QWEN, SMOL, Server, Talk, link_models

MODELS = [SMOL, QWEN, GEMMA]
SHORT = {SMOL: "smol", QWEN: "qwen", GEMMA: "gemma"}
OTHER = {SMOL: GEMMA, QWEN: SMOL, GEMMA: SMOL}
CONFIG = f"[model {GEMMA}]\ntemplate = gemma\n"
OPTIONS = ["--threads", "1", "--pool", "256M", "--context", "8192", "--patience", "0"]
SYSTEM = "You are the keeper of a small lighthouse. You answer in one short and friendly sentence."
TURNS = [
    "Here is the first page of the log. On Monday the wind came from the north and the sea was grey. The supply boat was late, because "
    "its captain had to wait for a sack of flour, two barrels of oil and a crate of oranges. When it arrived at last, the tide was so low "
    "that everything had to be carried over the wet stones by hand. A goat watched us from the wall and ate one orange. In the evening the "
    "lamp was cleaned, the wick was cut, and the light could be seen from the mainland, as the postman told us with his lantern. We slept "
    "well. On Tuesday a ship with three masts passed far out; we wrote down her flags and her course, and at noon she was gone. The barometer "
    "fell through the whole afternoon. Nobody was surprised when it rained. What did the goat eat?",
    "Here is the second page. On Wednesday the storm was there. It took four tiles from the roof of the shed and the small bench from the "
    "garden, which we found later on the other side of the island, unharmed, as if somebody had carried it there for the view. The lamp burned "
    "for nineteen hours without a pause and used more oil than in a whole week of summer. Two fishing boats came into the lee of the island and "
    "stayed until the morning. Their crews drank our coffee, repaired the gate for us and told long stories about a whale that follows "
    "the mail ship. On Thursday the sky was clear and cold, and we counted eleven seals on the rocks below the stairs. One of them had a white "
    "mark on its back and seemed to be the oldest. How many seals were there?",
    "Here is the third page. On Friday we painted the door. The inspector will come in spring and he likes a green door, although the rules say "
    "nothing about colours. There was enough paint left for the window frames, but not for the fence, so the fence has to wait for the next boat. "
    "The clock in the kitchen stopped at ten past four and would not go on, whatever we tried, until the cook hit the table with a pan. Since then "
    "it is two minutes fast. In the afternoon a pigeon with a ring on its foot rested on the gallery; the number on the ring was 5072, and we sent "
    "a note to the harbour, because its owner may worry. On Saturday everything was quiet, the sea like a plate, and we heard the bells of the "
    "mainland for the first time since the summer. Which colour does the inspector like?",
    "Here is the fourth page. On Sunday we had visitors, a painter and her brother, who wanted to see the lens from inside. It is made of two "
    "hundred and eight pieces of glass, and each of them has to be wiped every second day. The brother counted them twice and came to two hundred "
    "and nine, so we counted again together and found a piece of a broken bottle which somebody had put there long ago to fill a gap. It does "
    "its work well. The painter left us a small picture of the bench in its new place, above the western cliff. How many pieces of glass "
    "does the lens really have?",
    "Now write one sentence about the painter.",
]
ANSWER_TOKENS = 20


def model_id(model):
    return SHORT[model]


def start(folder, *names, options=(), **kw):
    """A server on real models, outside of any fixture; whoever starts it ends it."""
    models = kw.pop("models", None) or link_models(folder / "models", *names)
    return Server(folder / "server", models, seat="llama", options=[*OPTIONS, *options], config=CONFIG, model=names[0], **kw).start()


def talk(server, model, agent="ada", **params):
    return Talk(server, model, agent=agent, system=None if model == GEMMA else SYSTEM, max_tokens=ANSWER_TOKENS, seed=1, **params)


def check_counts(answer):
    """The engine was handed at most what was not cached, and one more: the token kept back to get its logits again."""
    generated_and_decoded = answer.generated
    assert answer.decoded is not None, answer.hotseat
    assert answer.decoded <= answer.prompt - answer.cached + generated_and_decoded + 1, answer.hotseat


def check_same(answer, reference):
    """This turn, on state that went to disk and came back, equals the same calls on state that never left memory."""
    assert answer.cached == reference.cached, (answer.hotseat, reference.hotseat)
    assert answer.kv == reference.kv, "KV bytes of the reused positions differ"
    assert bool(answer.kv) == (answer.cached > 0), "reused positions without a hash of their bytes prove nothing"
    assert answer.logits == reference.logits and answer.logits, "the first logits row differs"
    assert answer.text == reference.text
    assert answer.decoded == reference.decoded
    check_counts(answer)
