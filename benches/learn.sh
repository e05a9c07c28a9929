#!/usr/bin/env bash
# Learns 9x9 Sudoku for so many minutes on the best device there is, and measures what came of it.
#
#   benches/learn.sh MINUTES [OUT [DATA|LIST...]]
#
# OUT (learn) becomes data, run, weights in f16, eval.json (the test split as trained), breadth.json (rollouts and steps on
# part of it) and report.html. Puzzles are 1,000 generated ones, a data set DATA of base puzzles, or 1,000 drawn from
# LISTs of puzzles. Called again, it trains for so many minutes more and measures anew. What is trained in the minutes is all;
# data and measuring come on top of them: a minute on a GPU, lists of 100,000 puzzles another.
#
# Variables: TRM (target/release/trm), RECIPE (sudoku-fast), SETS ("--set KEY=VALUE ..." for the recipe), DEVICE (auto),
# EVAL (options of the second measurement), LIMIT (200 puzzles for it).
set -euo pipefail

minutes=${1:?MINUTES is missing} out=${2:-learn}
shift $(($# < 2 ? $# : 2))
trm=${TRM:-target/release/trm} device=${DEVICE:-auto}
data=$out/data run=$out/run
mkdir -p "$out"

if [[ -d ${1:-} ]]; then
  data=$1
elif [[ ! -d $data ]]; then
  case $# in
    0) "$trm" data sudoku --generate 1000 --test 1000 --out "$data" ;;
    *) "$trm" data sudoku --lists "$@" --subsample 1000 --test 2000 --out "$data" ;;
  esac
fi

# Words of the variables hold no spaces.
# shellcheck disable=SC2206
sets=(${SETS:-}) breadth=(${EVAL:---noise 0.3 --augment 15 --sweep rollouts=1,4,16 steps=8,32,64})
begin=(--recipe "${RECIPE:-sudoku-fast}")
if [[ -e $run/recipe.toml ]]; then begin=(--resume); fi
status=0
"$trm" train "${begin[@]}" "${sets[@]}" --data "$data" --out "$run" --device "$device" --time-limit "$(awk "BEGIN { print int(60 * $minutes) }")s" || status=$?
if ((status != 0 && status != 124)); then exit "$status"; fi # 124: the time was up

rm -rf "$out/weights.new"
"$trm" export --run "$run" --safetensors "$out/weights.new" --dtype f16 --name sudoku-fast
rm -rf "$out/weights"
mv "$out/weights.new" "$out/weights"
"$trm" eval --run "$run" --data "$data" --device "$device" --json > "$run/eval.json"
"$trm" report "$run" --out "$out/report.html"
"$trm" eval --weights "$out/weights" --data "$data" --device "$device" --limit "${LIMIT:-200}" "${breadth[@]}" --json > "$out/breadth.json"
ls -l "$out/weights"
