"""Trains a Tiny Recursion Model in PyTorch, from the weights and on the batches of a run of trm: the peer of `trm train`.

Written from the definitions alone: deep supervision with a carry, gradients through the last of T recursions, stablemax
loss in float64, AdamATan2, sign-SGD for the rows of puzzle embeddings, moving average, warm-up and cosine. All else is
float32, or float64 with --float64. Names of weights are the authors' release's. Shapes: B slots, S tokens, P rows of a puzzle, L = P + S, D features.

Writes a line of JSON for each training step and each evaluation, with the names of trm's metrics.jsonl. `parity.py` runs it
beside trm.
"""
import argparse
import json
import math
import pathlib
import tomllib

import numpy
import torch
import torch.nn.functional as F

IGNORED = -100
UNKNOWN = {"arch": ["random_init", "damping", "noise"], "train": ["label_smoothing", "freeze_weights"]}


class Model:
    """The network: weights by name, and one supervision step forward."""

    def __init__(self, arch, weights):
        if arch["name"] != "trm" or not arch["no_ACT_continue"]:
            raise SystemExit("the twin knows the architecture trm without the continue head only")
        self.arch, self.weights = arch, weights
        self.width = arch["hidden_size"]
        rows = arch["puzzle_emb_ndim"]
        self.prefix = (arch["puzzle_emb_len"] or math.ceil(rows / self.width)) if rows else 0

    def norm(self, h):
        return h * torch.rsqrt(h.square().mean(-1, keepdim=True) + self.arch["rms_norm_eps"])

    def swiglu(self, h, name):
        gate, up = F.linear(h, self.weights[f"{name}.gate_up_proj.weight"]).chunk(2, -1)
        return F.linear(F.silu(gate) * up, self.weights[f"{name}.down_proj.weight"])

    def rotate(self, h):
        """Turns the pairs (i, i + d/2) of h (B, heads, L, d) by position * theta^(-2i/d)."""
        half = h.shape[-1] // 2
        frequencies = self.arch["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(h.shape[-2], dtype=torch.float64), frequencies)
        cos, sin = angles.cos().to(h.dtype), angles.sin().to(h.dtype)
        first, second = h.chunk(2, -1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)

    def attend(self, h, name):
        batch, length, _ = h.shape
        heads = self.arch["num_heads"]
        qkv = F.linear(h, self.weights[f"{name}.qkv_proj.weight"]).view(batch, length, 3, heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        if self.arch["pos_encodings"] == "rope":
            q, k = self.rotate(q), self.rotate(k)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return F.linear(mixed.reshape(batch, length, -1), self.weights[f"{name}.o_proj.weight"])

    def net(self, h):
        for layer in range(self.arch["L_layers"]):
            name = f"L_level.layers.{layer}"
            if self.arch["mlp_t"]:
                t = h.transpose(1, 2)
                h = self.norm(t + self.swiglu(t, f"{name}.mlp_t")).transpose(1, 2)
            else:
                h = self.norm(h + self.attend(h, f"{name}.self_attn"))
            h = self.norm(h + self.swiglu(h, f"{name}.mlp"))
        return h

    def embed(self, inputs, rows):
        """x (B, L, D) of tokens (B, S) and rows (B, embedding width) of the puzzles."""
        e = F.embedding(inputs, self.weights["embed_tokens.embedding_weight"])
        if self.prefix:
            padded = F.pad(rows, (0, self.prefix * self.width - rows.shape[1]))
            e = torch.cat((padded.view(-1, self.prefix, self.width), e), 1)
        if self.arch["pos_encodings"] == "learned":
            e = 0.5 ** 0.5 * (e + self.weights["embed_pos.embedding_weight"])
        return self.width ** 0.5 * e

    def cycle(self, y, z, x):
        for _ in range(self.arch["L_cycles"]):
            z = self.net(z + y + x)
        return self.net(y + z), z

    def step(self, states, inputs, rows):
        """One supervision step: logits (B, S, V), halt logits (B), the new states cut from the graph."""
        (y, z), x = states, self.embed(inputs, rows)
        with torch.no_grad():
            for _ in range(self.arch["H_cycles"] - 1):
                y, z = self.cycle(y, z, x)
        y, z = self.cycle(y, z, x)
        logits = F.linear(y[:, self.prefix:], self.weights["lm_head.weight"])
        halt = F.linear(y[:, 0], self.weights["q_head.weight"], self.weights["q_head.bias"])[:, 0]
        return logits, halt, (y.detach(), z.detach())


class Twin:
    """A training: weights, optimisers and the carry."""

    def __init__(self, recipe, weights, slots, seq_len):
        self.train, arch = recipe["train"], recipe["arch"]
        for section, keys in UNKNOWN.items():
            for key in keys:
                if recipe[section].get(key):
                    raise SystemExit(f"the twin does not know {section}.{key}")
        if self.train.get("optimizer", "adam_atan2") != "adam_atan2":
            raise SystemExit("the twin knows the optimizer adam_atan2 only")
        state = {name: value.to(torch.get_default_dtype(), copy=True) for name, value in weights.items()}
        self.initial = (state.pop("H_init"), state.pop("L_init"))
        self.rows = state.pop("puzzle_emb.weights", torch.zeros(1, 0))
        self.weights = {name: value.requires_grad_(True) for name, value in state.items()}
        self.average = {name: value.detach().clone() for name, value in state.items()}
        self.moments = {name: [torch.zeros_like(w), torch.zeros_like(w)] for name, w in state.items()}
        self.model, self.most = Model(arch, self.weights), arch["halt_max_steps"]
        length = self.model.prefix + seq_len
        self.states = tuple(torch.zeros(slots, length, self.model.width) for _ in range(2))
        self.halted, self.steps = torch.ones(slots, dtype=torch.bool), torch.zeros(slots, dtype=torch.long)
        self.data = [torch.zeros(slots, dtype=torch.long), *(torch.zeros(slots, seq_len, dtype=torch.long) for _ in range(2))]
        self.done, self.total = 0, 0

    def rate(self, base):
        warm, last = self.train["lr_warmup_steps"], self.train["lr_min_ratio"]
        if self.done < warm:
            return base * self.done / warm
        progress = (self.done - warm) / max(self.total - warm, 1)
        return base * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * progress)))

    def take(self, batch):
        """Slots whose sample has halted begin anew, with what comes in."""
        seq_len = self.data[1].shape[1]
        incoming = (batch[:, 2], batch[:, 3:3 + seq_len], batch[:, 3 + seq_len:])
        slots = self.halted
        for held, new in zip(self.data, incoming):
            held[slots] = new[slots]
        self.states = tuple(torch.where(slots[:, None, None], start, s) for start, s in zip(self.initial, self.states))
        self.steps = torch.where(slots, 0, self.steps) + 1

    def step(self, batch):
        """A training step on a batch (B, 3 + 2 S) of `trm data batches`; its metrics."""
        self.done += 1
        self.take(batch)
        identifiers, inputs, labels = self.data
        rows = self.rows[identifiers].requires_grad_(True)
        logits, halt, self.states = self.model.step(self.states, inputs, rows)
        right, lm_loss = judge(logits, labels)
        q_loss = F.binary_cross_entropy_with_logits(halt, right.to(halt.dtype), reduction="none")
        loss = (lm_loss.sum() + 0.5 * q_loss.sum()) / len(batch)
        loss.backward()
        fewest, most = batch[:, 0], batch[:, 1]
        self.halted = (self.steps >= most) | ((most > 1) & (halt > 0) & (self.steps >= fewest))
        self.update(identifiers, rows.grad)
        count = int(self.halted.sum())
        shares = {"exact_accuracy": right, "q_halt_accuracy": (halt >= 0) == right, "steps": self.steps}
        found = {name: value[self.halted].double().mean().item() if count else None for name, value in shares.items()}
        return {"loss": loss.item(), "lm_loss": lm_loss.mean().item(), "q_halt_loss": q_loss.mean().item(), "count": count, **found}

    @torch.no_grad()
    def update(self, identifiers, row_gradients):
        train, lr = self.train, self.rate(self.train["lr"])
        beta1, beta2 = train["beta1"], train["beta2"]
        first_scale, second_scale = 1 / (1 - beta1 ** self.done), 1 / (1 - beta2 ** self.done) ** 0.5
        rate = train["ema_rate"] if train["ema"] else 0.0
        for name, weight in self.weights.items():
            first, second = self.moments[name]
            first.mul_(beta1).add_(weight.grad, alpha=1 - beta1)
            second.mul_(beta2).addcmul_(weight.grad, weight.grad, value=1 - beta2)
            weight.mul_(1 - lr * train["weight_decay"]).sub_(lr * first_scale * torch.atan2(first, second.sqrt() * second_scale))
            self.average[name].mul_(rate).add_(weight, alpha=1 - rate)
            weight.grad = None
        if row_gradients.shape[1]:
            lr = self.rate(train["puzzle_emb_lr"])
            used, places = identifiers.unique(return_inverse=True)
            sums = torch.zeros(len(used), row_gradients.shape[1]).index_add_(0, places, row_gradients)
            self.rows[used] = self.rows[used] * (1 - lr * train["puzzle_emb_weight_decay"]) - lr * sums.sign()

    @torch.no_grad()
    def evaluate(self, identifiers, inputs, labels):
        """Metrics of samples that think all steps, by the moving average of the weights."""
        model = Model(self.model.arch, self.average)
        exact, lm_loss, q_loss = [], [], []
        for part in torch.arange(len(inputs)).split(100):
            shape = (len(part), model.prefix + inputs.shape[1], model.width)
            states = tuple(start.expand(shape) for start in self.initial)
            for _ in range(self.most):
                logits, halt, states = model.step(states, inputs[part], self.rows[identifiers[part]])
            right, loss = judge(logits, labels[part])
            exact.append(right)
            lm_loss.append(loss)
            q_loss.append(F.binary_cross_entropy_with_logits(halt, right.to(halt.dtype), reduction="none"))
        mean = lambda parts: torch.cat(parts).double().mean().item()
        lm_loss, q_loss = mean(lm_loss), mean(q_loss)
        return {"loss": lm_loss + 0.5 * q_loss, "lm_loss": lm_loss, "q_halt_loss": q_loss, "exact_accuracy": mean(exact)}


def judge(logits, labels):
    """Per sample: whether all its labels are right, and the mean over them of -log stablemax."""
    known = labels != IGNORED
    wide, target = logits.double(), labels.clamp(min=0)
    s = torch.where(wide < 0, 1 / (1 - wide.clamp(max=0)), wide + 1)
    nll = s.sum(-1).log() - s.gather(-1, target[..., None])[..., 0].log()
    right = ((logits.argmax(-1) == labels) | ~known).all(-1)
    return right, (nll * known).sum(-1) / known.sum(-1).clamp(min=1)


def test_split(folder):
    """Identifiers, inputs and labels of a data set with one example to a puzzle."""
    arrays = [torch.from_numpy(numpy.load(folder / f"all__{name}.npy").astype(numpy.int64))
              for name in ("puzzle_identifiers", "inputs", "labels")]
    ignored = json.loads((folder / "dataset.json").read_text())["ignore_label_id"]
    if ignored is not None:
        arrays[2][arrays[2] == ignored] = IGNORED
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=pathlib.Path, required=True, help="recipe.toml of a run folder")
    parser.add_argument("--weights", type=pathlib.Path, required=True, help="of trm export --at 0 --prefix '' --pytorch")
    parser.add_argument("--batches", type=pathlib.Path, required=True, help="of trm data batches")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="data set, for its test split")
    parser.add_argument("--eval-every", type=int, required=True, help="steps between two evaluations; 0 for none")
    parser.add_argument("--total-steps", type=int, required=True, help="of the whole training, for the learning rate")
    parser.add_argument("--steps", type=int, help="the first of the batches only")
    parser.add_argument("--float64", action="store_true", help="float64 instead of float32")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="metrics, a line of JSON each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64 if args.float64 else torch.float32)
    batches = numpy.load(args.batches, mmap_mode="r")[:args.steps]
    recipe = tomllib.loads(args.recipe.read_text())
    weights = torch.load(args.weights, weights_only=True)
    twin = Twin(recipe, weights, batches.shape[1], (batches.shape[2] - 3) // 2)
    twin.total = args.total_steps
    test = test_split(args.data / "test") if args.eval_every else None
    with args.out.open("w") as log:
        for number, batch in enumerate(batches, 1):
            batch = torch.from_numpy(numpy.array(batch)).long()
            print(json.dumps({"split": "train", "step": number, **twin.step(batch)}), file=log, flush=True)
            left = args.total_steps - number
            if test and (left == 0 or number % args.eval_every == 0 and left >= args.eval_every):
                print(json.dumps({"split": "test", "step": number, **twin.evaluate(*test)}), file=log, flush=True)


if __name__ == "__main__":
    main()
