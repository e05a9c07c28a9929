#!/usr/bin/env bash
# Makes a folder of assets/checkpoints from nothing: data, training on the CPU engine, weights in f16, card.
#
#   benches/ship.sh NAME [--set KEY=VALUE]...
#
# TRM names the program (target/release/trm unless set), OUT the folder in which NAME appears (checkpoints unless set).
# Equal programs on processors of one instruction set make equal weights, however many threads they have.
set -euo pipefail

trm=${TRM:-target/release/trm} out=${OUT:-checkpoints} name=${1:?NAME is missing: sudoku4, sudoku6 or maze9}
shift

case $name in
  sudoku4)
    puzzles="4x4 Sudokus of 4 to 8 clues"
    data="data sudoku --generate 19000 --test 1000 --size 4 --min-clues 4 --max-clues 8"
    train="train --recipe tiny-sudoku4 --set train.epochs=5 --set train.eval_interval=5 --set train.lr=2e-3
           --set train.lr_min_ratio=0.05 --set train.ema_rate=0.995"
    ;;
  sudoku6)
    puzzles="6x6 Sudokus of 9 to 16 clues"
    data="data sudoku --generate 20000 --test 1000 --size 6 --min-clues 9 --max-clues 16 --num-aug 20"
    train="train --recipe tiny-sudoku6 --set train.epochs=12 --set train.eval_interval=6
           --set train.lr_min_ratio=0.05 --set train.ema_rate=0.998"
    ;;
  maze9)
    puzzles="9x9 mazes of at least 6 moves"
    data="data maze --generate 20000 --test 1000 --size 9x9 --min-path 6 --aug"
    train="train --recipe tiny-maze --set train.epochs=12 --set train.eval_interval=6
           --set train.lr_min_ratio=0.05 --set train.ema_rate=0.998"
    ;;
  *)
    echo "$name is none of sudoku4, sudoku6, maze9" >&2
    exit 2
    ;;
esac

work=$out/$name.work
mkdir -p "$work"
# Words of the commands hold no spaces.
# shellcheck disable=SC2086
"$trm" $data --out "$work/data"
# shellcheck disable=SC2086
trained=$("$trm" $train --set train.eval_examples=1000 "$@" --data "$work/data" --out "$work/run" --device cpu --precision f32 --json)
"$trm" export --run "$work/run" --safetensors "$work/weights" --dtype f16
# Measured as they are shipped.
"$trm" eval --weights "$work/weights" --data "$work/data" --device cpu --precision f32 --json > "$work/eval.json"
"$trm" export --weights "$work/weights" --safetensors "$out/$name" --dtype f16 --name "$name" \
  --metrics "$work/eval.json" --dataset "1,000 $puzzles whose solutions are not those of the training puzzles"
cp "$work/run/recipe.toml" "$out/$name/"

# Every evaluation, and some 200 training steps.
lines=()
while read -r line; do lines+=("$line"); done < "$work/run/metrics.jsonl"
every=$((${#lines[@]} / 200 + 1))
for at in "${!lines[@]}"; do
  case ${lines[at]} in
    *'"split":"test"'*) echo "${lines[at]}" ;;
    *) if ((at % every == 0)); then echo "${lines[at]}"; fi ;;
  esac
done > "$out/$name/metrics.jsonl"

# A number of a JSON document.
number() { [[ $1 =~ \"$2\":\ ?([-0-9.e]+) ]] && echo "${BASH_REMATCH[1]}"; }
exact=$(number "$(< "$work/eval.json")" exact_accuracy)
cat >> "$out/$name/README.md" << CARD

## How it was made

$(LC_ALL=C printf '%.0f' "${exact}e3") of 1,000 held-out $puzzles are right in every cell, in f16 and after all supervision steps.
Training took $(LC_ALL=C printf '%.0f' "$(number "$trained" seconds)") seconds on the CPU engine ($(number "$trained" step) steps). The command, whose seeds are 0, and what
it runs:

\`\`\`console
benches/ship.sh $name${*:+ $*}
trm ${data//$'\n'/ } --out data
trm $(echo $train) --data data --out run --device cpu --precision f32
trm export --run run --safetensors $name --dtype f16
\`\`\`

\`recipe.toml\` has all settings; \`metrics.jsonl\` is the log of the training, thinned to one step of $every.
CARD
