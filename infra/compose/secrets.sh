#!/bin/sh
# Makes the secrets of compose.yaml that are not there yet, at random. Only the owner may enter their folder; the files
# themselves anybody may read, since containers, which get them one by one, run as users of their own.
# The key of card numbers is one that `fraud3000 keys pan` makes, and Prometheus' one of `fraud3000 keys add`.
set -eu
umask 022
mkdir -p -m 700 "$(dirname "$0")/secrets"
cd "$(dirname "$0")/secrets"

made() { # NAME COMMAND...: a file of what the command prints
    name=$1
    shift
    [ -s "$name" ] || { "$@" >"$name.new" && mv "$name.new" "$name" && echo "made $name"; }
}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

credentials() {
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$(cat s3_user)" "$(cat s3_password)"
}

for name in api_key audit_key postgres_password s3_user s3_password grafana_password; do
    made "$name" random
done
made s3_credentials credentials
command -v fraud3000 >/dev/null && made pan_key fraud3000 keys pan
for name in pan_key prometheus_key; do
    [ -e "$name" ] || { : >"$name" && echo "empty $name: see docs/deployment.md"; }
done
