#!/usr/bin/env bash
# Fails (exit code 4) where the agentmem of this checkout is slower than that of another commit, on this machine, now.
#
#   bench-gate.sh [BASE_COMMIT]        by default where this branch left origin/main
#
# Each commit gets a virtual environment of its own; the two are measured in turn, in 7 pairs of fresh processes.
# MAX_REGRESSION (10%), ROUNDS (7) and VERDICTS (bench-verdicts.json) may be set.
set -euo pipefail

head=$(git rev-parse --show-toplevel)
base_commit=${1:-$(git merge-base HEAD origin/main)}
work=$(mktemp -d)
trap 'git -C "$head" worktree remove --force "$work/base" 2>/dev/null || true; rm -rf "$work"' EXIT

git -C "$head" worktree add --quiet --detach "$work/base" "$base_commit"
for side in base head; do
  source=$head
  [ "$side" = head ] || source=$work/base
  python3 -m venv "$work/venv-$side"
  "$work/venv-$side/bin/pip" install --quiet "$source"
done
# The static model is made once, before anything is timed: it shows a regression in agentmem's own code better than a
# model that takes hundreds of times as long.
"$work/venv-head/bin/agentmem" bench --quiet --sizes 10 --singles 10 --repeats 1 --model minilm-static >"$work/first.txt"

"$work/venv-head/bin/agentmem" bench ab \
  --base "$work/venv-base" \
  --rounds "${ROUNDS:-7}" \
  --max-regression "${MAX_REGRESSION:-10%}" \
  --model minilm-static --sizes 1000 \
  --output "${VERDICTS:-bench-verdicts.json}"
