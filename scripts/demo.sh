#!/usr/bin/env bash
# Train and promote a model on simulated data and score transactions, with the commands a user would type.
# `make demo` installs the project, then runs this.
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
# A second demo with other params may fail the promotion checks (exit code 6); that is a result, not an error.
step fraud3000 promote --why "make demo" || [ $? -eq 6 ]

printf '\n# The newest two weeks of the raw file, as if they had just come in\n'
python scripts/newest_weeks.py data/raw/transactions.parquet data/external/newest.parquet
step fraud3000 score-file data/external/newest.parquet

printf '\n'
python scripts/closing_words.py data
printf '\nThe report: %s\n' "$PWD/data/reports/report.html"
printf '\nTry next:\n'
printf '  %s\n' \
    "make serve                             # the champion at http://127.0.0.1:8000" \
    "make mlflow                            # runs, params and figures of every training, in a browser" \
    ".venv/bin/fraud3000 prepare --help     # then your own file: docs/mapping.md"
