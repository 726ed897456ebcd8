#!/usr/bin/env bash
# Expiration with a UTC offset: right from credential_process, wrong or refused from an endpoint.
#
# A good guess: a client has one reader for the Expiration of credentials. For credential_process
# AWS says ISO 8601, where 12:00:00-05:00 is as good as 17:00:00Z; what a client reads from a helper
# it reads from a container credentials endpoint, too, in whatever zone it runs.
#
# What happens with one and the same answer: pyarrow (AWS SDK for C++) and Daft (AWS SDK for Rust)
# read a helper's offset rightly. From an endpoint pyarrow reads any offset but +00:00 as the local
# time of its own process. Beside an endpoint in the same zone it goes unnoticed; in a container that
# runs in UTC, -05:00 ends an hour's session four hours ago, and pyarrow asks the endpoint before
# each request; +05:00 adds five hours, and pyarrow signs with a session after its end. Daft takes
# no credentials at all, even for +00:00, which is what Python's isoformat() writes for UTC. boto3
# reads each form rightly.
#
# Why the guess is wrong: each source has a reader of its own. The SDK for C++ leaves helpers to the
# AWS Common Runtime and reads endpoints' answers itself; its scanner knows UTC and "not UTC", which
# it takes for local. In the SDK for Rust an endpoint's answer is a Smithy date-time, that of a
# helper RFC 3339. ECS, EKS and EC2 write Z, so only an endpoint of another make shows it.
#
# Source: AWS SDKs and Tools Reference Guide, "Process credential provider"; aws-sdk-cpp,
# src/aws-cpp-sdk-core/source/utils/DateTimeCommon.cpp (ISO_8601DateParser); aws-config (Rust),
# json_credentials.rs and credential_process.rs.
#
# For users: a server of container credentials must write UTC with Z, in Python
# strftime("%Y-%m-%dT%H:%M:%SZ"), in Go UTC() before it formats. A session that seems to end early
# or late by the hours of a time zone, or an endpoint that is asked all the time, is this.
set -euo pipefail

python3 -c 'import venv, ensurepip' 2>/dev/null ||
    { echo "needs apt-get install python3-venv" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check \
    boto3==1.44.8 botocore==1.44.8 pyarrow==25.0.1 daft==0.7.26

cat > "$dir/client.py" <<'PY'
"""Send three requests to S3 with one client, PAUSE seconds apart: client.py NAME PAUSE."""

import os
import sys
import time
from contextlib import suppress

name, host, region = sys.argv[1], os.environ["S3"], "us-east-1"
if name == "boto3":
    import boto3
    s3 = boto3.client("s3", endpoint_url=f"http://{host}", region_name=region)
    ask = lambda: s3.list_objects_v2(Bucket="bucket")
elif name == "pyarrow":
    from pyarrow import fs
    files = fs.S3FileSystem(endpoint_override=f"http://{host}", region=region)
    ask = lambda: files.get_file_info(fs.FileSelector("bucket/x", allow_not_found=True))
else:
    from daft.io import IOConfig, S3Config, from_glob_path
    config = IOConfig(s3=S3Config(endpoint_url=f"http://{host}", region_name=region, use_ssl=False))
    ask = lambda: from_glob_path("s3://bucket/x/*", io_config=config).collect()
for _ in range(3):
    with suppress(Exception):  # no credentials, or nothing in the bucket
        ask()
    time.sleep(int(sys.argv[2]))
PY

cat > "$dir/show.py" <<'PY'
import json
import os
import re
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

folder = sys.argv[1]
ends = []


class Server(BaseHTTPRequestHandler):
    """The endpoint, at /creds; what the helper prints, at /helper; S3 elsewhere."""

    def do_GET(self):
        global late, signed
        body = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
        if self.path in ("/creds", "/helper"):
            ends.append(datetime.now(timezone.utc) + timedelta(seconds=seconds))
            end = ends[-1] + timedelta(hours=0 if offset == "Z" else int(offset[:3]))
            answer = {"AccessKeyId": f"ASIA{len(ends)}", "SecretAccessKey": "s", "Version": 1}
            answer |= {"Expiration": f"{end:%Y-%m-%dT%H:%M:%S}{offset}"}
            answer["Token" if self.path == "/creds" else "SessionToken"] = "t"
            body = json.dumps(answer).encode()
        elif key := re.search(r"Credential=ASIA(\d+)/", self.headers["Authorization"] or ""):
            signed += 1
            late += datetime.now(timezone.utc) > ends[int(key[1]) - 1]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
host = f"127.0.0.1:{server.server_port}"
with open(f"{folder}/helper", "w") as file:
    print(f"#!{sys.executable}\nfrom urllib.request import urlopen as get", file=file)
    print(f"print(get('http://{host}/helper').read().decode())", file=file)
os.chmod(f"{folder}/helper", 0o700)
with open(f"{folder}/config", "w") as file:
    print(f"[profile helper]\ncredential_process = {folder}/helper", file=file)


def show(client, source, form, length, expected, zone="UTC0"):
    global seconds, offset, late, signed
    seconds, offset, late, signed = length, form, 0, 0
    ends.clear()
    env = {"PATH": os.environ["PATH"], "HOME": folder, "S3": host, "TZ": zone}
    env |= {"AWS_EC2_METADATA_DISABLED": "true", "DO_NOT_TRACK": "true"}
    env |= {
        "endpoint": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{host}/creds"},
        "helper": {"AWS_CONFIG_FILE": f"{folder}/config", "AWS_PROFILE": "helper"},
    }[source]
    command = (sys.executable, f"{folder}/client.py", client, "2" if length == 3 else "0")
    subprocess.run(command, env=env, capture_output=True, timeout=50)
    seen = "no credentials" if not signed else "signed after the end" if late else "right"
    seen = "asked for each request" if seen == "right" and len(ends) > 3 else seen
    print(f"{client:8} {source:9} {length:4} s, {form:7} TZ={zone}: {len(ends)} asked, {seen}")
    seen == expected or sys.exit(f"changed: expected {expected}")


print(*(f"{name} {version(name)}" for name in ("boto3", "pyarrow", "daft")), sep=", ")
for case in (
    ("boto3", "endpoint", "-05:00", 3600, "right"),
    ("pyarrow", "endpoint", "+00:00", 3600, "right"),
    ("pyarrow", "endpoint", "-05:00", 3600, "asked for each request"),
    ("pyarrow", "endpoint", "-05:00", 3600, "right", "EST5"),
    ("pyarrow", "helper", "-05:00", 3600, "right"),
    ("pyarrow", "endpoint", "Z", 3, "asked for each request"),
    ("pyarrow", "endpoint", "+05:00", 3, "signed after the end"),
    ("daft", "endpoint", "Z", 3600, "right"),
    ("daft", "endpoint", "+00:00", 3600, "no credentials"),
    ("daft", "helper", "+00:00", 3600, "right"),
):
    show(*case)
print("as described")
PY
"$dir/venv/bin/python" "$dir/show.py" "$dir"
