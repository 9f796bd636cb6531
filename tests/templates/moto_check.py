"""A second opinion on table, secret, permissions and environment: the program as a Lambda function, on an emulator of AWS
that others wrote (moto), with a table and a secret made from the properties in template.yaml.

    python3 -m venv target/ci/moto
    target/ci/moto/bin/pip install -r tests/templates/moto_requirements.txt        # 317 MB, so not part of .ci/run
    cargo build && target/ci/moto/bin/python tests/templates/moto_check.py [BINARY]

BINARY is target/debug/lambda-oauth-mcp-proxy, or the `bootstrap` of cargo lambda build --release.
"""

import base64
import hashlib
import http.client
import http.server
import json
import logging
import os
import pty
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

import boto3
from cloudformation import Stack, load
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
DOMAIN = "abc123.lambda-url.eu-central-1.on.aws"
BASE = f"https://{DOMAIN}"
PAT = "pat-of-the-moto-check-51ae"
# On Lambda the MCP server needs a publicly trusted certificate, which no server on loopback has. So calls reach no server; the
# attempt shows that the token was valid and the secret was read. (tests/lambda calls a server through TLS.)
UPSTREAM = "https://127.0.0.1:9/mcp"
CALLBACK = "https://client.example/callback"
# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
SECONDS_FOR_A_CALL = 30

checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


def equal(found, wanted, what):
    check(found == wanted, f"{what}: expected {wanted!r}, found {found!r}")


def serve(handler):
    """A server on a free port of loopback, which ends with the program."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_address[1]}"


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # Trailers.
            pass
        return b"".join(chunks)

    def reply(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def recording_front(moto, calls):
    """Forwards calls to moto, and records the service and action of each."""

    class Front(Quiet):
        def do_POST(self):
            body = self.body()
            service = re.search(r"Credential=[^/]+/\d+/[^/]+/(\w+)/aws4_request", self.headers.get("authorization", ""))
            calls.append((service and service[1], self.headers.get("x-amz-target", "").split(".")[-1]))
            passed = http.client.HTTPConnection(moto)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "content-length", "transfer-encoding")}
            passed.request("POST", self.path, body, headers)
            got = passed.getresponse()
            kept = {name: value for name, value in got.getheaders() if name.lower() in ("content-type", "x-amzn-requestid", "x-amzn-errortype", "x-amz-crc32")}
            self.reply(got.status, kept, got.read())

    return serve(Front)


class RuntimeApi:
    """One invocation at a time, as on Lambda."""

    def __init__(self):
        self.waiting, self.answers, self.number = queue.Queue(), queue.Queue(), 0
        api = self

        class Handler(Quiet):
            def do_GET(self):
                identifier, event = api.waiting.get()
                self.reply(200, {
                    "content-type": "application/json",
                    "lambda-runtime-aws-request-id": identifier,
                    "lambda-runtime-deadline-ms": str(int(time.time() * 1000) + SECONDS_FOR_A_CALL * 1000),
                    "lambda-runtime-invoked-function-arn": f"arn:aws:lambda:{REGION}:123456789012:function:proxy",
                }, json.dumps(event).encode())

            def do_POST(self):
                body = self.body()
                self.reply(202, {}, b"")
                api.answers.put((self.path, body))

        self.address = serve(Handler)

    def invoke(self, method, path, headers=None, body="", cookies=(), address="203.0.113.9"):
        """Status, headers, cookies and body of the response to a request at the Function URL."""
        self.number += 1
        identifier = f"00000000-0000-4000-8000-{self.number:012}"
        path, _, query = path.partition("?")
        sent = {"host": DOMAIN, "x-forwarded-for": address, "x-forwarded-proto": "https", "x-forwarded-port": "443"} | (headers or {})
        self.waiting.put((identifier, {
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": sent,
            **({"cookies": list(cookies)} if cookies else {}),
            "requestContext": {
                "accountId": "anonymous", "apiId": "abc123", "domainName": DOMAIN, "domainPrefix": "abc123",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": address, "userAgent": "moto-check"},
                "requestId": identifier, "routeKey": "$default", "stage": "$default", "time": "01/Nov/2026:12:00:00 +0000",
                "timeEpoch": int(time.time() * 1000),
            },
            **({"body": base64.b64encode(body.encode()).decode()} if body else {}), "isBase64Encoded": bool(body),
        }))
        answered, raw = self.answers.get(timeout=SECONDS_FOR_A_CALL)
        assert answered.endswith(f"/{identifier}/response"), f"{method} {path}: {answered}: {raw[:500]}"
        prelude, _, content = raw.partition(b"\0" * 8)
        prelude = json.loads(prelude)
        return prelude["statusCode"], prelude.get("headers", {}), prelude.get("cookies", []), content.decode()


def make_table(client, properties):
    """The table as CloudFormation creates it: some properties need a separate call."""
    later = {key: properties.pop(key) for key in ("TimeToLiveSpecification", "PointInTimeRecoverySpecification")}
    limits = properties.pop("OnDemandThroughput")
    properties["OnDemandThroughput"] = {name: int(value) for name, value in limits.items()}
    client.create_table(TableName="proxy", **properties)
    client.update_time_to_live(TableName="proxy", TimeToLiveSpecification={
        "AttributeName": later["TimeToLiveSpecification"]["AttributeName"], "Enabled": later["TimeToLiveSpecification"]["Enabled"]})
    made = client.describe_table(TableName="proxy")["Table"]
    equal(made["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST", "how the table is billed")
    return made["TableName"]


def make_secret(client, properties):
    """The secret as CloudFormation creates it from GenerateSecretString."""
    generate = dict(properties["GenerateSecretString"])
    template, key = generate.pop("SecretStringTemplate"), generate.pop("GenerateStringKey")
    pin = client.get_random_password(**generate)["RandomPassword"]
    check(re.fullmatch("[a-z2-9]{10}", pin) and not set("01oil") & set(pin), "the PIN is easy to read and to type")
    document = json.loads(template) | {key: pin}
    return client.create_secret(Name="proxy", SecretString=json.dumps(document))["ARN"], pin


def run_outputs(stack, environment, pin):
    """The two commands that are outputs, run as a person does: the token is typed at a prompt and not shown."""
    command = stack.output("SetTokenCommand")
    child, terminal = pty.fork()
    if child == 0:
        os.execve("/bin/bash", ["bash", "-c", command], environment)
    shown = b""
    while b"Token: " not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, f"{PAT}\n".encode())
    try:
        while more := os.read(terminal, 1024):
            shown += more
    except OSError:  # The terminal is gone when the command is.
        pass
    equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, f"SetTokenCommand: {shown.decode()}")
    check(PAT not in shown.decode() and PAT not in command, "the token is not shown")
    shown = subprocess.run(["/bin/bash", "-c", stack.output("ShowPinCommand")], env=environment, capture_output=True, text=True, check=True)
    equal(shown.stdout.strip(), pin, "ShowPinCommand shows the PIN, which setting the token has left alone")


def journey(invoke, pin):
    """Discovery, registration, consent, tokens, calls, a refresh, and the end of the connection."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, _, _, body = invoke("POST", "/mcp", {"content-type": "application/json"}, "{}")
    metadata = json.loads(body)["resource_metadata"]
    equal((status, metadata), (401, f"{BASE}/.well-known/oauth-protected-resource/mcp"), "without a token")
    status, _, _, body = invoke("GET", metadata.removeprefix(BASE))
    resource = json.loads(body)
    equal((status, resource["resource"], resource["authorization_servers"]), (200, f"{BASE}/mcp", [BASE]), "the resource's document")
    status, _, _, body = invoke("GET", "/.well-known/oauth-authorization-server")
    server = json.loads(body)
    equal((status, server["issuer"], server["token_endpoint"]), (200, BASE, f"{BASE}/token"), "the authorization server's document")

    registration = {"client_name": "Moto", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    status, _, _, body = invoke("POST", "/register", {"content-type": "application/json"}, json.dumps(registration))
    equal(status, 201, f"registration: {body}")
    client_id = json.loads(body)["client_id"]

    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": CALLBACK, "state": "s", "resource": f"{BASE}/mcp",
             "scope": "mcp offline_access", "code_challenge": challenge, "code_challenge_method": "S256"}
    status, _, cookies, page = invoke("GET", f"/authorize?{urllib.parse.urlencode(query)}")
    equal(status, 200, "the consent page")
    identifier = re.search('name="page" value="([^"]+)"', page)[1]
    cookie = [cookies[0].split(";")[0]]

    def consent(typed):
        given = urllib.parse.urlencode({"page": identifier, "pin": typed, "decision": "authorize"})
        return invoke("POST", "/authorize", form | {"sec-fetch-site": "same-origin"}, given, cookie)

    status, headers, _, _ = consent("wrong" + pin)
    check(status != 303 and "location" not in headers, f"a wrong PIN: {status}")
    status, headers, _, _ = consent(pin)
    equal(status, 303, "consent")
    back = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["location"]).query)
    equal((back["state"], back["iss"]), (["s"], [BASE]), "the redirect")

    def token(**fields):
        status, _, _, body = invoke("POST", "/token", form, urllib.parse.urlencode(fields | {"client_id": client_id}))
        return status, json.loads(body)

    code = {"grant_type": "authorization_code", "code": back["code"][0], "redirect_uri": CALLBACK, "code_verifier": VERIFIER}
    status, first = token(**code)
    equal(status, 200, f"the code's tokens: {first.get('error_description')}")

    def call(access_token):
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", "authorization": f"Bearer {access_token}"}
        status, _, _, body = invoke("POST", "/mcp", headers, json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}))
        return status, body

    status, body = call(first["access_token"])
    check(status == 502 and "cannot be reached" in body, f"a call is passed on: {status} {body}")
    status, second = token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    equal(status, 200, f"a refresh: {second.get('error_description')}")
    check(second["refresh_token"] != first["refresh_token"], "refresh tokens are replaced")
    equal(call(second["access_token"])[0], 502, "a call with the new token is passed on too")
    status, repeated = token(grant_type="refresh_token", refresh_token=first["refresh_token"])
    equal((status, repeated["refresh_token"]), (200, second["refresh_token"]), "a repeated refresh gets the same tokens")
    status, _, signed_in, _ = invoke("POST", "/connections", form | {"sec-fetch-site": "same-origin"}, urllib.parse.urlencode({"action": "sign-in", "pin": pin}))
    status, _, _, page = invoke("GET", "/connections", cookies=[cookie.split(";")[0] for cookie in signed_in])
    check(status == 200 and "Moto" in page, f"the connections page lists the connection: {status}")

    status, _, _, _ = invoke("POST", "/revoke", form, urllib.parse.urlencode({"token": second["refresh_token"], "client_id": client_id}))
    equal(status, 200, "the end of the connection")
    equal(call(second["access_token"])[0], 401, "its access token ended with it")
    status, body = token(grant_type="refresh_token", refresh_token=second["refresh_token"])
    equal((status, body["error"]), (400, "invalid_grant"), "and so did its refresh token")
    status, body = token(**code)
    equal((status, body["error"]), (400, "invalid_grant"), "the code cannot be used again")
    return [first, second]


def check_permissions(stack, calls):
    """The template's role allows the calls that the program made, and for the table no others."""
    (policy,) = stack.resource("Role")["Policies"]
    statements = {s["Sid"]: s["Action"] for s in policy["PolicyDocument"]["Statement"]}
    allowed = set(statements["State"]) | {statements["Secret"]}
    called = {f"{service}:{action}" for service, action in calls}
    check(called <= allowed, f"called, and not allowed: {called - allowed}")
    equal(called, allowed, "what is allowed was called")


def main():
    binary = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/debug/lambda-oauth-mcp-proxy").resolve()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    emulator = "{}:{}".format(*moto.get_host_and_port())
    calls = []
    endpoint = f"http://{recording_front(emulator, calls)}"
    credentials = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_ENDPOINT_URL": endpoint}

    client = lambda service: boto3.client(service, region_name=REGION, endpoint_url=f"http://{emulator}", aws_access_key_id="testing", aws_secret_access_key="testing")
    template = load(ROOT / "template.yaml")
    table = make_table(client("dynamodb"), Stack(template).resource("Table"))
    secret, pin = make_secret(client("secretsmanager"), Stack(template).resource("Secret"))
    stack = Stack(template, {"UpstreamHeaders": '{"X-MCP-Readonly":"true"}'}, {"AWS::Region": REGION}, {"Table": table, "Secret": secret})

    if shutil.which("aws"):
        run_outputs(stack, {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | credentials, pin)
        with_cli = "the AWS CLI ran SetTokenCommand and ShowPinCommand"
    else:
        client("secretsmanager").put_secret_value(SecretId=secret, SecretString=json.dumps({"upstream_token": PAT, "auth_pin": pin}))
        with_cli = "no AWS CLI on PATH, so the two commands were not run"
    equal(set(json.loads(client("secretsmanager").get_secret_value(SecretId=secret)["SecretString"])), {"upstream_token", "auth_pin"}, "what the secret holds")

    api = RuntimeApi()
    settings = stack.resource("Proxy")["Environment"]["Variables"] | {"UPSTREAM_MCP": UPSTREAM}
    lambdas = {"AWS_LAMBDA_RUNTIME_API": api.address, "AWS_LAMBDA_FUNCTION_NAME": "proxy", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST"}
    calls.clear()
    program = subprocess.Popen([binary], env=settings | lambdas | credentials, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    threading.Thread(target=lambda: lines.extend(program.stdout), daemon=True).start()
    try:
        issued = journey(api.invoke, pin)
        check_permissions(stack, calls)
        log = "".join(lines)
        values = [PAT, pin, *(pair[kind] for pair in issued for kind in ("access_token", "refresh_token"))]
        check(all(value not in log for value in values), "nothing secret is in the log")
        events = {json.loads(line).get("event") for line in lines if line.startswith("{")}
        check({"registered", "wrong_pin", "authorized", "issued", "refreshed", "revoked", "request"} <= events, f"the log's events: {events}")
        check("unavailable" not in events, "the table and the secret were always there")
        items = client("dynamodb").scan(TableName=table)["Items"]
        stored = json.dumps(items)
        check(all(value not in stored for value in values), "nothing secret is in the table")
        check(all("expires_at" in item for item in items), "every item has a time at which DynamoDB deletes it")
    except BaseException:
        sys.stderr.write("".join(lines[-40:]))
        raise
    finally:
        program.kill()
        program.wait()
        moto.stop()
    print(f"{checks} checks passed ({with_cli}; {len(calls)} calls to DynamoDB and Secrets Manager)")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failed:
        sys.exit(f"FAILED: {failed}")
