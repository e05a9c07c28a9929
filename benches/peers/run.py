"""Measures trm and PyTorch in turn on the same device and prints one JSON line for each step, with their ratio.

    python benches/peers/run.py [--trm target/release/trm] [--device cpu|cuda|cuda:1] [--ways f32,bf16-compiled]
                                [CASE:BATCH ...]

--device is PyTorch's; trm takes the GPU of the same name, or what --trm-device says. The ways are PyTorch's: f32, tf32
(products of f32 in TF32), bf16, each eager or, with -compiled behind it, through torch.compile; f32 on a CPU and all
that matter on a GPU if none is given. trm stores in f32 beside f32 and tf32, and beside bf16 in bf16 on a CPU, in f16 on
a GPU.

Needs a Python with torch; run it on a quiet machine. Each side is measured in every round, and its best counts.
"""
import argparse
import json
import pathlib
import subprocess
import sys

CASES = {"cpu": ["sudoku-mlp:8", "sudoku-att:8", "maze-hard:1"],
         "cuda": ["sudoku-mlp:8", "sudoku-mlp:64", "sudoku-mlp:768", "sudoku-att:64", "maze-hard:16"]}
WAYS = {"cpu": ["f32"], "cuda": ["f32", "tf32", "bf16", "bf16-compiled"]}
# On a GPU, repetitions follow each other without a pause, so that its clock stays up.
ROUNDS = {"cpu": (3, 1), "cuda": (1, 5)}
SIZES = {"maze-hard": ["--seq-len", "900", "--vocab-size", "6"]}
HERE = pathlib.Path(__file__).parent


def measured(command):
    """Seconds by mode; None, having said so, where the program fails, as for want of memory."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"failed: {' '.join(command)}\n{done.stderr.strip()[-500:]}", file=sys.stderr)
        return None
    return {line["key"].rsplit("/")[-1]: line["seconds"] for line in map(json.loads, done.stdout.splitlines())}


def best_of(rounds, commands):
    """The best seconds of each command by mode, the commands taking turns; None for one that failed."""
    best = [{} for _ in commands]
    for _ in range(rounds):
        for index, command in enumerate(commands):
            found = best[index] is not None and measured(command)
            if not found:
                best[index] = None
                continue
            for mode, seconds in found.items():
                best[index][mode] = min(best[index].get(mode, seconds), seconds)
    return best


def ways(text):
    names = text.split(",")
    known = [dtype + suffix for dtype in ("f32", "tf32", "bf16") for suffix in ("", "-compiled")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
    return names


def case(text):
    name, _, batch = text.partition(":")
    if not name or not batch.isdigit() or int(batch) == 0:
        raise argparse.ArgumentTypeError(f"{text}: give CASE:BATCH, such as sudoku-mlp:8")
    return name, batch


def pytorch_device(name):
    """Kind and name of PyTorch's device. Ends the program, saying why, where there is none."""
    try:
        import torch
    except ImportError:
        sys.exit(f"{sys.executable} has no torch: run this with a Python that has PyTorch")
    from pytorch import usable

    device = usable(name)
    return device.type, torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", type=case, metavar="CASE:BATCH")
    parser.add_argument("--trm", default=str(HERE.parent.parent / "target" / "release" / "trm"))
    parser.add_argument("--device", default="cpu", help="PyTorch's: cpu, cuda or cuda:1")
    parser.add_argument("--trm-device", help="trm's, if it is not the one of the same name")
    parser.add_argument("--ways", type=ways, help="separated by commas")
    parser.add_argument("--rounds", type=int)
    args = parser.parse_args()
    kind, name = pytorch_device(args.device)
    rounds, repetitions = ROUNDS[kind]
    failed = False
    repeat = ["--repetitions", str(repetitions)]
    for recipe, batch in args.cases or map(case, CASES[kind]):
        sides = args.ways or WAYS[kind]
        half = "bf16" if kind == "cpu" else "f16"
        precisions = [half if way.startswith("bf16") else "f32" for way in sides]
        distinct = sorted(set(precisions))
        ours = [args.trm, "bench", "step", "--train", "--json", "--recipe", recipe, "--batch", batch,
                "--device", args.trm_device or name, *repeat, *SIZES.get(recipe, [])]
        theirs = [sys.executable, str(HERE / "pytorch.py"), recipe, "--batch", batch, "--device", args.device, *repeat]
        commands = [[*ours, "--precision", precision] for precision in distinct]
        for way in sides:
            dtype, _, compiled = way.partition("-")
            commands.append([*theirs, "--dtype", dtype, *(["--compile"] if compiled else [])])
        best = best_of(args.rounds or rounds, commands)
        failed |= None in best
        for way, precision, peer in zip(sides, precisions, best[len(distinct):]):
            own = best[distinct.index(precision)]
            for mode in own or peer or ():
                seconds, other = own and own[mode], peer and peer[mode]
                print(json.dumps({"key": f"step/{recipe}/B{batch}/{mode}", "device": name, "trm": precision,
                                  "pytorch": way, "trm_seconds": seconds, "pytorch_seconds": other,
                                  "times_faster": seconds and other and other / seconds}), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
