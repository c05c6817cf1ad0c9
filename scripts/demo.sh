#!/usr/bin/env bash
# From nothing to scored transactions, by the commands a user would type. `make demo` installs, then runs this.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    printf '\n$ %s\n\n' "$*"
    "$@"
}

step fraud3000 simulate
step fraud3000 prepare
step fraud3000 featurize
step fraud3000 train
step fraud3000 evaluate

printf '\n# The newest two weeks of the raw file, as if they had just come in\n'
python scripts/newest_weeks.py data/raw/transactions.parquet data/external/newest.parquet
step fraud3000 score-file data/external/newest.parquet --model challenger

printf '\n'
python scripts/closing_words.py data
printf '\nTry next:\n'
printf '  %s\n' \
    ".venv/bin/fraud3000 score-file data/external/newest.parquet --model challenger --out newest.csv" \
    "make mlflow                            # the run, its params and figures, in a browser" \
    ".venv/bin/fraud3000 prepare --help     # then your own file: params/tabformer.yaml shows how to name columns"
