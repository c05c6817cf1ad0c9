#!/bin/sh
# Runs a command; a fraud3000 subcommand may leave out the name. What was compiled with the image is laid where numba reads
# it: it takes compiled code only from a folder that it could write too, and the image is read-only.
set -eu
if [ -d /opt/fraud3000/kernels ] && [ ! -d "$NUMBA_CACHE_DIR" ]; then
    cp -R /opt/fraud3000/kernels "$NUMBA_CACHE_DIR" 2>/dev/null || true
fi
case "${1:-}" in
fraud3000 | mlflow | dvc | python | sh | /*) exec "$@" ;;
*) exec fraud3000 "$@" ;;
esac
