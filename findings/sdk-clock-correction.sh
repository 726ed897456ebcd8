#!/usr/bin/env bash
# A slow clock: two SDKs correct it for their signatures, and go on with sessions that have ended.
#
# A good guess: the AWS SDKs that correct a wrong clock (those for JavaScript and C++ do, without a
# setting; botocore does not) need no time service on the machine. They learn the right time when
# they are first refused, and from then on all is as with a right clock.
#
# What happens with sessions from a container credentials endpoint: the JavaScript SDK and pyarrow
# (SDK for C++) are refused once, sign again with the service's time, and work. But the end of the
# session is still compared with the clock of the machine. If that is two hours slow, a session
# counts as good for almost two hours after its end: the program works as long as the session lasts,
# then gets ExpiredToken, and does not ask the endpoint, which has a new one. If it is two hours
# fast, each session of an hour has ended when it comes, and the endpoint is asked for each request.
# boto3 fails at once in both cases: a slow clock is RequestTimeTooSkewed, a fast one is "the
# refreshed credentials are still expired", which sounds like a fault of the endpoint.
#
# Why the guess is wrong: the offset belongs to the client of one service, is learned from that
# service's Date header, and goes to the signer. Credentials come from a provider that was there
# before, may serve several clients, and compares Expiration with the plain time. ExpiredToken is
# no reason to renew for either SDK.
#
# Source: @aws-sdk/core, httpAuthSchemes (AwsSdkSigV4Signer, getUpdatedSystemClockOffset) and
# @smithy/core (isIdentityExpired); aws-sdk-cpp, src/aws-cpp-sdk-core/source/client/AWSClient.cpp
# (AdjustClockSkew) and source/auth/GeneralHTTPCredentialsProvider.cpp (ExpiresSoon); boto3, issue
# 1252; botocore, credentials.py (RefreshableCredentials).
#
# For users: set the clock, no SDK makes up for it. A slow clock is behind a program that works for
# the length of a session and gets ExpiredToken from then on; a fast one behind an endpoint that is
# asked all the time. Compare `date -u` with the Date header of any answer of AWS.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
for tool in node npm; do
    command -v "$tool" >/dev/null || die "needs Node.js 20 and npm: apt-get install nodejs npm"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check boto3==1.44.8 botocore==1.44.8 \
    pyarrow==25.0.1
npm install --silent --no-audit --no-fund --prefix "$dir/js" @aws-sdk/client-s3@3.1175.0 \
    >/dev/null 2>&1 || die "npm could not install the JavaScript SDK"

cat > "$dir/client.py" <<'PY'
"""Send three requests to S3 with one client, PAUSE seconds apart: client.py NAME URL PAUSE."""

import sys
import time

name, url, region = sys.argv[1], sys.argv[2], "us-east-1"
if name == "boto3":
    import boto3
    s3 = boto3.client("s3", endpoint_url=url, region_name=region)
    ask = lambda: s3.list_objects_v2(Bucket="bucket")
else:
    from pyarrow import fs
    files = fs.S3FileSystem(endpoint_override=url, region=region)
    ask = lambda: files.get_file_info(fs.FileSelector("bucket/x", allow_not_found=True))
for number in range(3):
    time.sleep(int(sys.argv[3]) if number else 0)
    try:
        ask()
        print("ok")
    except Exception as error:
        print(" ".join(str(error).split()))
PY
cat > "$dir/js/client.cjs" <<'JS'
const { S3Client, ListObjectsV2Command } = require("@aws-sdk/client-s3");
const [endpoint, pause] = process.argv.slice(2);
const s3 = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true });
(async () => {
  for (let number = 0; number < 3; number++) {
    await new Promise((wake) => setTimeout(wake, number ? pause * 1000 : 0));
    const asked = s3.send(new ListObjectsV2Command({ Bucket: "bucket" }));
    await asked.then(() => console.log("ok"), (error) => console.log(error.name));
  }
})();
JS

cat > "$dir/show.py" <<'PY'
import json
import os
import re
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

folder = sys.argv[1]
ends = []  # of the sessions so far, in the time of the service
offset = life = timedelta()


def now():
    """Return the time of the service. It is the service's clock that this script shifts."""
    return datetime.now(timezone.utc) + offset


def error(code):
    body = f"<Error><Code>{code}</Code><Message>{code}</Message><RequestId>1</RequestId></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode()


class Server(BaseHTTPRequestHandler):
    """The endpoint, at /creds; S3 elsewhere, which refuses a wrong time and an ended session."""

    protocol_version = "HTTP/1.1"

    def date_time_string(self, timestamp=None):
        return format_datetime(now(), usegmt=True)

    def do_GET(self):
        global skewed
        status, body = 200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
        if self.path == "/creds":
            ends.append(now() + life)
            answer = {"AccessKeyId": f"ASIA{len(ends)}", "SecretAccessKey": "s", "Token": "t"}
            answer["Expiration"] = f"{ends[-1]:%Y-%m-%dT%H:%M:%SZ}"
            body = json.dumps(answer).encode()
        else:
            session = re.search(r"Credential=ASIA(\d+)/", self.headers["Authorization"])[1]
            signed = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
            if abs(signed - now()) > timedelta(minutes=15):
                skewed += 1
                status, body = 403, error("RequestTimeTooSkewed")
            elif now() > ends[int(session) - 1]:
                status, body = 400, error("ExpiredToken")
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
KINDS = ("RequestTimeTooSkewed", "ExpiredToken", "refreshed credentials are still expired")


def show(client, behind, seconds, expected, refused=0, asked=None):
    """Run a client whose clock is so many hours behind, with sessions of so many seconds."""
    global offset, life, skewed
    offset, life, skewed = timedelta(hours=behind), timedelta(seconds=seconds), 0
    ends.clear()
    command = (sys.executable, f"{folder}/client.py", client)
    if client == "JavaScript":
        command = ("node", "--no-warnings", f"{folder}/js/client.cjs")
    env = {"PATH": os.environ["PATH"], "HOME": folder, "AWS_EC2_METADATA_DISABLED": "true"}
    env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{url}/creds"
    command = (*command, url, "6" if seconds == 5 else "0")
    lines = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100).stdout
    seen = [next((kind for kind in KINDS if kind in line), line) for line in lines.splitlines()]
    print(f"  {client:10} asked for {len(ends)} sessions, {skewed} refused: {', '.join(seen)}")
    seen == expected or sys.exit(f"changed: expected {expected}")
    skewed == refused or sys.exit(f"changed: expected {refused} refused for their time")
    asked is None or len(ends) == asked or sys.exit(f"changed: expected {asked} sessions")


print(*(f"{name} {version(name)}" for name in ("boto3", "pyarrow")), sep=", ")
with open(f"{folder}/js/node_modules/@aws-sdk/client-s3/package.json") as file:
    print("@aws-sdk/client-s3", json.load(file)["version"])
corrected, works = ("JavaScript", "pyarrow"), ["ok"] * 3
skew, ended, late = (["RequestTimeTooSkewed"] * 3, ["ok", "ExpiredToken", "ExpiredToken"],
                     ["refreshed credentials are still expired"] * 3)  # fmt: skip
print("right clock, sessions of 5 seconds, three requests in 12 seconds")
for client in ("boto3", *corrected):
    show(client, 0, 5, works)
print("clock two hours slow, the same")
show("boto3", 2, 5, skew, refused=3)
for client in corrected:
    show(client, 2, 5, ended, refused=1, asked=1)
print("right clock, sessions of an hour, three requests at once")
for client in ("boto3", *corrected):
    show(client, 0, 3600, works, asked=1)
print("clock two hours fast, the same")
show("boto3", -2, 3600, late)
for client in corrected:
    show(client, -2, 3600, works, refused=1)
    len(ends) > 3 or sys.exit("changed: expected a session for each request")
PY
"$dir/venv/bin/python" "$dir/show.py" "$dir"
echo "as described"
