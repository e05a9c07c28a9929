"""Trains tiny models by trm and by their PyTorch twin, from the same weights on the same batches, and compares the curves.

    python3 benches/peers/parity.py --data data/sudoku6 --out runs/parity

An attention model and a mixer of the recipe --recipe, each with --seeds seeds, every side on one thread of the CPU in
float32, --jobs at once. Beside the twin's files in --out it writes, in --doc, data/parity.csv (the curves), parity.svg (the
picture) and the tables between the marks of parity.md. Needs a Python with torch. What was finished is not made again.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

MODELS = {
    "attention": ["arch.mlp_t=false", "arch.pos_encodings=rope"],
    "mixer": [],
}
TRAINED = ", trained"  # the same once more, from the weights that the first seed ends with: samples are solved and halt
SHARED = ["train.global_batch_size=32", "train.checkpoint_minutes=0", "train.keep=1000"]
SIDES = ["trm", "PyTorch"]
WIDE = "PyTorch in float64"  # of the first steps only: how far rounding alone takes a training
FIRST, WINDOW = 50, 20  # steps that are kept each, and steps that one point stands for after them
HERE = pathlib.Path(__file__).parent


class Pair:
    """One model and seed: the same training on both sides."""

    def __init__(self, args, model, seed, trained=None):
        self.args, self.model, self.seed = args, model + TRAINED if trained else model, seed
        self.epochs, self.steps_of_twin = (8, FIRST) if trained else (args.epochs, None)
        self.folder = args.out / f"{model}-{'trained' if trained else seed}"
        self.run = self.folder / "run"
        self.logs = {"trm": self.run / "metrics.jsonl", "PyTorch": self.folder / "twin.jsonl", WIDE: self.folder / "wide.jsonl"}
        sets = MODELS[model] + SHARED + [f"train.seed={seed}", f"train.epochs={self.epochs}", f"train.eval_interval={self.epochs // 8}"]
        self.recipe = ["--recipe", args.recipe, *(word for one in sets for word in ("--set", one))]
        self.init = ["--init-from", str(trained.run)] if trained else []
        metadata = json.loads((args.data / "train" / "dataset.json").read_text())
        self.steps = lambda epochs: int(epochs * metadata["total_groups"] * metadata["mean_puzzle_examples"] / 32)

    def trm(self, *words):
        return [str(self.args.trm), *words]

    def prepare(self):
        """The run with its first checkpoint, its weights for PyTorch, and the batches."""
        if (self.folder / "batches.npy").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        data = ["--data", str(self.args.data)]
        begun = self.trm("train", *self.recipe, *self.init, *data, "--out", str(self.run), "--device", "cpu", "--precision", "f32", "--time-limit", "1ms")
        subprocess.run(begun, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for command in (self.trm("export", "--run", str(self.run), "--at", "0", "--prefix", "", "--pytorch", str(self.folder / "initial.pt")),
                        self.trm("data", "batches", *self.recipe, *data, "--steps", str(self.steps(self.epochs)), "--out", str(self.folder / "batches.npy"))):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def train(self, side, left):
        """Trains one side for at most `left` seconds."""
        steps = self.steps(self.epochs)
        last = [(line["split"], line["step"]) for line in self.lines(side)[-1:]]
        few = self.steps_of_twin if side == "PyTorch" else FIRST if side == WIDE else None
        if last == [("train", few) if few else ("test", steps)]:
            return
        if side == "trm":
            command = self.trm("train", "--resume", "--data", str(self.args.data), "--out", str(self.run), "--device", "cpu")
        else:
            command = [sys.executable, str(HERE / "twin.py"), "--recipe", str(self.run / "recipe.toml"), "--weights", str(self.folder / "initial.pt"),
                       "--batches", str(self.folder / "batches.npy"), "--data", str(self.args.data), "--out", str(self.logs[side]),
                       "--eval-every", str(self.steps(self.epochs // 8)), "--total-steps", str(steps)]
            command += ["--float64"] if side == WIDE else []
            command += ["--steps", str(few)] if few else []
        threads = {"RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{side}.log").open("w") as log:
            start = time.monotonic()
            try:
                subprocess.run(command, stdout=log, stderr=log, env={**os.environ, **threads}, timeout=left)
            except subprocess.TimeoutExpired:
                pass
            print(f"{self.model}, seed {self.seed}, {side}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

    def lines(self, side):
        path = self.logs[side]
        return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []

    def rows(self):
        """Points of the curves of both sides."""
        for side in self.logs:
            lines = self.lines(side)
            losses = {line["step"]: line["loss"] for line in lines if line["split"] == "train"}
            points = [("loss", step, losses[step]) for step in range(1, FIRST + 1) if step in losses]
            if self.init:
                losses, lines = {}, []
            for last in range(FIRST + WINDOW, max(losses, default=0) + 1, WINDOW):
                points.append(("loss", last, statistics.mean(losses[step] for step in range(last - WINDOW + 1, last + 1))))
            points += [("exact_accuracy", line["step"], line["exact_accuracy"]) for line in lines if line["split"] == "test"]
            for curve, step, value in points:
                yield dict(model=self.model, seed=str(self.seed), side=side, curve=curve, step=str(step), value=f"{value:.9g}")


class Curves:
    """The rows of the table, by model, side, curve and seed."""

    def __init__(self, rows):
        self.found = {}
        for row in rows:
            key = row["model"], row["side"], row["curve"], row["seed"]
            self.found.setdefault(key, {})[int(row["step"])] = float(row["value"])
        self.seeds = sorted({key[3] for key in self.found})

    def of(self, model, side, curve):
        return [self.found.get((model, side, curve, seed), {}) for seed in self.seeds]

    def first_steps(self):
        """By model and seed, the largest relative difference of a loss in the first steps."""
        lines = [f"| model | {' | '.join(f'seed {seed}' for seed in self.seeds)} |", "|---" * (1 + len(self.seeds)) + "|"]
        for model in [*MODELS, *(model + TRAINED for model in MODELS)]:
            for one, other in (SIDES, ("PyTorch", WIDE)):
                pairs = zip(self.of(model, one, "loss"), self.of(model, other, "loss"))
                worst = [max((abs(a[s] - b[s]) / abs(b[s]) for s in range(1, FIRST + 1) if s in a and s in b), default=None) for a, b in pairs]
                shown = ["" if value is None else f"{value:.1e}" for value in worst]
                lines.append(f"| {model}, {one} against {other} | {' | '.join(shown)} |")
        return "\n".join(lines)

    def accuracies(self):
        """Exact accuracy of both sides at some evaluations: mean and spread."""
        lines = [f"| model, after step | {SIDES[0]}, %: mean (seeds) | {SIDES[1]}, %: mean (seeds) | difference of means | widest spread |", "|---|---|---|---|---|"]
        for model in MODELS:
            sides = [self.of(model, side, "exact_accuracy") for side in SIDES]
            steps = sorted(set.intersection(*(set(curve) for side in sides for curve in side)) if all(sides) else set())
            for step in steps:
                shares = [[100 * curve[step] for curve in side] for side in sides]
                means = [statistics.mean(some) for some in shares]
                shown = [f"{mean:.1f} ({', '.join(f'{share:.1f}' for share in some)})" for mean, some in zip(means, shares)]
                spread = max(max(some) - min(some) for some in shares)
                lines.append(f"| {model}, {step} | {shown[0]} | {shown[1]} | {abs(means[0] - means[1]):.1f} | {spread:.1f} |")
        return "\n".join([*lines, "", "![Training loss and test accuracy of both, by step](parity.svg)", "",
                          "All points are in [data/parity.csv](data/parity.csv): the loss of each of the first 50 steps, then its mean over 20,",
                          "and exact accuracy on the test split."])


def picture(curves):
    """Loss and exact accuracy of both models, a thin line for each seed and side."""
    colours = dict(zip(SIDES, ("#1f6fb4", "#d9722e")))
    wide, high, left, top = 380, 220, 52, 34
    parts = []
    for row, model in enumerate(MODELS):
        for column, (curve, title) in enumerate([("loss", "training loss"), ("exact_accuracy", "test puzzles right in every cell, %")]):
            x0, y0 = left + column * (wide + left), top + row * (high + 62)
            drawn = [(side, points) for side in SIDES for points in curves.of(model, side, curve) if points]
            most = max((max(points) for _, points in drawn), default=1)
            unit = 100 if curve == "exact_accuracy" else 1
            high_end = 100 if unit == 100 else max((max(points.values()) for _, points in drawn), default=1) * 1.05
            place = lambda step, value: f"{x0 + wide * step / most:.1f},{y0 + high - high * unit * value / high_end:.1f}"
            parts.append(f'<text x="{x0}" y="{y0 - 10}" class="t">{model}: {title}</text><rect x="{x0}" y="{y0}" width="{wide}" height="{high}" class="a"/>')
            for tick in range(5):
                value, y = high_end * tick / 4, y0 + high - high * tick / 4
                parts.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" class="e">{value:.3g}</text>')
                parts.append(f'<text x="{x0 + wide * tick / 4:.1f}" y="{y0 + high + 16}" class="m">{most * tick // 4}</text>')
            for side, points in drawn:
                line = " ".join(place(step, value) for step, value in sorted(points.items()))
                parts.append(f'<polyline points="{line}" stroke="{colours[side]}"/>')
    width, height = 2 * (wide + left) + 20, top + 2 * (high + 62)
    for at, side in enumerate(SIDES):
        parts.append(f'<text x="{left + 120 * at}" y="{height - 8}" fill="{colours[side]}">— {side}</text>')
    style = ("text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.e{text-anchor:end;font-size:10px}.m{text-anchor:middle;font-size:10px}"
             ".a{fill:none;stroke:#999}polyline{fill:none;stroke-width:1.2;opacity:.8}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{style}</style>'
            f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trm", type=pathlib.Path, default=pathlib.Path("target/release/trm"))
    parser.add_argument("--recipe", default="tiny-sudoku6")
    parser.add_argument("--data", type=pathlib.Path, help="data set; needed to train")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the runs; without it, pages are made of the table there is")
    parser.add_argument("--epochs", type=int, default=64, help="a multiple of 8 (default: 64, 2,000 steps on 1,000 puzzles)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=60 * 24, help="stop after so many")
    parser.add_argument("--doc", type=pathlib.Path, default=pathlib.Path("assets/doc"))
    args = parser.parse_args()
    args.trm, table = args.trm.resolve(), args.doc / "data" / "parity.csv"
    if args.out:
        deadline = time.monotonic() + 60 * args.minutes
        pairs = [Pair(args, model, seed) for seed in range(args.seeds) for model in MODELS]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            def make(pairs):
                list(pool.map(Pair.prepare, pairs))
                # The slower side first.
                work = [pool.submit(lambda pair, side: pair.train(side, max(deadline - time.monotonic(), 1)), pair, side) for side in ("PyTorch", "trm", WIDE) for pair in pairs]
                for done in work:
                    done.result()
            make(pairs)
            trained = [Pair(args, pair.model, pair.seed, pair) for pair in pairs if pair.seed == 0]
            make(trained)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["model", "seed", "side", "curve", "step", "value"], lineterminator="\n")
            writer.writeheader()
            writer.writerows(row for pair in pairs + trained for row in pair.rows())
    with table.open(newline="") as file:
        curves = Curves(csv.DictReader(file))
    (args.doc / "parity.svg").write_text(picture(curves))
    page = args.doc / "parity.md"
    text = page.read_text()
    for name, new in {"first steps": curves.first_steps(), "accuracies": curves.accuracies()}.items():
        print(new, end="\n\n")
        text = re.sub(f"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}{new}\n{found[2]}", text, flags=re.DOTALL)
    page.write_text(text)


if __name__ == "__main__":
    main()
