#!/usr/bin/env python3
"""Writes the seeds of the corpora below tests/fuzz/corpus: run it after a format has changed. What a fuzzer finds is added by hand."""
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "server"))
import gguf_writer as g  # noqa: E402


def put(corpus, name, data):
    folder = HERE / "corpus" / corpus
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def messages():
    """One frame of each message, straight from the table in messages.h."""
    text = (HERE.parents[1] / "src/link/messages.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S).replace("\\\n", " ")
    fields = {m[1]: re.findall(r"F\((\w+), *(\w+)\)", m[2]) for m in re.finditer(r"#define MSG_(\w+)\(F\)(.*)", text)}
    order = re.findall(r"M\(([A-Z_]+), \w+\)", text[text.index("#define MSG_TABLE"):])
    sample = {"U32": struct.pack("<I", 7), "U64": struct.pack("<Q", 1 << 40), "I64": struct.pack("<q", -5), "F64": struct.pack("<d", 0.5),
              "STR": struct.pack("<I", 5) + b"model", "BYTES": struct.pack("<I", 4) + b"[{}]",
              "TOKENS": struct.pack("<Iii", 2, 1, 319), "STRS": struct.pack("<II", 1, 3) + b"end"}
    for number, name in enumerate(order, 1):
        body = b"".join(sample[kind] for kind, _ in fields[name])
        put("messages", name.lower(), struct.pack("<IHH", len(body), 1, number) + body)
    put("messages", "unknown_type", struct.pack("<IHH", 4, 1, 999) + b"abcd")
    put("messages", "too_long", struct.pack("<IHH", 0xffffffff, 1, 1) + b"abcd")


def gguf():
    small = dict(layers=2, heads=2, kv_heads=1, head=32, vocab=8, context=512)
    path = HERE / "corpus" / "gguf"
    path.mkdir(parents=True, exist_ok=True)
    tiny = [("token_embd.weight", (64, 2)), ("output_norm.weight", (64,))]
    g.write(path / "plain", tensors=tiny, **small)
    g.write(path / "window", architecture="gemma3", window=128, tensors=tiny, **small)
    g.write(path / "version2", version=2, tensors=tiny, **small)
    g.write(path / "version1", version=1, tensors=tiny, **small)
    g.write(path / "cut", tensors=tiny, data_cut=100, **small)
    g.write(path / "no_layers", tensors=tiny, **dict(small, layers=0))
    g.write(path / "many_layers", tensors=tiny, **dict(small, layers=513))
    g.write(path / "negative_epsilon", tensors=tiny, epsilon=-1.0, **small)
    g.write(path / "nan_epsilon", tensors=tiny, epsilon=float("nan"), **small)
    g.write(path / "array_of_kinds", tensors=tiny, extra=[g.pair("x", g.ARRAY, [1, 2, 3], items=g.U32), g.pair("y", g.BOOL, True),
                                                          g.pair("z", g.F64, 1.5), g.pair("w", g.I64, -1)], **small)
    put("gguf", "magic_only", b"GGUF")
    put("gguf", "counts", b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60))
    put("gguf", "text", b"not a model at all\n")


def json():
    for name, text in {"object": '{"a": [1, 2.5, -3e10, true, null, "x\\u00e9\\n"], "b": {"c": {}}}', "deep": "[" * 80 + "]" * 80, "number": "1e400",
                       "twice": '{"a":1,"a":2}', "surrogate": '"\\ud800"', "pair": '"\\ud83d\\ude42"', "nul": '"a\\u0000b"', "key_nul": '{"a\\u0000":1}',
                       "big": "123456789012345678901234567890", "empty": "", "cut": '{"a": [1, 2', "bytes": '"\x80"'}.items():
        put("json", name, text.encode("latin-1"))


def requests():
    chat = '{"model":"a","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"}]}]%s}'
    tools = (',"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}],'
             '"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false')
    rest = (',"stream":true,"stream_options":{"include_usage":true},"temperature":0.7,"top_p":0.9,"top_k":40,"min_p":0.1,"seed":1,"stop":["a","b"],'
            '"max_tokens":5,"presence_penalty":0.5,"frequency_penalty":-0.5,"response_format":{"type":"json_object"},"user":"u","n":1,"unknown":1,'
            '"logprobs":true,"top_logprobs":3,"logit_bias":{"5":-100,"319":0.5}')
    called = ('{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":'
              '{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"}]}')
    anthropic = ('{"model":"a","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":['
                 '{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"x"},'
                 '{"type":"tool_use","id":"t1","name":"f","input":{"a":[1]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1",'
                 '"content":[{"type":"text","text":"r"}],"is_error":true},{"type":"text","text":"go on"}]},{"role":"assistant","content":"It is"}],'
                 '"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"strict":true}],"tool_choice":{"type":"tool","name":"f",'
                 '"disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":1024},"stop_sequences":["a"],"temperature":0.5,"top_p":1,'
                 '"top_k":3,"stream":true,"metadata":{"user_id":"u"},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{}}},"x":1}')
    for name, (route, body) in {
            "messages": (5, anthropic), "count": (6, anthropic), "image": (5, '{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]}'),
            "chat": (0, chat % ""), "tools": (0, chat % tools), "all": (0, chat % rest), "called": (0, called), "no_messages": (0, "{}"),
            "wrong": (0, '{"messages":"x"}'), "text": (1, '{"prompt":"x","max_tokens":3,"logprobs":5,"logit_bias":{}}'), "tokens": (1, '{"prompt":[1,2,3]}'),
            "texts": (1, '{"prompt":["x"]}'), "swap": (2, '{"model":"b","drain_timeout_s":3,"on_deadline":"park","wait":false,"hold_s":1}'),
            "offload": (3, "{}"), "tokenize": (7, '{"content":"a<|im_end|>\\u0000","add_special":true,"parse_special":false,"with_pieces":true,"model":"a"}'),
            "detokenize": (8, '{"tokens":[1,2,319]}'), "template": (9, called[:-1] + ',"add_generation_prompt":true}'), "fault": (4, '{"name":"kv_flip","times":1,"arg":5}')}.items():
        put("requests", name, bytes([route]) + body.encode())


def partial_json():
    whole = '{"a": "x\\"y\\u00e9", "b": [1, -2.5e3, true, null, {"c": {}}], "d": {"e": "[{,:"}}'
    for n in (0, 1, 3, 8, 12, 20, 25, 31, 40, 52, 70, len(whole)):
        put("partial_json", f"cut{n}", whole[:n].encode())
    put("partial_json", "deep", b"[" * 100)
    put("partial_json", "wrong", b"]}{")


messages()
gguf()
json()
requests()
partial_json()
