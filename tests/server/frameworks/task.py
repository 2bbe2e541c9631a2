"""The one task of all frameworks, its words, and the report that each script prints as its last line.

A clerk on one model looks up the weather with a tool and says it; a poet on another model writes a line about it; then the clerk is asked to
say it again, with all that was said before. Nobody is named to the server, as by a program that only changed its base URL.
"""
import json
import os
import pathlib

URL, KEY, CLERKS_MODEL, POETS_MODEL = (os.environ[f"HOTSEAT_{name}"] for name in ("URL", "KEY", "CLERK", "POET"))
WORDS = json.loads((pathlib.Path(__file__).parent / "task.json").read_text())
CLERK, POET, QUESTION, FOR_THE_POET, AGAIN, AS_JSON = (WORDS[k] for k in ("CLERK", "POET", "QUESTION", "FOR_THE_POET", "AGAIN", "AS_JSON"))
CALL_TOKENS, ANSWER_TOKENS = WORDS["CALL_TOKENS"], WORDS["ANSWER_TOKENS"]
calls = []


def look_up(**arguments):
    """What the tool does."""
    calls.append(arguments)
    return WORDS["WEATHER"].get(arguments["city"].lower(), "unknown")


def report(answer, line, again, n_pieces, prompt, cached, **more):
    """What clerk, poet and clerk said, the last in so many pieces; tokens of the clerk's last prompt, and how many of them came from the cache."""
    print(json.dumps({"calls": calls, "answer": answer, "line": line, "again": again, "n_pieces": n_pieces, "prompt": prompt, "cached": cached,
                      **more}), flush=True)
