#!/usr/bin/env bash
# awscrt: asks a credential endpoint on port 45678 with `Host: 127.0.0.1`, without the port.
#
# A good guess: a client names the port in the Host header when it is not the scheme's default, so
# a local credential endpoint may insist on exactly `127.0.0.1:PORT` to keep web pages out that
# reach it through a name of their own (DNS rebinding). botocore sends just that.
#
# What happens with the AWS Common Runtime (its Python binding is awscrt): the header has the
# address alone. The port in AWS_CONTAINER_CREDENTIALS_FULL_URI is used to connect, the token is
# sent, the Host is short. A server that insists on the port refuses each of its requests, and the
# program has no credentials at all.
#
# Why the guess is wrong: RFC 9110 §7.2 asks for the authority of the target, port included, and
# most HTTP libraries add the header themselves. Here the credentials provider writes it, from the
# host that it was made with, which is kept apart from the port.
#
# Source: RFC 9110 §7.2; aws-c-auth, source/credentials_provider_ecs.c (s_make_ecs_http_query).
#
# For users: a server of container credentials should accept its literal address with and without
# the port, and nothing else. That still keeps pages out: a browser sends the name it looked up.
set -euo pipefail

python3 -c 'import venv, ensurepip' 2>/dev/null ||
    { echo "needs apt-get install python3-venv" >&2; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check awscrt==0.38.1 botocore==1.44.8

cat > "$dir/ask.py" <<'PY'
"""Asks one endpoint with two clients; prints the Host header that each sent."""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

ANSWER = json.dumps(
    {
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
).encode()
hosts: list[str] = []


class Endpoint(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hosts.append(self.headers["Host"])
        assert self.headers["Authorization"] == "token-of-the-example"
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_port
os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"http://127.0.0.1:{port}/"
os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "token-of-the-example"

import botocore
import botocore.session
from awscrt import __version__
from awscrt.auth import AwsCredentialsProvider

botocore.session.Session().get_credentials().get_frozen_credentials()
provider = AwsCredentialsProvider.new_default_chain()
found = provider.get_credentials().result(timeout=20)
assert found.access_key_id == "ASIAEXAMPLE", "awscrt got no credentials from the endpoint"

shown = [host.replace(str(port), "PORT") for host in hosts]
print(f"botocore {botocore.__version__}: Host: {shown[0]}")
print(f"awscrt {__version__}: Host: {shown[-1]}")
sys.exit(0 if shown == ["127.0.0.1:PORT", "127.0.0.1"] else "the headers have changed")
PY
cd "$dir"
env -u AWS_PROFILE -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY HOME="$dir" \
    AWS_EC2_METADATA_DISABLED=true "$dir/venv/bin/python" ask.py
