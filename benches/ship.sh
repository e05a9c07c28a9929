#!/usr/bin/env bash
# Makes a folder of assets/checkpoints from nothing: data, training on the CPU engine, weights in f16, log and card.
#
#   benches/ship.sh NAME [--set KEY=VALUE]...
#
# TRM names the program (target/release/trm unless set), OUT the folder in which NAME appears (checkpoints unless set),
# LISTS, for sudoku9 alone, a folder with two lists of tdoku's benchmark: puzzles2_17_clue, puzzles5_forum_hardest_1905_11+.
# What an earlier call has left of data and trainings is gone on with. Equal programs on processors with the same
# vector instructions make equal weights, however many threads they have.
set -euo pipefail

trm=$(realpath "${TRM:-target/release/trm}") out=${OUT:-checkpoints} name=${1:?NAME is missing: sudoku4, sudoku6, sudoku9 or maze5}
shift
mkdir -p "$out/$name.work"
out=$(realpath "$out")
cd "$out/$name.work"

said=()

# Builds a data set or a table with these arguments, unless it is there.
data() {
  said+=("trm data $*")
  [ -e "${*: -1}" ] || "$trm" data "$@"
}

# Trains with these arguments; what was stopped goes on.
train() {
  said+=("trm train $* --device cpu")
  local run=${*: -1} data=${*: -3:1}
  if [ ! -d "$run" ]; then
    "$trm" train "$@" --device cpu
  elif [[ $(< "$run/sessions.jsonl") != *'"ended":"finished"'* ]]; then
    "$trm" train --resume --data "$data" --out "$run" --device cpu
  fi
}

# Of samples that halt at once, only exploration shows the later steps to the model; all are run where it is used.
explored=(--set arch.halt_exploration_prob=0.5 --set train.lr_min_ratio=0.05)
held_out=1000 run=run test=data
case $name in
  sudoku4)
    puzzles="4x4 Sudokus of 4 to 8 clues"
    data sudoku --generate 19000 --test 1000 --size 4 --min-clues 4 --max-clues 8 --out data
    train --recipe tiny-sudoku4 --set train.epochs=5 --set train.eval_interval=5 --set train.lr=2e-3 \
      --set train.ema_rate=0.995 "${explored[@]}" "$@" --data data --out run
    ;;
  sudoku6)
    puzzles="6x6 Sudokus of 9 to 16 clues"
    data sudoku --generate 20000 --test 1000 --size 6 --min-clues 9 --max-clues 16 --num-aug 20 --out data
    train --recipe tiny-sudoku6 --set train.epochs=12 --set train.eval_interval=6 --set train.ema_rate=0.998 \
      "${explored[@]}" "$@" --data data --out run
    ;;
  sudoku9)
    puzzles="9x9 Sudokus of 26 to 32 clues" run=run5 test=held-out
    data sudoku --generate 20000 --test 1000 --min-clues 26 --max-clues 32 --out data
    train --recipe tiny-sudoku9 --precision bf16 --set train.epochs=15 "$@" --data data --out run
    # Down with the learning rate over three more epochs.
    down=(--resume --set train.epochs=18 --set train.eval_interval=18 --set train.lr_min_ratio=0 --data data --out run)
    said+=("trm train ${down[*]} --device cpu")
    [[ $(< run/recipe.toml) == *"lr_min_ratio = 0.0"* ]] || "$trm" train "${down[@]}" --device cpu
    # Then hard puzzles as well, with less and less of the hardest, of which a model of this size learns nothing.
    few=${LISTS:?LISTS is missing, the folder of puzzles2_17_clue}/puzzles2_17_clue
    hardest=$LISTS/puzzles5_forum_hardest_1905_11+
    data sudoku --lists "$few" "$hardest" --test 2000 --out real
    data sudoku --lists "$few" "$hardest" --test 2000 --subsample 8000 --out some
    data sudoku --lists "$few" --test 1004 --out few
    data sudoku --generate 30000 --test 500 --min-clues 22 --max-clues 25 --seed 7 --out middle
    data sudoku --generate 30000 --test 1000 --min-clues 26 --max-clues 32 --out easy
    data join --mix real middle easy --out mixed
    data join --mix few some middle easy --out eased
    data join --mix few middle easy --out even
    # Those that take five guesses or more.
    data sudoku --generate 120000 --min-clues 22 --max-clues 25 --seed 11 --out hard.csv
    data sudoku --lists hard.csv --min-difficulty 5 --test 500 --out guessed
    data join --mix few middle easy guessed --out whole
    # The first 20,000 of those above are among the 30,000 here: this is to be measured on.
    data sudoku --generate 10 --test 1000 --min-clues 26 --max-clues 32 --seed 424242 --out held-out
    hard=(--recipe tiny-sudoku9 --precision bf16 --set train.lr_min_ratio=0 --set train.eval_interval=1
      --set train.eval_examples=200 --set arch.halt_max_steps=16)
    train "${hard[@]}" --set train.epochs=4 --init-from run "$@" --data mixed --out run2
    train "${hard[@]}" --set train.epochs=1 --set train.lr=7e-4 --init-from run2 "$@" --data eased --out run3
    train "${hard[@]}" --set train.epochs=4 --init-from run3 "$@" --data even --out run4
    train "${hard[@]}" --set train.epochs=4 --init-from run4 "$@" --data whole --out run5
    ;;
  maze5)
    # There are no 1,900 of them.
    puzzles="5x5 mazes of at least 4 moves" held_out=300
    data maze --generate 1500 --test 300 --size 5x5 --min-path 4 --aug --out data
    train --recipe tiny-maze --set train.ema_rate=0.998 "${explored[@]}" "$@" --data data --out run
    ;;
  *)
    echo "$name is none of sudoku4, sudoku6, sudoku9, maze5" >&2
    exit 2
    ;;
esac

said+=("trm export --run $run --safetensors $name --dtype f16")
rm -rf weights "${out:?}/$name"
"$trm" export --run "$run" --safetensors weights --dtype f16
# Measured as they are shipped.
"$trm" eval --weights weights --data "$test" --device cpu --json > eval.json
"$trm" export --weights weights --safetensors "$out/$name" --dtype f16 --name "$name" \
  --metrics eval.json --dataset "$held_out $puzzles whose solutions are not those of the training puzzles"
cp "$run/recipe.toml" "$out/$name/"

# Every evaluation, and some 200 training steps.
lines=()
while read -r line; do lines+=("$line"); done < <(cat run*/metrics.jsonl)
every=$((${#lines[@]} / 200 + 1))
for at in "${!lines[@]}"; do
  case ${lines[at]} in
    *'"split":"test"'*) echo "${lines[at]}" ;;
    *) if ((at % every == 0)); then echo "${lines[at]}"; fi ;;
  esac
done > "$out/$name/metrics.jsonl"

# All sessions of all trainings.
seconds=0 steps=0 device=
for sessions in run*/sessions.jsonl; do
  step=0
  while read -r line; do
    if [[ $line =~ \"device\":\"([^\"]*)\" ]]; then device=${BASH_REMATCH[1]}; fi
    if [[ $line =~ \"event\":\"end\".*\"step\":([0-9]+).*\"seconds\":([0-9]+) ]]; then
      step=${BASH_REMATCH[1]} seconds=$((seconds + BASH_REMATCH[2]))
    fi
  done < "$sessions"
  steps=$((steps + step))
done
[[ $(< eval.json) =~ \"exact_accuracy\":([0-9.e-]+) ]]
right=$(LC_ALL=C awk "BEGIN { printf \"%.0f\", ${BASH_REMATCH[1]} * $held_out }")

cat >> "$out/$name/README.md" << CARD

## How it was made

$right of $held_out held-out $puzzles are right in every cell, in f16 and after all supervision steps.
The training of $steps steps took $seconds seconds ($device). All seeds are 0:

\`\`\`console
${LISTS:+LISTS=lists }benches/ship.sh $name${*:+ $*}
\`\`\`

which runs

\`\`\`console
$(printf '%s\n' "${said[@]}" | sed "s#${LISTS:-lists}/#lists/#g")
\`\`\`

\`recipe.toml\` has all settings. \`metrics.jsonl\` is the log of the training, of every $every steps one.
CARD
