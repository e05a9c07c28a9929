"""Makes weights of a greater width that compute the same: a start for a larger model from what a smaller one has learnt.

    python3 benches/widen.py FROM TO WIDTH

FROM is a folder with model.safetensors and config.json of a mixer without puzzle embeddings, TO the one to write.

A state of the wide model is c times the narrow one's, c = sqrt(WIDTH / D), beside zeros: norms make a mean square of 1 of
either. What reads states is divided by c, what writes them multiplied. The new features are read by weights drawn
as fresh ones are and written by zeros, which is what training then moves. Needs NumPy, whose default generator draws with seed 0.
"""
import json
import math
import pathlib
import struct
import sys

import numpy

TYPES = {"F32": numpy.float32, "F16": numpy.float16}
# SwiGLU's inner width is rounded up to whole ones of these.
INNER_STEP = 256


def read(path):
    """Tensors by name, in float32."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = numpy.frombuffer(data[start + begin:start + end], TYPES[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"]).astype(numpy.float32)
    return tensors


def write(path, tensors):
    header, parts, at = {}, [], 0
    for name, values in tensors.items():
        data = numpy.ascontiguousarray(values, numpy.float32).tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(parts))


def widened(tensors, expansion, width):
    """The tensors of a model with `width` features instead of as many as the embeddings have."""
    narrow = tensors["embed_tokens.embedding_weight"].shape[1]
    c, draw = math.sqrt(width / narrow), numpy.random.default_rng(0)
    inner = math.ceil(round(expansion * width * 2 / 3) / INNER_STEP) * INNER_STEP

    def beside_zeros(values):
        return numpy.concatenate([values, numpy.zeros((*values.shape[:-1], width - narrow), numpy.float32)], -1)

    def gate_or_up(old):
        # Truncated at two deviations.
        new = (draw.standard_normal((inner, width)).clip(-2, 2) / math.sqrt(width)).astype(numpy.float32)
        new[:len(old), :narrow] = old / c
        return new

    def down(old):
        new = numpy.zeros((width, inner), numpy.float32)
        new[:narrow, :old.shape[1]] = old * c
        return new

    def of(name, old):
        if name.endswith("_init"):
            return beside_zeros(old * c)
        if name == "embed_tokens.embedding_weight":  # is multiplied by the square root of the width
            return beside_zeros(old)
        if name in ("lm_head.weight", "q_head.weight"):
            return beside_zeros(old / c)
        if name == "q_head.bias":
            return old
        if name.endswith(".mlp_t.gate_up_proj.weight"):
            return old / c
        if name.endswith(".mlp_t.down_proj.weight"):
            return old * c
        if name.endswith(".mlp.gate_up_proj.weight"):
            return numpy.concatenate([gate_or_up(half) for half in numpy.split(old, 2)])
        if name.endswith(".mlp.down_proj.weight"):
            return down(old)
        raise SystemExit(f"{name}: is no tensor of a mixer without puzzle embeddings; widen one")

    return {name: of(name, values) for name, values in sorted(tensors.items())}


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    source, to, width = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    config = json.loads((source / "config.json").read_text())
    arch = config["arch"]
    if width <= arch["hidden_size"]:
        raise SystemExit(f"{source} has {arch['hidden_size']} features already; give a greater width")
    tensors = widened(read(source / "model.safetensors"), arch["expansion"], width)
    to.mkdir(parents=True)
    write(to / "model.safetensors", tensors)
    arch["hidden_size"] = width
    (to / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
