"""One supervision step of a Tiny Recursion Model in PyTorch, eager or compiled, timed: the peer of `trm bench step`.

Written from the definitions of the model alone: states y and z, nets of post-norm blocks, T recursions of n latent
updates and one answer update, gradients through the last recursion only, stablemax loss, AdamATan2 and the moving
average. Shapes: B batch, L = 16 + S positions, D = 512 features, V tokens.

Prints one JSON line for each mode, with the key that `trm bench step --json` gives the same step.
"""
import argparse
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

D, HEADS, PREFIX, LAYERS, CYCLES = 512, 8, 16, 2, 3
CASES = {  # S, V, n, mixer
    "sudoku-mlp": (81, 11, 6, True),
    "sudoku-att": (81, 11, 6, False),
    "maze-hard": (900, 6, 4, False),
}


def inner(width):
    """SwiGLU's inner width at expansion 4."""
    return math.ceil(round(4 * width * 2 / 3) / 256) * 256


class Step:
    def __init__(self, case, batch, dtype):
        self.seq, self.vocab, self.updates, self.mixer = CASES[case]
        self.batch, self.length, self.dtype = batch, self.seq + PREFIX, dtype
        torch.manual_seed(0)
        self.weights = {name: self.matrix(*shape) for name, shape in self.shapes().items()}
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in self.weights.items()}
        self.rows = torch.zeros(batch, D, requires_grad=True)
        self.start = torch.randn(2, D)
        self.tokens = torch.arange(batch * self.seq).view(batch, self.seq) * 7 % self.vocab
        self.rotary = self.angles()

    def matrix(self, out, into):
        return (torch.randn(out, into) / math.sqrt(into)).requires_grad_(True)

    def shapes(self):
        shapes = {"tokens": (self.vocab, D), "head": (self.vocab, D), "halt": (2, D), "halt_bias": (2, 1)}
        for layer in range(LAYERS):
            if self.mixer:
                shapes[f"{layer}.mix_up"] = (2 * inner(self.length), self.length)
                shapes[f"{layer}.mix_down"] = (self.length, inner(self.length))
            else:
                shapes[f"{layer}.qkv"], shapes[f"{layer}.out"] = (3 * D, D), (D, D)
            shapes[f"{layer}.up"], shapes[f"{layer}.down"] = (2 * inner(D), D), (D, inner(D))
        return shapes

    def angles(self):
        half = D // HEADS // 2
        frequencies = 10000.0 ** (-torch.arange(half) / half)
        angles = torch.outer(torch.arange(self.length), frequencies)
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    @staticmethod
    def norm(h):
        wide = h.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-5)).to(h.dtype)

    @staticmethod
    def swiglu(h, up, down):
        gate, value = F.linear(h, up).chunk(2, -1)
        return F.linear(F.silu(gate) * value, down)

    def rotate(self, h):
        cos, sin = self.rotary
        first, second = h.chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    def attend(self, h, w, layer):
        qkv = F.linear(h, w[f"{layer}.qkv"]).view(self.batch, self.length, 3, HEADS, D // HEADS)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return F.linear(o.transpose(1, 2).reshape(h.shape), w[f"{layer}.out"])

    def net(self, h, w):
        for layer in range(LAYERS):
            if self.mixer:
                t = h.transpose(1, 2)
                h = self.norm(t + self.swiglu(t, w[f"{layer}.mix_up"], w[f"{layer}.mix_down"])).transpose(1, 2)
            else:
                h = self.norm(h + self.attend(h, w, layer))
            h = self.norm(h + self.swiglu(h, w[f"{layer}.up"], w[f"{layer}.down"]))
        return h

    def recursion(self, y, z, x, w):
        for _ in range(self.updates):
            z = self.net(z + y + x, w)
        return self.net(y + z, w), z

    def forward(self):
        w = {name: weight.to(self.dtype) for name, weight in self.weights.items()}
        prefix = F.pad(self.rows, (0, (PREFIX - 1) * D)).view(self.batch, PREFIX, D).to(self.dtype)
        x = math.sqrt(D) * torch.cat((prefix, F.embedding(self.tokens, w["tokens"])), 1)
        y, z = (state.to(self.dtype).expand_as(x) for state in self.start)
        with torch.no_grad():
            for _ in range(CYCLES - 1):
                y, z = self.recursion(y, z, x, w)
        y, z = self.recursion(y, z, x, w)
        logits = F.linear(y[:, PREFIX:], w["head"]).float()
        halt = F.linear(y[:, 0], w["halt"], w["halt_bias"][:, 0]).float()
        return logits, halt

    def loss(self, logits, halt):
        s = torch.where(logits < 0, 1 / (1 - logits), logits + 1)
        picked = (s / s.sum(-1, keepdim=True)).log().gather(-1, self.tokens[..., None])
        exact = (logits.argmax(-1) == self.tokens).all(-1).float()
        right = F.binary_cross_entropy_with_logits(halt[:, 0], exact, reduction="sum")
        return (-picked.mean((1, 2)).sum() + 0.5 * right) / self.batch

    @torch.no_grad()
    def update(self):
        for name, weight in self.weights.items():
            first, second = self.moments[name]
            first.lerp_(weight.grad, 0.1)
            second.lerp_(weight.grad.square(), 0.05)
            weight.mul_(1 - 1e-4).sub_(1e-4 * torch.atan2(first, second.sqrt()))
            self.average[name].lerp_(weight, 0.001)
            weight.grad = None
        self.rows.sub_(1e-4 * self.rows.grad.sign())
        self.rows.grad = None

    def evaluate(self):
        with torch.no_grad():
            self.forward()

    def train(self):
        self.loss(*self.forward()).backward()
        self.update()


class Timer:
    """Times work on a device: on a GPU by CUDA events, at its full clock."""

    WARM = 0.3  # seconds of unbroken work after which a GPU has its full clock

    def __init__(self, device):
        self.cuda = device.type == "cuda"

    def warm(self, work):
        """What is compiled or met for the first time is not timed; a resting GPU runs at a fraction of its clock."""
        work()
        start = time.perf_counter()
        while self.cuda and time.perf_counter() - start < self.WARM:
            work()
            torch.cuda.synchronize()

    def seconds(self, work):
        if not self.cuda:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3


def usable(name):
    """The device of that name. Ends the program, saying why, where PyTorch has no such device."""
    try:
        device = torch.device(name)
    except RuntimeError:
        sys.exit(f"--device {name}: PyTorch knows no such device; give cpu, cuda or cuda:1")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            built = torch.version.cuda or torch.version.hip
            why = "finds no GPU or driver" if built else "was built without CUDA"
            sys.exit(f"--device {name}: PyTorch {torch.__version__} {why}; give --device cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            sys.exit(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        sys.exit(f"--device {name}: only cpu and cuda are measured")
    return device


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--dtype", choices=["f32", "tf32", "bf16"], default="f32", help="tf32: f32, products in TF32")
    parser.add_argument("--compile", action="store_true", help="the nets through torch.compile")
    parser.add_argument("--threads", type=int, help="as many as PyTorch takes by itself if not given")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = usable(args.device)
    if device.type != "cpu":  # on a CPU it would cost every call a little
        torch.set_default_device(device)
    torch.set_float32_matmul_precision("high" if args.dtype == "tf32" else "highest")
    step = Step(args.case, args.batch, torch.bfloat16 if args.dtype == "bf16" else torch.float32)
    if args.compile:
        step.net = torch.compile(step.net)
    modes, timer = {"eval": step.evaluate, "train": step.train}, Timer(device)
    for run in modes.values():  # before anything is timed: a pause to compile lets the clock fall
        run()
    best = dict.fromkeys(modes, math.inf)
    for mode, run in modes.items():
        timer.warm(run)
        for _ in range(args.repetitions):
            best[mode] = min(best[mode], timer.seconds(run))
    for mode, seconds in best.items():
        precision = "bf16/" if args.dtype == "bf16" else ""
        key = f"step/{args.case}/B{args.batch}/S{step.seq}/{precision}{mode}"
        way = "compiled" if args.compile else "eager"
        print(json.dumps({"key": key, "seconds": seconds, "peer": f"PyTorch {torch.__version__} {args.dtype} {way}"}))


if __name__ == "__main__":
    main()
