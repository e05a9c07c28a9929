"""Measures trm and PyTorch in turn on the same cores and prints one JSON line for each step, with their ratio.

    python benches/peers/run.py [--trm target/release/trm] [--device cpu] [--dtype f32] [--compile]
                                [CASE:BATCH ...]

Needs a Python with torch; run it on a quiet machine. Each side is measured in every round, and its best counts.
"""
import argparse
import json
import pathlib
import subprocess
import sys

CASES = ["sudoku-mlp:8", "sudoku-att:8", "maze-hard:1"]
SIZES = {"maze-hard": ["--seq-len", "900", "--vocab-size", "6"]}
HERE = pathlib.Path(__file__).parent


def measured(command):
    """Seconds by key."""
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {line["key"]: line["seconds"] for line in map(json.loads, lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--trm", default=str(HERE.parent.parent / "target" / "release" / "trm"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true", help="PyTorch's nets through torch.compile")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for case in args.cases:
        name, batch = case.split(":")
        ours = [args.trm, "bench", "step", "--train", "--json", "--recipe", name, "--batch", batch]
        ours += ["--device", args.device, "--precision", args.dtype, "--repetitions", "1", *SIZES.get(name, [])]
        theirs = [sys.executable, str(HERE / "pytorch.py"), name, "--batch", batch, "--dtype", args.dtype]
        theirs += ["--repetitions", "1"] + (["--compile"] if args.compile else [])
        best = ({}, {})
        for _ in range(args.rounds):
            for side, command in zip(best, (ours, theirs)):
                for key, seconds in measured(command).items():
                    side[key] = min(side.get(key, seconds), seconds)
        for key, seconds in best[0].items():
            peer = best[1][key]
            print(json.dumps({"key": key, "dtype": args.dtype, "compiled": args.compile, "device": args.device,
                              "trm_seconds": seconds, "pytorch_seconds": peer, "times_faster": peer / seconds}), flush=True)


if __name__ == "__main__":
    main()
