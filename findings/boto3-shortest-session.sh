#!/usr/bin/env bash
# boto3: a helper that hands out the shortest session STS grants is run for every single request.
#
# A good guess: an SDK runs a credential_process helper once and keeps the answer until its
# Expiration is near, near being a few minutes. A session of 15 minutes, the shortest that AssumeRole
# grants, serves a script of two minutes from one run. The JavaScript SDK does just that.
#
# What happens with boto3: the helper is run when the session is made, and again before each
# request, and each request waits for it. Ten signatures take eleven runs. With 16 minutes instead
# of 15 there is one run. The AWS CLI runs the helper twice for a command that makes one request.
#
# Why the guess is wrong: botocore counts credentials as due for renewal when fewer than 15 minutes
# are left (failure is tolerated until 10 minutes are left), and renews in the thread that asks. An
# answer of 900 seconds is due by the time it has been read, and so is the one that replaces it. The
# window is as long as the shortest session. In JavaScript the window is five minutes and renewal
# inside it goes on in the background.
#
# Source: botocore, credentials.py (_DEFAULT_ADVISORY_REFRESH_TIMEOUT, RefreshableCredentials,
# ProcessProvider); AWS STS API Reference, AssumeRole, DurationSeconds (at least 900);
# @aws-sdk/credential-provider-node, defaultProvider (credentialsTreatedAsExpired).
#
# For users: let helpers ask for more than 15 minutes, an hour if the role allows it. A helper that
# caches should fetch a new session well before its cached one has less than 15 minutes left, or
# each boto3 program near its end starts the helper once a request.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
for tool in node npm; do
    command -v "$tool" >/dev/null || die "needs Node.js 20 and npm: apt-get install nodejs npm"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check \
    boto3==1.44.8 botocore==1.44.8 awscli==1.46.3
npm install --silent --no-audit --no-fund --prefix "$dir/js" \
    @aws-sdk/credential-provider-node@3.972.99 >/dev/null 2>&1 ||
    die "npm could not install the JavaScript SDK"

# A helper that takes a fifth of a second and counts its runs.
cat > "$dir/helper" <<'SH'
#!/bin/sh
echo run >> "$RUNS"
sleep 0.2
printf '{"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "s", "SessionToken": "t",
    "Expiration": "%s"}' "$(date -u -d "+$SECONDS_LEFT seconds" +%Y-%m-%dT%H:%M:%SZ)"
SH
chmod +x "$dir/helper"
printf '[profile example]\nregion = eu-west-1\ncredential_process = %s\n' "$dir/helper" > "$dir/config"

cat > "$dir/ten.py" <<'PY'
import boto3

client = boto3.Session(profile_name="example").client("sts")
for _ in range(10):
    client.generate_presigned_url("get_caller_identity")
PY
cat > "$dir/js/ten.cjs" <<'JS'
const { defaultProvider } = require("@aws-sdk/credential-provider-node");
const provider = defaultProvider({ profile: "example" });
(async () => { for (let i = 0; i < 10; i++) await provider(); })();
JS

"$dir/venv/bin/python" -c 'import botocore; print("botocore", botocore.__version__)'
"$dir/venv/bin/aws" --version | cut -d ' ' -f 1
node -p '"@aws-sdk/credential-provider-node " + require(process.argv[1]).version' \
    "$dir/js/node_modules/@aws-sdk/credential-provider-node/package.json"
show() { # SECONDS EXPECTED WHAT COMMAND...
    local left=$1 expected=$2 what=$3 start count
    shift 3
    : > "$dir/runs"
    start=$(date +%s%N)
    env -i PATH="$PATH" HOME="$dir" AWS_CONFIG_FILE="$dir/config" RUNS="$dir/runs" \
        SECONDS_LEFT="$left" NODE_NO_WARNINGS=1 "$@" >/dev/null
    count=$(wc -l < "$dir/runs")
    echo "session of $left s, $what: $count runs of the helper," \
        "$((($(date +%s%N) - start) / 1000000)) ms"
    [ "$count" = "$expected" ] || die "changed: expected $expected runs"
}
compare() { # SECONDS BOTO3 CLI JAVASCRIPT
    show "$1" "$2" "boto3, ten signatures" "$dir/venv/bin/python" "$dir/ten.py"
    show "$1" "$3" "aws, one signature" \
        "$dir/venv/bin/aws" --profile example s3 presign s3://example/key
    show "$1" "$4" "JavaScript, credentials ten times" node "$dir/js/ten.cjs"
}
compare 900 11 2 1
compare 960 1 1 1
echo "as described"
