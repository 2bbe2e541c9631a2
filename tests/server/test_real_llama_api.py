"""llama-server's three endpoints on real models: to the byte what llama-server itself says, written down from the pinned version."""
import pytest
from hotseat_harness import GEMMA, QWEN, SMOL
from real_talk import start

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}
LOOK_WRITTEN = ('{"type": "function", "function": {"name": "look", "description": "", "parameters": {"type": "object", "properties": '
                '{"a": {"type": "string"}}}}}')
QWENS_SYSTEM = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."


def pieces(pairs):
    return [{"id": i, "piece": p} for i, p in pairs]


SAID = {
    SMOL: [
        ("/tokenize", {"content": "\U00013000", "with_pieces": True}, {"tokens": pieces([(187, [240]), (237, [147]), (218, [128]), (218, [128])])}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642  x"},
         {"tokens": [19556, 37366, 47526, 216, 1792]}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642", "with_pieces": True},
         {"tokens": pieces([(19556, "Hello"), (37366, " caf\xe9"), (47526, " \U0001f642")])}),
        ("/tokenize", {"content": "<|im_start|>user\n", "with_pieces": True},
         {"tokens": pieces([(1, "<|im_start|>"), (4093, "user"), (198, "\n")])}),
        ("/tokenize", {"content": "<|im_start|>", "parse_special": False},
         {"tokens": [44, 108, 306, 79, 3738, 108, 46]}),
        ("/tokenize", {"content": "<start_of_turn>x<eos>", "add_special": True, "with_pieces": True},
         {"tokens": pieces([(44, "<"), (3738, "start"), (79, "_"), (1714, "of"), (79, "_"), (20589, "turn"), (46, ">"),
                            (104, "x"), (44, "<"), (85, "e"), (395, "os"), (46, ">")])}),
        ("/tokenize", {"content": "", "add_special": True},
         {"tokens": []}),
        ("/detokenize", {"tokens": [1, 2, 3, 500, 1000]},
         {"content": "<|im_start|><|im_end|><repo_name>ast()"}),
        ("/apply-template", {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " hi "}]},
         {"prompt": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n"}),
        ("/apply-template", {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well, "}]},
         {"prompt": "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
                    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nWell, "}),
    ],
    QWEN: [
        ("/tokenize", {"content": "\U00013000", "with_pieces": True}, {"tokens": pieces([(124373, [240, 147]), (222, [128]), (222, [128])])}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642  x"},
         {"tokens": [9707, 51950, 27484, 220, 856]}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642", "with_pieces": True},
         {"tokens": pieces([(9707, "Hello"), (51950, " caf\xe9"), (27484, " \U0001f642")])}),
        ("/tokenize", {"content": "<|im_start|>user\n", "with_pieces": True},
         {"tokens": pieces([(151644, "<|im_start|>"), (872, "user"), (198, "\n")])}),
        ("/tokenize", {"content": "<|im_start|>", "parse_special": False},
         {"tokens": [27, 91, 318, 4906, 91, 29]}),
        ("/tokenize", {"content": "<start_of_turn>x<eos>", "add_special": True, "with_pieces": True},
         {"tokens": pieces([(27, "<"), (2468, "start"), (3575, "_of"), (37274, "_turn"), (28257, ">x"), (27, "<"), (84399, "eos"), (29, ">")])}),
        ("/tokenize", {"content": "", "add_special": True},
         {"tokens": []}),
        ("/detokenize", {"tokens": [1, 2, 3, 500, 1000]},
         {"content": '"#$platus'}),
        ("/apply-template", {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": " hi "}]},
         {"prompt": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n"}),
        ("/apply-template", {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well, "}]},
         {"prompt": QWENS_SYSTEM + "<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nWell, "}),
        ("/apply-template", {"messages": [{"role": "user", "content": "hi"}], "tools": [LOOK]},
         {"prompt": QWENS_SYSTEM + "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
                    "function signatures within <tools></tools> XML tags:\n<tools>\n" + LOOK_WRITTEN + "\n</tools>\n\nFor each function call, return "
                    "a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
                    '{"name": <function-name>, "arguments": <args-json-object>}'
                    "\n</tool_call><|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"}),
    ],
    GEMMA: [
        ("/tokenize", {"content": "\U00013000", "with_pieces": True}, {"tokens": pieces([(478, [240]), (385, [147]), (366, [128]), (366, [128])])}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642  x"},
         {"tokens": [9259, 33443, 57235, 138, 236781]}),
        ("/tokenize", {"content": "Hello caf\xe9 \U0001f642", "with_pieces": True},
         {"tokens": pieces([(9259, "Hello"), (33443, " caf\xe9"), (57235, " \U0001f642")])}),
        ("/tokenize", {"content": "<|im_start|>user\n", "with_pieces": True},
         {"tokens": pieces([(236820, "<"), (236909, "|"), (548, "im"), (236779, "_"), (3041, "start"), (111038, "|>"), (2364, "user"), (107, "\n")])}),
        ("/tokenize", {"content": "<|im_start|>", "parse_special": False},
         {"tokens": [236820, 236909, 548, 236779, 3041, 111038]}),
        ("/tokenize", {"content": "<start_of_turn>x<eos>", "add_special": True, "with_pieces": True},
         {"tokens": pieces([(2, "<bos>"), (105, "<start_of_turn>"), (236781, "x"), (1, "<eos>")])}),
        ("/tokenize", {"content": "", "add_special": True},
         {"tokens": [2]}),
        ("/detokenize", {"tokens": [1, 2, 3, 500, 1000]},
         {"content": "<eos><bos><unk>reput"}),
    ],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = start(tmp_path_factory.mktemp("look_api"), SMOL, QWEN, GEMMA)
    yield server
    server.stop()
    server.check_log()


@pytest.mark.xdist_group("smol")
@pytest.mark.parametrize("model", SAID)
def test_g1_it_says_what_llama_server_says(model, running):
    """Each model after a swap that the request itself asked for."""
    for path, body, expected in SAID[model]:
        assert running.post(path, {**body, "model": model}).ok() == expected, (path, body)
    assert running.current()["model"] == model
    text = "    if (x < 3) {\n\treturn \u2028 'caf\u00e9' \U0001f469\u200d\U0001f4bb;\n" * 20
    tokens = running.post("/tokenize", {"content": text, "model": model}).ok()["tokens"]
    assert running.post("/detokenize", {"tokens": tokens, "model": model}).ok()["content"] == text


@pytest.mark.xdist_group("smol")
@pytest.mark.parametrize("model", SAID)
def test_the_prompts_tokens_are_the_chats(model, running):
    messages = [{"role": "user", "content": "a\n\nb"}, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "c"}]
    prompt = running.post("/apply-template", {"messages": messages, "model": model}).ok()["prompt"]
    tokens = running.post("/tokenize", {"content": prompt, "model": model, "add_special": True}).ok()["tokens"]
    assert len(tokens) == running.chat(model, messages, max_tokens=1)["usage"]["prompt_tokens"]
