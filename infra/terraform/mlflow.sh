set -eu
quoted() {
    printenv "$1" | python -c "import sys, urllib.parse as url; print(url.quote(sys.stdin.read().removesuffix('\n'), safe=''))"
}
# In the environment, where no list of processes shows it.
MLFLOW_BACKEND_STORE_URI="postgresql://$(quoted DATABASE_USER):$(quoted DATABASE_PASSWORD)@$DATABASE_HOST:5432/mlflow?sslmode=require"
export MLFLOW_BACKEND_STORE_URI
unset DATABASE_USER DATABASE_PASSWORD
exec mlflow server --host 0.0.0.0 --port "$PORT" --workers 2 --artifacts-destination "$ARTIFACTS" --serve-artifacts --allowed-hosts "$ALLOWED_HOSTS"
