"""Trains variants of a recipe at equal compute and writes what each reaches.

    python3 benches/ablations/run.py benches/ablations/paper.txt --data data/sudoku6

A list has a variant a line, `name: overrides`, the baseline first; the overrides are those of `trm train`. All variants get
the floating-point operations that --steps steps of the baseline take, as `trm plan` counts them, so that cheap ones make
more steps. Each run is one thread of the CPU engine, --jobs of them at once, seeds one after the other: what is there when
the time is up is even. Rows of the CSV are not made again: after a stop, or with more seeds, the same command goes on.

--page PAGE writes the table of each list between its marks `<!-- table LIST -->` and `<!-- end -->`, with --seeds 0 alone.
"""
import argparse
import concurrent.futures
import csv
import json
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
import time

COLUMNS = ["list", "name", "overrides", "seed", "steps", "gflops_a_step", "test_examples", "exact_accuracy", "loss", "seconds"]
DIVERGED, OUT_OF_TIME = "diverged", 124
NOT_FINITE = re.compile("(loss|gradients) at step")  # in trm's error


def variants_of(path):
    """Pairs of a name and its overrides, in the order of the file."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return [(name.strip(), overrides.strip()) for name, _, overrides in pairs]


class Bench:
    def __init__(self, args):
        self.args, self.lock = args, threading.Lock()
        self.deadline = time.monotonic() + 60 * args.minutes
        self.metadata = json.loads((args.data / "train" / "dataset.json").read_text())
        self.tests = json.loads((args.data / "test" / "dataset.json").read_text())["total_puzzles"]
        self.rows = read(args.csv)

    def trm(self, command, overrides, *more):
        shared = ["--recipe", self.args.recipe, *shlex.split(overrides), "--data", str(self.args.data), "--precision", self.args.precision]
        return [str(self.args.trm), command, *shared, "--json", *more]

    def cost(self, overrides):
        """Operations of a training step, and samples of it."""
        done = subprocess.run(self.trm("plan", overrides), stdout=subprocess.PIPE, check=True)
        plan = json.loads(done.stdout)
        return plan["flops"], plan["batch"]

    def job(self, listed, name, overrides, seed, budget):
        """One training; its row, or None where there is no time for it or the recipe is refused."""
        same = [row for row in self.rows if (row["overrides"], int(row["seed"])) == (overrides, seed)]
        if same:  # in another list
            return {**same[0], "list": listed, "name": name}
        left = self.deadline - time.monotonic()
        if left < 1:
            return None
        try:
            flops, batch = self.cost(overrides)
        except subprocess.CalledProcessError:  # trm has said why
            return None
        per_epoch = self.metadata["total_groups"] * self.metadata["mean_puzzle_examples"] / batch
        epochs = max(1, round(budget / flops / per_epoch))
        run = self.args.work / f"{re.sub(r'[^a-z0-9]+', '-', f'{listed} {name}'.lower())}-{seed}"
        shutil.rmtree(run, ignore_errors=True)
        settings = {"seed": seed, "epochs": epochs, "eval_interval": epochs, "checkpoint_minutes": 0}
        sets = [word for key, value in settings.items() for word in ("--set", f"train.{key}={value}")]
        command = self.trm("train", overrides, *sets, "--device", "cpu", "--out", str(run), "--time-limit", f"{left:.0f}s")
        start = time.monotonic()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, "RAYON_NUM_THREADS": "1"})
        seconds = time.monotonic() - start
        shutil.rmtree(run, ignore_errors=True)
        if done.returncode == OUT_OF_TIME:
            return None
        row = dict(list=listed, name=name, overrides=overrides, seed=seed, gflops_a_step=f"{flops / 1e9:.3f}",
                   test_examples=self.tests, seconds=f"{seconds:.0f}")
        if done.returncode:
            print(f"{name}, seed {seed}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            found = dict(steps=int(epochs * per_epoch), exact_accuracy=DIVERGED if NOT_FINITE.search(done.stderr) else "", loss="")
        else:
            summary = json.loads(done.stdout)
            test = summary["test"]
            loss = test["lm_loss"] + 0.5 * (test["q_halt_loss"] + test["q_continue_loss"])
            found = dict(steps=summary["step"], exact_accuracy=f"{test['exact_accuracy']:.4f}", loss=f"{loss:.5f}")
        return {**row, **found}

    def keep(self, row):
        """Adds a row to the file, which is whole at any time."""
        with self.lock:
            self.rows.append(row)
            partial = self.args.csv.with_suffix(".partial")
            with partial.open("w", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
            partial.replace(self.args.csv)
            print(f"{row['list']}, {row['name']}, seed {row['seed']}: {row['steps']} steps, exact {row['exact_accuracy']}, "
                  f"{row['seconds']} s", file=sys.stderr, flush=True)

    def run(self, lists):
        made = {(row["list"], row["name"], int(row["seed"])) for row in self.rows}
        budgets = {listed: self.args.steps * self.cost(variants[0][1])[0] for listed, variants in lists.items()}
        wanted = [(listed, name, overrides, seed, budgets[listed]) for seed in range(self.args.seeds)
                  for listed, variants in lists.items() for name, overrides in variants
                  if (listed, name, seed) not in made]
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            for row in concurrent.futures.as_completed([pool.submit(self.job, *job) for job in wanted]):
                if row.result():
                    self.keep(row.result())
        return len(made) + len(wanted) == len(self.rows)


def read(path):
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(variants, rows):
    """Markdown: what each variant reached, and how far that is from the baseline."""
    def shares(name):
        return [100 * float(row["exact_accuracy"]) for row in rows if row["name"] == name and row["exact_accuracy"][:1].isdigit()]

    lines = ["| variant | overrides | steps | GFLOP a step | exact accuracy by seed, % | mean | against the first |",
             "|---|---|---|---|---|---|---|"]
    base = shares(variants[0][0])
    for name, overrides in variants:
        own = [row for row in rows if row["name"] == name]
        if not own:
            continue
        seeds = ", ".join(f"{100 * float(row['exact_accuracy']):.1f}" if row["exact_accuracy"][:1].isdigit() else
                          row["exact_accuracy"] or "failed" for row in sorted(own, key=lambda row: int(row["seed"])))
        found, gain = shares(name), ""
        if found and base and name != variants[0][0]:
            gain = f"{statistics.mean(found) - statistics.mean(base):+.1f}"
            if min(len(found), len(base)) > 1:
                error = sum(statistics.variance(some) / len(some) for some in (found, base)) ** 0.5
                gain += f" ± {error:.1f}"
        mean = f"{statistics.mean(found):.1f}" if found else ""
        settings = " ".join(f"`{word}`" for word in shlex.split(overrides) if word != "--set")
        lines.append(f"| {name} | {settings} | {own[0]['steps']} | {float(own[0]['gflops_a_step']):.1f} | {seeds} | {mean} | {gain} |")
    return "\n".join(lines)


def written(text, name, new):
    """A page with `new` between the marks of `name`."""
    marks = re.compile(f"(<!-- table {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    return marks.sub(lambda found: f"{found[1]}{new}\n{found[2]}", text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=pathlib.Path, nargs="+", metavar="LIST")
    parser.add_argument("--trm", type=pathlib.Path, default=pathlib.Path("target/release/trm"))
    parser.add_argument("--recipe", default="tiny-sudoku6")
    parser.add_argument("--data", type=pathlib.Path, help="data set; needed to train")
    parser.add_argument("--precision", default="bf16", help="storage of activations")
    parser.add_argument("--steps", type=int, default=400, help="training steps of the baseline")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at once, one thread each")
    parser.add_argument("--minutes", type=float, default=60 * 24, help="stop after so many")
    parser.add_argument("--csv", type=pathlib.Path, default=pathlib.Path("assets/doc/data/ablations.csv"))
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/ablations"), help="where runs lie meanwhile")
    parser.add_argument("--page", type=pathlib.Path, help="page to write the tables into")
    args = parser.parse_args()
    args.trm = args.trm.resolve()
    lists = {path.stem: variants_of(path) for path in args.lists}
    complete = True
    if args.seeds:
        if not args.data:
            parser.error("--data is missing")
        args.work.mkdir(parents=True, exist_ok=True)
        args.csv.parent.mkdir(parents=True, exist_ok=True)
        complete = Bench(args).run(lists)
    if args.page:
        text, rows = args.page.read_text(), read(args.csv)
        for listed, variants in lists.items():
            text = written(text, listed, table(variants, [row for row in rows if row["list"] == listed]))
        data = os.path.relpath(args.csv, args.page.parent)
        args.page.write_text(written(text, "source", f"All runs are in [{data}]({data})."))
    sys.exit(0 if complete else OUT_OF_TIME)


if __name__ == "__main__":
    main()
