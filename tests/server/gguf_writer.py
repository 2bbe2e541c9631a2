"""Writes tiny GGUF files: enough of a model for the fake engine, and for damaging on purpose."""
import hashlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TENSOR_F32 = 0
ALIGNMENT = 32


def _string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def _scalar(kind, value):
    return struct.pack({U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q",
                        F64: "<d"}[kind], value)


def pair(key, kind, value, items=STRING):
    """One metadata pair; for ARRAY, items is the kind of its elements."""
    out = _string(key) + struct.pack("<I", kind)
    if kind == STRING:
        return out + _string(value)
    if kind == ARRAY:
        body = b"".join(_string(v) if items == STRING else _scalar(items, v) for v in value)
        return out + struct.pack("<IQ", items, len(value)) + body
    return out + _scalar(kind, value)


def seeded_bytes(seed, size):
    """size bytes that depend on seed, the same on every machine; small floats, so that a real reader would not choke."""
    block = hashlib.sha256(str(seed).encode()).digest() * 32
    return (block * (size // len(block) + 1))[:size]


def write(path, architecture="llama", name="tiny", layers=4, heads=4, kv_heads=2, head=32, context=4096, window=0, vocab=320, seed=0,
          template="{{ messages }}", version=3, extra=(), drop=(), tensors=None, tensor_bytes=None, data_cut=0, epsilon=1e-5, sparse=False):
    """A model of this shape. seed: other weights of the same shape. tensor_bytes: size of one big tensor more, for files that
    cost memory. extra: further pairs; drop: keys left out; tensors: replaces the table; data_cut: bytes missing at the end; sparse: zeros that
    take no disk, whatever the seed."""
    embd = heads * head
    a = architecture
    pairs = [
        ("general.architecture", STRING, a), ("general.name", STRING, name), ("general.alignment", U32, ALIGNMENT),
        (f"{a}.block_count", U32, layers), (f"{a}.context_length", U32, context), (f"{a}.embedding_length", U32, embd),
        (f"{a}.feed_forward_length", U32, embd * 2), (f"{a}.attention.head_count", U32, heads),
        (f"{a}.attention.head_count_kv", U32, kv_heads), (f"{a}.attention.key_length", U32, head),
        (f"{a}.attention.value_length", U32, head), (f"{a}.attention.layer_norm_rms_epsilon", F32, epsilon),
        (f"{a}.rope.dimension_count", U32, head), (f"{a}.rope.freq_base", F32, 10000.0),
    ]
    if window:
        pairs.append((f"{a}.attention.sliding_window", U32, window))
    tokens = [f"<{i}>" for i in range(vocab)]
    encoded = [pair(*p) for p in pairs if p[0] not in drop]
    if "tokenizer.ggml.tokens" not in drop:
        encoded.append(pair("tokenizer.ggml.model", STRING, "llama"))
        encoded.append(pair("tokenizer.ggml.tokens", ARRAY, tokens))
        encoded.append(pair("tokenizer.ggml.scores", ARRAY, [0.0] * vocab, items=F32))
        encoded.append(pair("tokenizer.ggml.token_type", ARRAY, [1] * vocab, items=I32))
    if template:
        encoded.append(pair("tokenizer.chat_template", STRING, template))
    encoded += list(extra)
    if tensors is None:
        tensors = [("token_embd.weight", (embd, vocab)), ("output_norm.weight", (embd,))]
        for i in range(layers):
            tensors += [(f"blk.{i}.attn_norm.weight", (embd,)), (f"blk.{i}.attn_q.weight", (embd, embd)),
                        (f"blk.{i}.attn_k.weight", (embd, head * kv_heads))]
        if tensor_bytes:
            tensors.append(("output.weight", (embd, max(1, tensor_bytes // 4 // embd))))
    table, offset, sizes = [], 0, []
    for tensor, dims in tensors:
        size = 4
        for d in dims:
            size *= d
        table.append(_string(tensor) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) +
                     struct.pack("<IQ", TENSOR_F32, offset))
        sizes.append(size)
        offset += (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    head_bytes = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(encoded)) + b"".join(encoded) + b"".join(table)
    head_bytes += b"\0" * (-len(head_bytes) % ALIGNMENT)
    with open(path, "wb") as f:
        f.write(head_bytes)
        if sparse:
            f.truncate(f.tell() + offset)
            f.seek(0, 2)
        for i, size in enumerate(sizes if not sparse else []):
            f.write(seeded_bytes(f"{seed}/{i}", size) + b"\0" * (-size % ALIGNMENT))
        if data_cut:
            f.truncate(f.tell() - data_cut)
    return path


def _span(data, at, kind):
    """Bytes of a value of this kind at that place."""
    if kind == STRING:
        return 8 + struct.unpack_from("<Q", data, at)[0]
    if kind != ARRAY:
        return {U8: 1, I8: 1, BOOL: 1, U16: 2, I16: 2, U64: 8, I64: 8, F64: 8}.get(kind, 4)
    items, n = struct.unpack_from("<IQ", data, at)
    size = 12
    if items not in (STRING, ARRAY):
        return size + n * _span(data, at, items)
    for _ in range(n):
        size += _span(data, at + size, items)
    return size


def _parse(data):
    """The metadata as it stands there, how many pairs, and of each tensor its table entry without the offset, and its bytes."""
    n_tensors, n_pairs = struct.unpack_from("<QQ", data, 8)
    begin = at = 24
    for _ in range(n_pairs):
        at += _span(data, at, STRING)
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4 + _span(data, at + 4, kind)
    pairs, table = data[begin:at], []
    for _ in range(n_tensors):
        start = at
        at += _span(data, at, STRING)
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 4
        table.append((data[start:at], struct.unpack_from("<Q", data, at)[0]))
        at += 8
    at += -at % ALIGNMENT
    ends = sorted(offset for _, offset in table) + [len(data) - at]
    return pairs, n_pairs, [(head, data[at + offset:at + min(e for e in ends if e > offset)]) for head, offset in table]


def split(path, n):
    """Replaces the file by n parts, as llama-gguf-split makes them: the first has the metadata, all have tensors. Their paths."""
    pairs, n_pairs, tensors = _parse(path.read_bytes())
    paths = [path.with_name(f"{path.stem}-{i + 1:05}-of-{n:05}.gguf") for i in range(n)]
    for i, part in enumerate(paths):
        own = tensors[len(tensors) * i // n:len(tensors) * (i + 1) // n]
        split_pairs = pair("split.no", U16, i) + pair("split.count", U16, n) + pair("split.tensors.count", I32, len(tensors))
        table, offset = b"", 0
        for head, body in own:
            table += head + struct.pack("<Q", offset)
            offset += len(body) + -len(body) % ALIGNMENT
        head = b"GGUF" + struct.pack("<IQQ", 3, len(own), 3 + (n_pairs if i == 0 else 0)) + (pairs if i == 0 else b"") + split_pairs + table
        part.write_bytes(head + b"\0" * (-len(head) % ALIGNMENT) + b"".join(body + b"\0" * (-len(body) % ALIGNMENT) for _, body in own))
    path.unlink()
    return paths
