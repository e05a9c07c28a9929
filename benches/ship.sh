#!/usr/bin/env bash
# Makes a folder of assets/checkpoints from nothing: data, training on the CPU engine, weights in f16, log and card.
#
#   benches/ship.sh NAME [--set KEY=VALUE]...
#
# TRM names the program (target/release/trm unless set), OUT the folder in which NAME appears (checkpoints unless set).
# What an earlier call has left of the data and the training is gone on with. Equal programs on processors with the same
# vector instructions make equal weights, however many threads they have.
set -euo pipefail

trm=${TRM:-target/release/trm} out=${OUT:-checkpoints} name=${1:?NAME is missing: sudoku4, sudoku6, sudoku9, maze5, maze7 or maze9}
shift

# Of samples that halt at once, only exploration shows the later steps to the model; all are run where it is used.
explored="--set arch.halt_exploration_prob=0.5 --set train.lr_min_ratio=0.05"
held_out=1000 last=
case $name in
  sudoku4)
    puzzles="4x4 Sudokus of 4 to 8 clues"
    data="data sudoku --generate 19000 --test 1000 --size 4 --min-clues 4 --max-clues 8"
    train="train --recipe tiny-sudoku4 --set train.epochs=5 --set train.eval_interval=5 --set train.lr=2e-3
           --set train.ema_rate=0.995 $explored"
    ;;
  sudoku6)
    puzzles="6x6 Sudokus of 9 to 16 clues"
    data="data sudoku --generate 20000 --test 1000 --size 6 --min-clues 9 --max-clues 16 --num-aug 20"
    train="train --recipe tiny-sudoku6 --set train.epochs=12 --set train.eval_interval=6
           --set train.ema_rate=0.998 $explored"
    ;;
  sudoku9)
    puzzles="9x9 Sudokus of 26 to 32 clues"
    data="data sudoku --generate 20000 --test 1000 --min-clues 26 --max-clues 32"
    train="train --recipe tiny-sudoku9 --precision bf16 --set train.epochs=15"
    # Down with the learning rate over the last three epochs.
    last="--set train.epochs=18 --set train.eval_interval=18 --set train.lr_min_ratio=0"
    ;;
  maze5)
    # There are no 1,900 of them.
    puzzles="5x5 mazes of at least 4 moves" held_out=300
    data="data maze --generate 1500 --test 300 --size 5x5 --min-path 4 --aug"
    train="train --recipe tiny-maze --set train.ema_rate=0.998 $explored"
    ;;
  maze7 | maze9)
    side=${name#maze}
    puzzles="${side}x$side mazes of at least 6 moves"
    data="data maze --generate 20000 --test 1000 --size ${side}x$side --min-path 6 --aug"
    train="train --recipe tiny-maze --set train.epochs=12 --set train.eval_interval=6
           --set train.ema_rate=0.998 $explored"
    ;;
  *)
    echo "$name is none of sudoku4, sudoku6, sudoku9, maze5, maze7, maze9" >&2
    exit 2
    ;;
esac

work=$out/$name.work
run=$work/run
mkdir -p "$work"
# The words of these commands hold no spaces.
# shellcheck disable=SC2086
[ -d "$work/data" ] || "$trm" $data --out "$work/data"
if [ ! -d "$run" ]; then
  # shellcheck disable=SC2086
  "$trm" $train "$@" --data "$work/data" --out "$run" --device cpu
elif [[ $(< "$run/sessions.jsonl") != *'"ended":"finished"'* ]]; then
  "$trm" train --resume --data "$work/data" --out "$run" --device cpu
fi
if [[ $last && $(< "$run/recipe.toml") != *"lr_min_ratio = 0.0"* ]]; then
  # shellcheck disable=SC2086
  "$trm" train --resume $last --data "$work/data" --out "$run" --device cpu
fi
rm -rf "$work/weights" "${out:?}/$name"
"$trm" export --run "$run" --safetensors "$work/weights" --dtype f16
# Measured as they are shipped.
"$trm" eval --weights "$work/weights" --data "$work/data" --device cpu --json > "$work/eval.json"
"$trm" export --weights "$work/weights" --safetensors "$out/$name" --dtype f16 --name "$name" \
  --metrics "$work/eval.json" --dataset "$held_out $puzzles whose solutions are not those of the training puzzles"
cp "$run/recipe.toml" "$out/$name/"

# Every evaluation, and some 200 training steps.
lines=()
while read -r line; do lines+=("$line"); done < "$run/metrics.jsonl"
every=$((${#lines[@]} / 200 + 1))
for at in "${!lines[@]}"; do
  case ${lines[at]} in
    *'"split":"test"'*) echo "${lines[at]}" ;;
    *) if ((at % every == 0)); then echo "${lines[at]}"; fi ;;
  esac
done > "$out/$name/metrics.jsonl"

# All sessions of the training.
seconds=0 step=0 device=
while read -r line; do
  if [[ $line =~ \"device\":\"([^\"]*)\" ]]; then device=${BASH_REMATCH[1]}; fi
  if [[ $line =~ \"event\":\"end\".*\"step\":([0-9]+).*\"seconds\":([0-9]+) ]]; then
    step=${BASH_REMATCH[1]} seconds=$((seconds + BASH_REMATCH[2]))
  fi
done < "$run/sessions.jsonl"
[[ $(< "$work/eval.json") =~ \"exact_accuracy\":([0-9.e-]+) ]]
right=$(LC_ALL=C awk "BEGIN { printf \"%.0f\", ${BASH_REMATCH[1]} * $held_out }")
train=$(echo $train "$@")

cat >> "$out/$name/README.md" << CARD

## How it was made

$right of $held_out held-out $puzzles are right in every cell, in f16 and after all supervision steps.
The training of $step steps took $seconds seconds ($device). All seeds are 0:

\`\`\`console
benches/ship.sh $name${*:+ $*}
\`\`\`

which runs

\`\`\`console
trm $data --out data
trm $train --data data --out run --device cpu${last:+
trm train --resume $last --data data --out run --device cpu}
trm export --run run --safetensors $name --dtype f16
\`\`\`

\`recipe.toml\` has all settings. \`metrics.jsonl\` is the log of the training, of every $every steps one.
CARD
