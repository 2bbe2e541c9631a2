#!/usr/bin/env python3
"""Model files of the reference models' true size: their exact shapes and tensor types, weights from a seed.

usage: bench/large_models.py NAME ... --out DIR [--type Q4_K_M|Q4_0] [--layers N] [--width N] [--seed N] [--hollow]

Real weights can't be had for a benchmark; what a load, a swap and a step cost depends on sizes, types and vocabulary, and those are facts.
Vocabulary and tokenizer come from the pinned small model of the family, padded to the true number of tokens.

Sources of the shapes: config.json of meta-llama/Llama-3.1-8B, Qwen/Qwen2.5-14B and google/gemma-3-12b-pt (text_config), and the papers'
tables (arXiv 2407.21783, 2412.15115, 2503.19786). Of the metadata's keys and tensors' names: llama.cpp's converter at the pin (Gemma's embedding loses its 64
rows beyond the tokenizer there). Of the types: src/llama-quant.cpp at the pin (use_more_bits, attn_v, ffn_down, output, 2D weights only).
"""
import argparse
import dataclasses
import math
import os
import pathlib
import random
import struct
import sys

from common import GEMMA, MODELS, QWEN, ROOT, SMOL

sys.path.insert(0, str(ROOT / "tests" / "server"))
from gguf_writer import ARRAY, F32, I32, STRING, U32, pair  # noqa: E402

ALIGNMENT = 32
POOL_BYTES = 4 << 20  # random blocks of a type; each tensor is them from its own place on, again and again: made at the disk's speed
TOKEN_UNUSED = 5
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# number, values a block, bytes a block
TYPES = {"F32": (0, 1, 4), "Q4_0": (2, 32, 18), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}
FILE_TYPES = {"Q4_0": 2, "Q4_K_M": 15}


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    arch: str
    family: str  # whose vocabulary
    layers: int
    embd: int
    ff: int
    heads: int
    kv_heads: int
    head: int
    vocab: int
    context: int
    epsilon: float
    extra: tuple  # further pairs: key without the architecture, kind, value
    rope_factors: bool = False  # a tensor of them
    tied: bool = False  # no output matrix of its own
    biases: bool = False
    gemma: bool = False  # four norms a layer and two for the heads


SHAPES = {s.name: s for s in (
    Shape("llama-3.1-8b", "llama", SMOL, 32, 4096, 14336, 32, 8, 128, 128256, 131072, 1e-5,
          (("rope.freq_base", F32, 500000.0), ("rope.dimension_count", U32, 128), ("vocab_size", U32, 128256)), rope_factors=True),
    Shape("qwen2.5-14b", "qwen2", QWEN, 48, 5120, 13824, 40, 8, 128, 152064, 131072, 1e-5,
          (("rope.freq_base", F32, 1000000.0),), biases=True),
    Shape("gemma-3-12b", "gemma3", GEMMA, 48, 3840, 15360, 16, 8, 256, 262144, 131072, 1e-6,
          (("rope.freq_base", F32, 1000000.0), ("rope.scaling.type", STRING, "linear"), ("rope.scaling.factor", F32, 8.0),
           ("attention.sliding_window", U32, 1024)), tied=True, gemma=True),
)}


def scaled(shape, layers=None, width=None):
    """Fewer layers, or a narrower model (a multiple of 256): for tests. The KV of a layer stays what it is: heads, their width, the window."""
    if layers:
        shape = dataclasses.replace(shape, layers=layers)
    if width:
        heads = shape.heads if shape.arch != "qwen2" else width // shape.head  # this family's heads are its width
        if width % 256 or heads < shape.kv_heads:
            raise ValueError(f"{shape.name} can't be {width} wide")
        shape = dataclasses.replace(shape, embd=width, ff=max(256, shape.ff * width // shape.embd // 256 * 256), heads=heads)
    return shape


def more_bits(i, n):
    """llama.cpp's choice of the layers that get 6 bits in Q4_K_M: the first and the last eighth, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def tensors_of(shape, file_type):
    """[(name, dimensions, type)] in the order of the file."""
    usual = {"Q4_K_M": "Q4_K", "Q4_0": "Q4_0"}[file_type]
    q, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    out = []
    if shape.rope_factors:
        out.append(("rope_freqs.weight", (shape.head // 2,), "F32"))
    out.append(("token_embd.weight", (shape.embd, shape.vocab), "Q6_K" if shape.tied else usual))
    for i in range(shape.layers):
        more = "Q6_K" if file_type == "Q4_K_M" and more_bits(i, shape.layers) else usual
        layer = [("attn_norm.weight", (shape.embd,), "F32"), ("attn_q.weight", (shape.embd, q), usual),
                 ("attn_k.weight", (shape.embd, kv), usual), ("attn_v.weight", (shape.embd, kv), more),
                 ("attn_output.weight", (q, shape.embd), usual), ("ffn_norm.weight", (shape.embd,), "F32"),
                 ("ffn_gate.weight", (shape.embd, shape.ff), usual), ("ffn_up.weight", (shape.embd, shape.ff), usual),
                 ("ffn_down.weight", (shape.ff, shape.embd), more)]
        if shape.biases:
            layer += [("attn_q.bias", (q,), "F32"), ("attn_k.bias", (kv,), "F32"), ("attn_v.bias", (kv,), "F32")]
        if shape.gemma:
            layer += [("attn_q_norm.weight", (shape.head,), "F32"), ("attn_k_norm.weight", (shape.head,), "F32"),
                      ("post_attention_norm.weight", (shape.embd,), "F32"), ("post_ffw_norm.weight", (shape.embd,), "F32")]
        out += [(f"blk.{i}.{name}", dims, kind) for name, dims, kind in layer]
    out.append(("output_norm.weight", (shape.embd,), "F32"))
    if not shape.tied:
        out.append(("output.weight", (shape.embd, shape.vocab), "Q6_K"))
    return out


def tensor_bytes(dims, kind):
    _, values, size = TYPES[kind]
    return math.prod(dims) // values * size


# ---- the tokenizer of the family's pinned model ----

class Header:
    """Walks over the metadata of a GGUF file of ours; a file from a stranger is src/model/gguf_info.c's."""

    def __init__(self, path):
        self.data, self.at = path.open("rb").read(32 << 20), 24
        (self.n_pairs,) = struct.unpack_from("<Q", self.data, 16)

    def number(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        size = self.number("<Q")
        self.at += size
        return self.data[self.at - size:self.at]

    def skip(self, kind):
        if kind == STRING:
            self.text()
        else:
            self.at += SCALARS[kind]

    def pairs(self):
        """(key, its bytes as they stand, kind of the elements, their number, where they begin in the bytes): the last three for arrays."""
        for _ in range(self.n_pairs):
            begin = self.at
            key, kind = self.text().decode(), self.number("<I")
            if kind != ARRAY:
                self.skip(kind)
                yield key, self.data[begin:self.at], None, 0, 0
                continue
            items, n = self.number("<I"), self.number("<Q")
            body = self.at
            if items == STRING:
                for _ in range(n):
                    self.text()
            else:
                self.at += n * SCALARS[items]
            yield key, self.data[begin:self.at], items, n, body - begin


def tokenizer_of(family, vocab):
    """The pairs of the family's tokenizer, its lists by token padded with unused ones up to vocab tokens."""
    out = []
    for key, raw, items, n, body in Header(MODELS / f"{family}.gguf").pairs():
        if not key.startswith("tokenizer."):
            continue
        if key in ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
            if n > vocab:
                raise ValueError(f"{family} has {n} tokens, more than {vocab}")
            more = {STRING: lambda i: struct.pack("<Q", len(f"[PAD{i}]")) + f"[PAD{i}]".encode(), F32: lambda i: struct.pack("<f", -1000.0),
                    I32: lambda i: struct.pack("<i", TOKEN_UNUSED)}[items]
            raw = raw[:body - 8] + struct.pack("<Q", vocab) + raw[body:] + b"".join(more(i) for i in range(n, vocab))
        out.append(raw)
    return out


# ---- weights ----

def half(value):
    return struct.pack("<e", value)


def fill(pool, at, step, data):
    """The bytes of data, at this place of every block."""
    for i, byte in enumerate(data):
        pool[at + i::step] = bytes([byte]) * len(pool[at + i::step])


def pool_of(kind, rng, deviation):
    """Blocks of random weights around 0, with about this deviation, whatever their scales say: the scales of a block are finite and small."""
    _, values, size = TYPES[kind]
    n = POOL_BYTES // size
    if kind == "F32":  # norms: around 1
        return b"".join(struct.pack("<f", 1.0 + rng.uniform(-0.1, 0.1)) for _ in range(1 << 14))
    pool = bytearray(rng.randbytes(n * size))
    if kind == "Q4_0":  # half d, 4 bits each: d (q - 8)
        fill(pool, 0, size, half(deviation / 4.6))
    elif kind == "Q4_K":  # half d, half dmin, 8 scales and minima of 6 bits, 4 bits each: d scale q - dmin min
        scales = [rng.randrange(24, 40) for _ in range(8)]  # minima alike, so that dmin = 7.5 d centres them
        packed = [s | (t >> 4) << 6 for s, t in zip(scales[:4], scales[4:])]
        fill(pool, 0, size, half(deviation / 4.6 / 32) + half(7.5 * deviation / 4.6 / 32) + bytes(packed + packed) +
             bytes((t & 15) * 17 for t in scales[4:]))
    else:  # Q6_K: 6 bits each, 16 scales of a signed byte, half d: d scale (q - 32)
        fill(pool, 192, size, bytes(rng.randrange(24, 40) for _ in range(16)) + half(deviation / 18.5 / 32))
    return bytes(pool)


def write_tensor(f, name, dims, kind, pools, rng):
    """From a place of its own in the pool on."""
    if kind == "F32" and (name.endswith(".bias") or name == "rope_freqs.weight"):
        f.write(struct.pack("<f", 0.01 if name.endswith(".bias") else 1.0) * dims[0])
        return
    pool, block = pools[kind], TYPES[kind][2]
    left, at = tensor_bytes(dims, kind), rng.randrange(len(pool) // block) * block
    while left:
        n = min(left, len(pool) - at)
        f.write(memoryview(pool)[at:at + n])
        left, at = left - n, 0


# ---- the file ----

def header_of(shape, file_type, tensors):
    a = shape.arch
    pairs = [("general.architecture", STRING, a), ("general.type", STRING, "model"), ("general.name", STRING, f"{shape.name}, weights from a seed"),
             ("general.file_type", U32, FILE_TYPES[file_type]), ("general.quantization_version", U32, 2),
             (f"{a}.block_count", U32, shape.layers), (f"{a}.context_length", U32, shape.context),
             (f"{a}.embedding_length", U32, shape.embd), (f"{a}.feed_forward_length", U32, shape.ff),
             (f"{a}.attention.head_count", U32, shape.heads), (f"{a}.attention.head_count_kv", U32, shape.kv_heads),
             (f"{a}.attention.layer_norm_rms_epsilon", F32, shape.epsilon)]
    if a != "qwen2":
        pairs += [(f"{a}.attention.key_length", U32, shape.head), (f"{a}.attention.value_length", U32, shape.head)]
    encoded = [pair(*p) for p in pairs] + [pair(f"{a}.{key}", kind, value) for key, kind, value in shape.extra]
    encoded += tokenizer_of(shape.family, shape.vocab)
    table, offset = [], 0
    for name, dims, kind in tensors:
        table.append(struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(dims)}Q", len(dims), *dims) +
                     struct.pack("<IQ", TYPES[kind][0], offset))
        offset += -(-tensor_bytes(dims, kind) // ALIGNMENT) * ALIGNMENT
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(encoded)) + b"".join(encoded) + b"".join(table)
    return head + b"\0" * (-len(head) % ALIGNMENT), offset


def write(path, shape, file_type="Q4_K_M", seed=1, hollow=False):
    """The whole file or none, on the disk when this returns. hollow: its weights are a hole (zeros that take no room): for all that only reads
    the header, and for a measurement, which allocates nothing."""
    path = pathlib.Path(path)
    tensors = tensors_of(shape, file_type)
    head, data_bytes = header_of(shape, file_type, tensors)
    rng = random.Random(f"{seed} {shape.name} {file_type}")
    pools = {} if hollow else {kind: pool_of(kind, rng, 1 / math.sqrt(shape.embd)) for kind in sorted({t[2] for t in tensors})}
    unfinished = path.with_name(path.name + ".tmp")
    try:
        with unfinished.open("wb") as f:
            f.write(head)
            for name, dims, kind in () if hollow else tensors:
                write_tensor(f, name, dims, kind, pools, rng)
                f.write(b"\0" * (-tensor_bytes(dims, kind) % ALIGNMENT))
            f.truncate(len(head) + data_bytes)
            f.flush()
            os.fsync(f.fileno())
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="+", choices=SHAPES, metavar="NAME", help=", ".join(SHAPES))
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder")
    parser.add_argument("--type", choices=FILE_TYPES, default="Q4_K_M")
    parser.add_argument("--layers", type=int, help="fewer layers")
    parser.add_argument("--width", type=int, help="a narrower model, a multiple of 256; KV heads and window stay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hollow", action="store_true", help="no weights: a hole of their size")
    args = parser.parse_args()
    for name in args.names:
        path = write(args.out / f"{name}-{args.type}.gguf", scaled(SHAPES[name], args.layers, args.width), args.type, args.seed, args.hollow)
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
