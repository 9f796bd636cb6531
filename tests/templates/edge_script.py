"""infra/edge.sh against a stand-in for AWS: `aws`, `sam` and `curl` on PATH are this file. It stores stacks and secret in a
JSON file, evaluates the real templates, and records each call with its standard input.

    python tests/templates/edge_script.py
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cloudformation import Stack, allowed  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TOKEN, PIN = "github_pat_of_the_script_test", "pin4script"
SECRET_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:Secret-AbCdEf"
FUNCTION_URL = "https://abc123.lambda-url.eu-central-1.on.aws/"
DISTRIBUTION = "d111111abcdef8.cloudfront.net"
CHANGING = ("create-stack", "update-stack", "delete-stack", "put-secret-value", "sam")


# --- the stand-in ----------------------------------------------------------------------------------------------------


def template(name):
    """Parsed once, by the test: loading a YAML parser for each call would take most of the time."""
    return json.loads(Path(os.environ["STAND_IN_TEMPLATES"]).read_text())[name]


class Refused(Exception):
    pass


class Aws:
    """The part of the AWS CLI that the script uses."""

    def __init__(self, state, arguments):
        self.state = state
        self.call = arguments[1]
        self.options = {}
        name = "what"
        for word in arguments[2:]:
            if word.startswith("--"):
                name = word[2:]
                self.options[name] = ""
            else:
                self.options[name] = (self.options.get(name, "") + " " + word).strip()

    def stack_key(self):
        return f"{self.options['region']}/{self.options['stack-name']}"

    def parameters(self, existing):
        given = {}
        for entry in json.load(sys.stdin):
            key = entry["ParameterKey"]
            if entry.get("UsePreviousValue"):
                if key not in existing:
                    raise Refused(f"ValidationError: no previous value of {key}")
                given[key] = existing[key]
            else:
                given[key] = entry["ParameterValue"]
        return given

    def make(self, key, name, given):
        declared = template(name)
        values = {p: str(e.get("Default", "")) for p, e in declared["Parameters"].items()} | given
        for parameter, entry in declared["Parameters"].items():
            if "Default" not in entry and parameter not in given:
                raise Refused(f"ValidationError: Parameters: [{parameter}] must have values")
            if not allowed(entry, values[parameter]):
                raise Refused(f"ValidationError: {parameter} failed to satisfy constraint")
        attributes = {"Distribution.DomainName": DISTRIBUTION, "ProxyUrl.FunctionUrl": FUNCTION_URL, "Secret": SECRET_ARN}
        stack = Stack(declared, values, {"AWS::StackName": key.split("/")[1]}, attributes)
        if stack.refusals():
            raise Refused(f"ValidationError: {stack.refusals()[0]}")
        outputs = {o: stack.output(o) for o in declared["Outputs"] if stack.has("Outputs", o)}
        return {"template": name, "parameters": values, "outputs": outputs, "status": "CREATE_COMPLETE"}

    def describe_stacks(self):
        if self.state.get("refuse"):
            raise Refused("An error occurred (ExpiredToken): the security token is expired")
        found = self.state["stacks"].get(self.stack_key())
        if found is None:
            raise Refused(f"An error occurred (ValidationError): Stack with id {self.options['stack-name']} does not exist")
        hidden = lambda key, value: "****" if key == "OriginSecret" else value
        print(json.dumps({"Stacks": [{
            "StackStatus": found["status"],
            "Parameters": [{"ParameterKey": k, "ParameterValue": hidden(k, v)} for k, v in found["parameters"].items()],
            "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in found["outputs"].items()],
        }]}))

    def create_stack(self):
        if self.stack_key() in self.state["stacks"]:
            raise Refused("AlreadyExistsException")
        assert self.options["template-body"] == "file://infra/edge.yaml"
        made = self.make(self.stack_key(), "infra/edge.yaml", self.parameters({}))
        if self.state.pop("fail_creation", False):
            made["status"] = "ROLLBACK_COMPLETE"
        self.state["stacks"][self.stack_key()] = made
        print('{"StackId": "id"}')

    def update_stack(self):
        existing = self.state["stacks"][self.stack_key()]
        if existing["status"] == "ROLLBACK_COMPLETE":
            raise Refused("ValidationError: is in ROLLBACK_COMPLETE state and can not be updated")
        given = self.parameters(existing["parameters"])
        previous = "use-previous-template" in self.options
        if previous and self.options["capabilities"] != "CAPABILITY_IAM CAPABILITY_AUTO_EXPAND":
            raise Refused("InsufficientCapabilitiesException")
        made = self.make(self.stack_key(), existing["template"], given)
        if made["parameters"] == existing["parameters"]:
            raise Refused("An error occurred (ValidationError): No updates are to be performed.")
        self.state["stacks"][self.stack_key()] = made | {"status": "UPDATE_COMPLETE"}
        print('{"StackId": "id"}')

    def delete_stack(self):
        self.state["stacks"].pop(self.stack_key(), None)

    def wait(self):
        found = self.state["stacks"].get(self.stack_key())
        if found and "ROLLBACK" in found["status"]:
            raise Refused("Waiter StackCreateComplete failed")

    def describe_stack_events(self):
        print("Distribution\tthe reason why")

    def get_secret_value(self):
        print(json.dumps(self.state["secret"]))

    def put_secret_value(self):
        assert self.options["secret-string"] == "file:///dev/stdin" and self.options["secret-id"] == SECRET_ARN
        self.state["secret"] = json.load(sys.stdin)
        print('{"VersionId": "id"}')

    def get(self):  # aws configure get region
        if "configured_region" not in self.state:
            raise Refused("")
        print(self.state["configured_region"])

    def get_function_url_config(self):
        print(FUNCTION_URL)

    def get_function_configuration(self):
        print("None")


def act(program, arguments):
    path = Path(os.environ["STAND_IN_STATE"])
    state = json.loads(path.read_text())
    aws = Aws(state, arguments) if program == "aws" else None
    reads = sys.stdin.read() if any(word == "file:///dev/stdin" for word in arguments) else ""
    state["calls"].append({"program": program, "arguments": arguments, "stdin": reads})
    code = 0
    if program == "sam":
        if arguments[0] == "deploy":
            at = {arguments[i]: arguments[i + 1] for i in range(1, len(arguments), 2)}
            key = f"{at['--region']}/{at['--stack-name']}"
            made = Aws(state, ["cloudformation", "create-stack", "--region", "x"]).make(key, "template.yaml", {})
            state["stacks"][key] = made
    elif program == "curl":
        print("HTTP/2 401\r\nwww-authenticate: Bearer resource_metadata=\"https://x/\"" if "-D" in arguments else "403")
    else:
        sys.stdin = io.StringIO(reads)
        try:
            getattr(aws, aws.call.replace("-", "_"))()
        except Refused as refused:
            print(refused, file=sys.stderr)
            code = 254
    path.write_text(json.dumps(state))
    return code


# --- the tests -------------------------------------------------------------------------------------------------------

checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


def equal(found, wanted, what):
    check(found == wanted, f"{what}: expected {wanted!r}, found {found!r}")


class Account:
    """An account in its own directory, with the stand-in's programs on PATH."""

    def __init__(self, directory, programs=("aws", "sam", "curl"), **state):
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        self.path = self.directory / "state.json"
        self.state = {"stacks": {}, "secret": {"upstream_token": TOKEN, "auth_pin": PIN}, "calls": []} | state
        (self.directory / "bin").mkdir()
        for program in programs:
            stub = self.directory / "bin" / program
            stub.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" --as {program} "$@"\n')
            stub.chmod(0o755)

    def with_function(self, stack="mcp-github", **parameters):
        attributes = Aws({"stacks": {}}, ["cloudformation", "create-stack", "--region", "x"])
        self.state["stacks"][f"eu-central-1/{stack}"] = attributes.make(f"eu-central-1/{stack}", "template.yaml", parameters)
        return self

    def run(self, *arguments, region="eu-central-1"):
        """Runs the script; its calls, output and exit code are in `self`."""
        self.state["calls"] = []
        self.path.write_text(json.dumps(self.state))
        environment = {"PATH": f"{self.directory}/bin:/usr/bin:/bin", "HOME": str(self.directory), "STAND_IN_STATE": str(self.path)}
        environment["STAND_IN_TEMPLATES"] = os.environ["STAND_IN_TEMPLATES"]
        environment |= {"AWS_REGION": region} if region else {}
        done = subprocess.run([ROOT / "infra/edge.sh", *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.state = json.loads(self.path.read_text())
        self.code, self.output, self.errors = done.returncode, done.stdout, done.stderr
        self.all_calls = self.state["calls"]
        self.changes = [
            (call["program"] if call["program"] == "sam" else call["arguments"][1], call)
            for call in self.all_calls
            if call["program"] == "sam" or (call["program"] == "aws" and call["arguments"][1] in CHANGING)
        ]
        self.nothing_secret()
        return self

    def nothing_secret(self):
        secret = self.state["secret"]
        values = [TOKEN, PIN, *([secret["origin_secret"]] if secret.get("origin_secret") else [])]
        for value in values:
            check(value not in self.output + self.errors, f"{value} is shown")
            for call in self.all_calls:
                check(not any(value in word for word in call["arguments"]), f"{value} is on the command line of {call['arguments'][:2]}")

    def names(self):
        return [name for name, _ in self.changes]

    def edge(self, name="mcp-github-edge"):
        return self.state["stacks"].get(f"us-east-1/{name}")

    def function(self):
        return self.state["stacks"]["eu-central-1/mcp-github"]

    def succeeded(self, what):
        check(self.code == 0, f"{what}: exit code {self.code}\n{self.output}\n{self.errors}")

    def failed(self, what, says):
        check(self.code != 0, f"{what}: it does not fail\n{self.output}")
        check(re.search(says, self.errors), f"{what}: {says!r} is not said: {self.errors}")


def first_run(directory):
    account = Account(directory).with_function(UpstreamHeaders='{"X-MCP-Readonly":"true"}').run()
    account.succeeded("a first run")
    equal(account.names(), ["create-stack", "put-secret-value", "update-stack"], "the order of a first run")
    secret = account.state["secret"]
    check(re.fullmatch("[0-9a-f]{64}", secret["origin_secret"]), "the origin secret is generated")
    equal({k: secret[k] for k in ("upstream_token", "auth_pin")}, {"upstream_token": TOKEN, "auth_pin": PIN}, "the rest of the secret stays")
    edge, function = account.edge(), account.function()["parameters"]
    equal(edge["parameters"]["OriginSecret"], secret["origin_secret"], "both sides have one origin secret")
    equal(edge["parameters"]["FunctionUrl"], FUNCTION_URL, "the distribution's origin")
    equal(function["BaseUrl"], f"https://{DISTRIBUTION}", "the function knows its base URL")
    equal(function["AlsoBaseUrls"], FUNCTION_URL.rstrip("/"), "tokens of the Function URL stay valid")
    equal(function["UpstreamHeaders"], '{"X-MCP-Readonly":"true"}', "other parameters of the function stay")
    equal(account.function()["outputs"]["ConnectorUrl"], f"https://{DISTRIBUTION}/mcp", "the connector URL follows")
    check(f"Connector URL: https://{DISTRIBUTION}/mcp" in account.output, "the connector URL is shown")
    for call in account.all_calls:
        words = call["arguments"]
        if "--region" in words:
            region = words[words.index("--region") + 1]
            wanted = "us-east-1" if "mcp-github-edge" in words else "eu-central-1"
            equal(region, wanted, f"the region of {words[:2]}")

    account.run()
    account.succeeded("a second run")
    equal(account.names(), ["update-stack"], "a second run asks for one update")
    check("mcp-github-edge is as it should be" in account.output, "and there is none")
    return account


def options(directory):
    account = Account(directory).with_function().run("--rate-limit", "1000", "--access-logs", "on", "--read-timeout", "45")
    account.succeeded("options")
    found = account.edge()["parameters"]
    equal((found["RequestsPerFiveMinutes"], found["AccessLogs"], found["ReadTimeoutSeconds"]), ("1000", "on", "45"), "the options")
    account.run("--rate-limit", "off", "--domain", "mcp.example.com", "--hosted-zone", "Z0123456789")
    account.succeeded("a domain, later")
    found = account.edge()["parameters"]
    equal((found["RequestsPerFiveMinutes"], found["AccessLogs"]), ("", "on"), "what was not named stays as it was")
    function = account.function()["parameters"]
    equal(function["BaseUrl"], "https://mcp.example.com", "the domain is the base URL")
    also = f"{FUNCTION_URL.rstrip('/')},https://{DISTRIBUTION}"
    equal(function["AlsoBaseUrls"], also, "tokens of the earlier names stay valid")
    account.run()
    equal(account.names(), ["update-stack"], "nothing is left to do with a domain")

    sse = Account(directory).with_function(UpstreamTransport="sse").run()
    equal(sse.edge()["parameters"]["UpstreamTransport"], "sse", "the transport is the function's")
    others = Account(directory).with_function("mcp-linear").run("--stack", "mcp-linear", "--edge-stack", "front", region=None)
    others.failed("no region", "in which region")
    others.run("--stack", "mcp-linear", "--edge-stack", "front", "--region", "eu-central-1", region="ap-southeast-2")
    others.succeeded("other names")
    check(others.edge("front"), "the distribution's stack has the name that was asked for")
    configured = Account(directory, configured_region="eu-central-1").with_function().run(region=None)
    configured.succeeded("the region of the CLI's configuration")


def refusals(directory):
    for arguments, says in (
        (["--domain", "mcp.example.com"], "needs a CertificateArn"),
        (["--hosted-zone", "Z0123456789"], "needs the DomainName"),
        (["--domain", "MCP.example.com", "--hosted-zone", "Z0123456789"], "DomainName failed"),
        (["--rate-limit", "5"], "RequestsPerFiveMinutes failed"),
    ):
        account = Account(directory).with_function().run(*arguments)
        account.failed(" ".join(arguments), says)
        equal((account.edge(), "origin_secret" in account.state["secret"]), (None, False), f"{arguments}: nothing was changed")
    for arguments, says in ((["--wrong"], "unknown option"), (["--domain"], "needs a value"), (["extra"], "unknown option")):
        account = Account(directory).with_function().run(*arguments)
        account.failed(str(arguments), says)
        equal(account.all_calls, [], f"{arguments}: nothing was asked")
    expired = Account(directory, refuse=True).with_function().run()
    expired.failed("an error of AWS is not taken for a missing stack", "ExpiredToken")
    equal(expired.names(), [], "and nothing is changed")
    old = Account(directory).with_function()
    del old.state["stacks"]["eu-central-1/mcp-github"]["outputs"]["FunctionUrl"]
    old.run().failed("a stack of an older template", "deploy this version")
    other = Account(directory).with_function()
    other.state["stacks"]["eu-central-1/mcp-github"]["outputs"] = {"Something": "else"}
    other.run().failed("a stack of something else", "not a stack of this project")
    weak = Account(directory, secret={"upstream_token": TOKEN, "auth_pin": PIN, "origin_secret": "too short!"}).with_function().run()
    weak.failed("an origin secret that CloudFront could not send", "32 to 128 letters and digits")
    equal(weak.names(), [], "a bad origin secret changes nothing")


def interrupted(directory):
    account = Account(directory, fail_creation=True).with_function().run()
    account.failed("a creation that fails", "the reason why[\\s\\S]*mcp-github-edge in us-east-1 failed")
    check("origin_secret" not in account.state["secret"], "the function still answers directly")
    account.run()
    account.succeeded("the run after that")
    equal(account.names(), ["delete-stack", "create-stack", "put-secret-value", "update-stack"], "what it does")

    # Between the second step and the third: the distribution has a secret that the function does not have yet.
    half = Account(directory).with_function().run()
    del half.state["secret"]["origin_secret"]
    half.state["stacks"]["eu-central-1/mcp-github"] = Account(directory).with_function().state["stacks"]["eu-central-1/mcp-github"]
    half.run().succeeded("after an interruption")
    equal(half.edge()["parameters"]["OriginSecret"], half.state["secret"]["origin_secret"], "both sides have one origin secret again")
    equal(half.names(), ["update-stack", "put-secret-value", "update-stack"], "what is missing is made")


def without_function(directory):
    account = Account(directory).run("--config-env", "default")
    account.succeeded("a function that is not there is deployed")
    equal(account.names(), ["sam", "sam", "create-stack", "put-secret-value", "update-stack"], "all three passes")
    equal([call["arguments"][0] for name, call in account.changes if name == "sam"], ["build", "deploy"], "what SAM does")
    account = Account(directory, programs=("aws", "curl")).run()
    account.failed("without SAM", "deploy it first")


def printed(directory):
    account = Account(directory).with_function().run("--print")
    account.succeeded("--print")
    equal(account.names(), [], "--print changes nothing")
    check("would run: aws cloudformation create-stack" in account.output, "--print shows what would be made")
    ready = Account(directory).with_function().run().run("--print", "--remove")
    ready.succeeded("--print --remove")
    equal(ready.names(), [], "--print --remove changes nothing")
    for words in ("put-secret-value", "update-stack", "delete-stack"):
        check(re.search(f"would run: aws [a-z]+ {words}", ready.output), f"--print --remove shows {words}")
    missing = Account(directory).run("--print")
    missing.succeeded("--print without a function")
    equal(missing.names(), [], "--print deploys no function")


def removed(account):
    account.run("--remove")
    account.succeeded("--remove")
    equal(account.names(), ["put-secret-value", "update-stack", "delete-stack"], "first the function answers again, then the distribution goes")
    equal(account.state["secret"], {"upstream_token": TOKEN, "auth_pin": PIN}, "the rest of the secret stays")
    equal(account.function()["parameters"]["BaseUrl"], "", "the function has its own name again")
    equal(account.edge(), None, "the distribution is gone")
    account.run("--remove")
    account.succeeded("--remove again")
    equal(account.names(), [], "nothing is left to remove")
    Account(account.directory).run("--remove").failed("--remove without a function", "there is no stack")


def by_cargo_lambda(directory):
    account = Account(directory)
    backing = Aws({"stacks": {}}, ["cloudformation", "create-stack", "--region", "x"])
    account.state["stacks"]["eu-central-1/mcp-github-backing"] = backing.make("eu-central-1/mcp-github-backing", "infra/backing.yaml", {})
    account.run("--stack", "mcp-github-backing")
    account.succeeded("a function by cargo-lambda")
    equal(account.names(), ["create-stack", "put-secret-value"], "its function is not CloudFormation's to change")
    check(f"\nBASE_URL=https://{DISTRIBUTION}\n" in account.output, "the settings for its file are shown")
    check(f"\nALSO_BASE_URLS={FUNCTION_URL.rstrip('/')}\n" in account.output, "and the further origins")


def main():
    from samcli.yamlhelper import yaml_parse

    names = ("template.yaml", "infra/backing.yaml", "infra/edge.yaml")
    with tempfile.TemporaryDirectory() as directory:
        parsed = Path(directory) / "templates.json"
        parsed.write_text(json.dumps({name: yaml_parse((ROOT / name).read_text(encoding="utf-8")) for name in names}))
        os.environ["STAND_IN_TEMPLATES"] = str(parsed)
        account = first_run(directory)
        options(directory)
        refusals(directory)
        interrupted(directory)
        without_function(directory)
        printed(directory)
        removed(account)
        by_cargo_lambda(directory)
    print(f"{checks} checks passed")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        sys.exit(act(sys.argv[2], sys.argv[3:]))
    try:
        main()
    except AssertionError as failed:
        sys.exit(f"FAILED: {failed}")
