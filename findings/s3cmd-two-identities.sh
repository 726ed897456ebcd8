#!/usr/bin/env bash
# s3cmd: one request signed with one identity's key and sent with the other one's session token.
#
# A good guess: a program started with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
# AWS_SESSION_TOKEN uses these three. They are the names every AWS SDK reads; AWS_ACCESS_KEY and
# AWS_SECRET_KEY are at most a fallback from older days.
#
# What happens: s3cmd reads the two old names first, and the standard ones where an old one is
# empty. There is no old name for the session token, so with AWS_ACCESS_KEY and AWS_SECRET_KEY left
# in the environment it signs with that pair and adds the other identity's AWS_SESSION_TOKEN. The
# choice is made for each variable: with AWS_ACCESS_KEY alone left, the old key id goes out with a
# signature made with the new secret. There is no warning; only the service can tell that the parts
# do not belong together.
#
# Why the guess is wrong: the three parts of a credential are looked up one by one. In other clients
# the first source that has a complete pair supplies all three.
#
# Source: s3cmd 2.4.0, S3/Config.py, the constructor of Config (env_access_key, env_secret_key,
# env_access_token); for comparison botocore, credentials.py, EnvProvider.
#
# For users: a launcher that hands AWS credentials to a command must remove AWS_ACCESS_KEY and
# AWS_SECRET_KEY, not merely set the standard names. If S3 turns s3cmd away and no other client, look
# for the old names in the environment.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check s3cmd==2.4.0

cat > "$dir/record.py" <<'PY'
"""Answer each request with an empty list of buckets; note who signed it, and with what."""

import hashlib
import hmac
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

EMPTY = b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>"
SECRETS = ("secret-of-session", "secret-of-old")


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Recorder(BaseHTTPRequestHandler):
    def do_GET(self):
        key, scope, names, signature = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)",
            self.headers["Authorization"],
        ).groups()
        headers = "".join(f"{name}:{self.headers[name].strip()}\n" for name in names.split(";"))
        canonical = f"GET\n{self.path}\n\n{headers}\n{names}\n{self.headers['x-amz-content-sha256']}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.headers['x-amz-date']}\n{scope}\n{digest}"
        secret = "unknown"
        for candidate in SECRETS:
            derived = f"AWS4{candidate}".encode()
            for part in scope.split("/"):
                derived = mac(derived, part)
            if mac(derived, text).hex() == signature:
                secret = candidate
        token = self.headers["x-amz-security-token"]
        with open(sys.argv[1], "w") as file:
            file.write(f"key={key} secret={secret} token={token}\n")
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
host=127.0.0.1:$(cat "$dir/port")

"$dir/venv/bin/s3cmd" --version
: > "$dir/no-config"
listing() { # EXPECTED VARIABLES...
    local expected=$1
    shift
    rm -f "$dir/seen"
    env -i PATH="$PATH" HOME="$dir" AWS_ACCESS_KEY_ID=AKIASESSION \
        AWS_SECRET_ACCESS_KEY=secret-of-session AWS_SESSION_TOKEN=token-of-session "$@" \
        "$dir/venv/bin/s3cmd" -c "$dir/no-config" --no-ssl --host="$host" --host-bucket="$host" ls
    echo "session's three variables${*:+ and $*}: $(cat "$dir/seen")"
    [ "$(cat "$dir/seen")" = "$expected" ] || die "changed: expected $expected"
}
listing "key=AKIASESSION secret=secret-of-session token=token-of-session"
listing "key=AKIAOLD secret=secret-of-old token=token-of-session" \
    AWS_ACCESS_KEY=AKIAOLD AWS_SECRET_KEY=secret-of-old
listing "key=AKIAOLD secret=secret-of-session token=token-of-session" AWS_ACCESS_KEY=AKIAOLD
echo "as described"
