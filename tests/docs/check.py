"""Runs the commands on the documentation's pages, and checks the pages' links, the README's list of settings, the recipes and
the workflows.

The AWS CLI is the real one. It talks to a stand-in for AWS on loopback, which has one stack and records all calls. Programs
that would build, deploy or contact another host (sam, cargo, git, curl, …) are replaced by a program that records its
arguments. If sam and cargo lambda are installed, each option must be in the command's own --help. No account, credentials
or network are needed.

    pip install -r tests/docs/requirements.txt
    python tests/docs/check.py [PAGE ...]

AWS_CLI is the path of the AWS CLI, if it is not the one next to this Python.
"""

import http.server
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "github_pat_typed-at-the-prompt"
PIN = "k7m2p9x4tq"
REGION = "eu-central-1"
SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:Secret-AbCdEf123456-a1B2c3"
PROMPT = b"Token: "
SECONDS_FOR_A_PAGE = 600

checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


# --- the pages ----------------------------------------------------------------------------------------------------


def blocks(page):
    """The code blocks for a shell: fenced ones marked sh, and indented ones. (PowerShell is fenced with its name.)"""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    found, at = [], 0
    while at < len(lines):
        line = lines[at]
        fence = re.match(r"^(\s*)```(\w*)$", line)
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            if fence[2] == "sh":
                found.append("\n".join(lines[at + 1 : end]))
            at = end + 1
        elif re.match(r"^ {4,}\S", line) and not lines[at - 1].strip():
            end = at
            while end < len(lines) and (re.match(r"^ {4,}\S", lines[end]) or not lines[end].strip()):
                end += 1
            found.append(textwrap.dedent("\n".join(lines[at:end])).strip("\n"))
            at = end
        else:
            at += 1
    return found


def spans(page, command):
    """Commands inside a line of text or a table."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [code for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text) if code.startswith(command)]


def anchors(page):
    """GitHub's anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def check_links():
    pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "tests/README.md", "events/README.md"]
    pages += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))
    for page in pages:
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"^[a-z]+:", target):
                check(target.startswith("https://"), f"{page}: {target} is not https")
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            check(file.exists(), f"{page}: {target} does not exist")
            if anchor:
                check(anchor in anchors(file.resolve().relative_to(ROOT)), f"{page}: {target}: no such heading")
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in pages:
        inside = page.removeprefix("docs/")
        check(inside in (page, "README.md") or f"]({inside})" in index, f"docs/README.md does not list {inside}")


def check_settings():
    """README's tables list every setting that the program reads, and no other."""
    read = set()
    for name in ("src/config.rs", "src/host/command/settings.rs", "src/host/lambda/mod.rs"):
        source = (ROOT / name).read_text(encoding="utf-8").partition("#[cfg(test)]")[0]
        read |= set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', source))
    # Lambda and AWS's SDKs define these; the template never sets them.
    read = {name for name in read if not name.startswith("AWS_")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Settings\n", 1)[1].split("\n## ", 1)[0]
    listed = set(re.findall(r"^\| `([A-Z]+(?:_[A-Z]+)+)`", section, re.MULTILINE)) | {"TABLE_NAME", "SECRET_ARN"}
    check(len(read) > 20 and read == listed, f"README's settings: {sorted(read ^ listed)} are only in one of README and source")


def check_recipes():
    """Each recipe has three forms, for a file, for bash and for PowerShell, and they set the same variables."""
    page = "docs/reference/recipes.md"
    fenced = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    check(len(fenced) >= 3 and len(fenced) % 3 == 0, f"{page}: a recipe does not have three forms")
    for number in range(0, len(fenced), 3):
        (kind, file), (bash_kind, bash), (powershell_kind, powershell) = fenced[number : number + 3]
        check((kind, bash_kind, powershell_kind) == ("env", "bash", "powershell"), f"{page}: the forms of\n{file}")
        wanted = dict(line.split("=", 1) for line in file.splitlines())
        shell = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", f"{bash}\nexec '{sys.executable}' -c 'import json, os; print(json.dumps(dict(os.environ)))'"],
            env={}, capture_output=True, text=True, check=True,
        )
        exported = {name: value for name, value in json.loads(shell.stdout).items() if name.isupper() and name in wanted}
        check(exported == wanted, f"{page}: bash exports {exported}, the file has {wanted}")
        check(bash.count("export ") == len(wanted), f"{page}: bash exports more than the file has: {bash}")
        # In single quotes PowerShell replaces nothing; a quote would be doubled.
        lines = [re.fullmatch(r"\$env:(\w+) = '([^']*)'", line) for line in powershell.splitlines()]
        check(all(lines), f"{page}: not an assignment in PowerShell: {powershell}")
        check({line[1]: line[2] for line in lines} == wanted, f"{page}: PowerShell differs from the file: {powershell}")


def check_workflows():
    """Actions are pinned, only the job that publishes may write, and a release is built with the versions used elsewhere."""
    for file in sorted((ROOT / ".github/workflows").glob("*.yml")):
        text = file.read_text(encoding="utf-8")
        for used in re.findall(r"uses: (.*)", text):
            check(re.fullmatch(r"[\w/-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40} # v\d+\.\d+\.\d+)", used), f"{file.name}: {used} is not pinned")
        workflow = yaml.safe_load(text)
        check(workflow["permissions"] == {"contents": "read"}, f"{file.name}: permissions")
        for name, job in workflow["jobs"].items():
            check("permissions" not in job or name == "publish", f"{file.name}: {name} has permissions of its own")
    release = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    needs = re.search(r'^rust-version = "(.*)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    check(yaml.safe_load(release)["env"]["RUST"] == needs, "release.yml has another compiler than Cargo.toml")
    tools = re.search(r"cargo-lambda==\S+ ziglang==\S+", (ROOT / ".ci/run").read_text(encoding="utf-8"))[0]
    check(tools in release, f"release.yml does not use {tools}, as .ci/run does")


# --- AWS ----------------------------------------------------------------------------------------------------------


class Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms: !Sub x becomes {"Sub": "x"}."""


def short_form(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}


Template.add_multi_constructor("!", short_form)


def outputs(name):
    """The outputs of one of our templates, with values as in a stack."""
    template = yaml.load((ROOT / name).read_text(encoding="utf-8"), Template)  # noqa: S506 (a safe loader's heir)
    values = {
        "ConnectorUrl": "https://abc123.lambda-url.eu-central-1.on.aws/mcp",
        "FunctionName": "mcp-github-Proxy-AbC",
        "LogGroupName": "/aws/lambda/mcp-github",
        "RoleArn": "arn:aws:iam::123456789012:role/role",
        "SecretArn": SECRET,
        "TableName": "mcp-github-Table-AbC",
    }
    for key, output in template["Outputs"].items():
        text = output["Value"].get("Sub") if isinstance(output["Value"], dict) else output["Value"]
        text = text if isinstance(text, str) else "x"
        filled = text.replace("${AWS::Region}", REGION).replace("${Secret}", SECRET).replace("${FunctionName}", "mcp-github")
        values.setdefault(key, re.sub(r"\$\{[\w:]+\}", "x", filled))
    return {key: values[key] for key in template["Outputs"]}


class Account:
    """One stack, one secret, and the calls that were made."""

    def __init__(self):
        self.secret = json.dumps({"upstream_token": "REPLACE-WITH-YOUR-TOKEN", "auth_pin": PIN})
        self.connections = 30
        self.asked = []

    def describe_stacks(self, name):
        template = "infra/backing.yaml" if name.endswith("-backing") else "template.yaml"
        members = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{escaped(value)}</OutputValue></member>"
            for key, value in outputs(template).items()
        )
        return (
            f"<Stacks><member><StackName>{name}</StackName><CreationTime>2026-11-01T00:00:00Z</CreationTime>"
            f"<StackStatus>UPDATE_COMPLETE</StackStatus><Outputs>{members}</Outputs></member></Stacks>"
        )

    def json(self, operation, body):
        if operation == "GetSecretValue":
            return {"ARN": SECRET, "Name": "Secret", "SecretString": self.secret}
        if operation == "PutSecretValue":
            self.secret = body["SecretString"]
            return {"ARN": SECRET, "Name": "Secret", "VersionId": "00000000-0000-4000-8000-000000000000"}
        if operation == "DescribeSecret":
            return {"ARN": SECRET, "VersionIdsToStages": {"a": ["AWSPREVIOUS"], "b": ["AWSCURRENT"]}}
        if operation == "Query":
            items = [{"pk": {"S": "connection"}, "sk": {"S": str(i)}} for i in range(min(25, self.connections))]
            return {"Items": items, "Count": len(items)}
        if operation == "BatchWriteItem":
            (requests,) = body["RequestItems"].values()
            assert len(requests) <= 25, "DynamoDB takes 25 at a time"
            self.connections -= len(requests)
            return {"UnprocessedItems": {}}
        if operation == "FilterLogEvents":
            line = "REPORT RequestId: x Duration: 3.10 ms Init Duration: 300.00 ms" if "REPORT" in body["filterPattern"] else "{}"
            return {"events": [{"message": line, "logStreamName": "x", "timestamp": 1}]}
        return {}

    def rest(self, method, path):
        """Lambda's API. The location of the code is a URL that the replaced curl never opens."""
        if path.endswith("/url"):
            return "UrlConfig", {"AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM", "FunctionUrl": "https://abc123.example.com/"}
        if path.endswith("/policy"):
            statements = [{"Action": "lambda:InvokeFunctionUrl"}, {"Action": "lambda:InvokeFunction"}]
            return "GetPolicy", {"Policy": json.dumps({"Statement": statements})}
        if path.endswith("/versions"):
            return "ListVersionsByFunction", {"Versions": [{"Version": "1", "LastModified": "2026-11-01"}]}
        if path.endswith("/concurrency"):
            return f"{method}Concurrency", {}
        if path.endswith("/code"):
            return "UpdateFunctionCode", {"LastUpdateStatus": "InProgress"}
        return f"{method}Function", {"Code": {"Location": "https://code.example.com/package.zip"}}


def escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def serve(account):
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            target, kind = self.headers.get("x-amz-target"), "application/x-amz-json-1.1"
            cbor = re.search(r"/operation/(\w+)$", self.path)
            if cbor:
                account.asked.append(cbor[1])
                self.reply("application/cbor", b"\xa0", {"smithy-protocol": "rpc-v2-cbor"})
            elif target:
                operation = target.rpartition(".")[2]
                account.asked.append(operation)
                self.reply(kind, json.dumps(account.json(operation, json.loads(body or b"{}"))).encode())
            elif self.path.startswith("/20"):
                operation, document = account.rest(self.command, self.path.partition("?")[0])
                account.asked.append(operation)
                self.reply("application/json", json.dumps(document).encode())
            else:
                form = dict(urllib.parse.parse_qsl(body.decode()))
                action = form["Action"]
                account.asked.append(action)
                inner = {
                    "DescribeStacks": lambda: account.describe_stacks(form.get("StackName", "mcp-github")),
                    "GetTemplateSummary": lambda: "<Parameters><member><ParameterKey>x</ParameterKey></member></Parameters>",
                    "CreateChangeSet": lambda: "<Id>arn:aws:cloudformation:x:1:changeSet/x</Id>",
                    "DescribeChangeSet": lambda: "<Status>CREATE_COMPLETE</Status>",
                    "GetCallerIdentity": lambda: "<Account>123456789012</Account>",
                }.get(action, str)()
                text = f"<{action}Response><{action}Result>{inner}</{action}Result></{action}Response>"
                self.reply("text/xml", text.encode())

        def reply(self, kind, body, headers=()):
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


# --- the shell ----------------------------------------------------------------------------------------------------

# Writes one record for each call: the name and the arguments. `aws` then runs the real AWS CLI.
RECORD = """#!/bin/sh
{ printf '%s' "${0##*/}"; for word; do printf '\\037%s' "$word"; done; printf '\\036'; } >> "$RECORDED"
"""
REPLACED = """sam cargo git curl rustup claude npx sudo dig file nano rustc openssl tailscale cloudflared ngrok install
    journalctl""".split()


def run(page, code, account, server):
    """Runs a page's commands in bash with a terminal, and types the token at each prompt."""
    with tempfile.TemporaryDirectory() as home:
        bin_dir = Path(home) / "bin"
        bin_dir.mkdir()
        aws = os.environ.get("AWS_CLI") or str(Path(sys.executable).with_name("aws"))
        for name in REPLACED:
            (bin_dir / name).write_text(RECORD)
        # A page may use the file that it downloads.
        download = """case "$*" in *@-*) cat > /dev/null ;; esac
while [ $# -gt 1 ]; do
    # The shortest valid zip file.
    if [ "$1" = -o ] && [ "$2" != /dev/null ]; then { printf 'PK\\005\\006'; head -c 18 /dev/zero; } > "$2"; fi
    shift
done
printf 200
"""
        (bin_dir / "curl").write_text(RECORD + download)
        (bin_dir / "aws").write_text(RECORD + f'exec "{aws}" "$@"\n')
        for file in bin_dir.iterdir():
            file.chmod(0o755)
        work = Path(home) / "work"
        work.mkdir()
        for name in ("infra", "docs", "samconfig.toml", "template.yaml"):
            (work / name).symlink_to(ROOT / name)
        recorded = Path(home) / "recorded"
        recorded.touch()
        environment = {
            "PATH": f"{bin_dir}:{os.environ['PATH']}",
            "HOME": home,
            "TERM": "xterm",
            "RECORDED": str(recorded),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        script = Path(home) / "page.sh"
        script.write_text("set -e -o pipefail\n" + code + "\n")
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(work)
            os.execvpe("bash", ["bash", "--noprofile", "--norc", str(script)], environment)
        shown, answered, until = b"", 0, time.monotonic() + SECONDS_FOR_A_PAGE
        while time.monotonic() < until:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
            if shown.count(PROMPT) > answered:
                answered += 1
                os.write(terminal, TOKEN.encode() + b"\n")
        else:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        text = shown.decode(errors="replace")
        check(os.waitstatus_to_exitcode(status) == 0, f"{page}: the commands fail:\n{text[-3000:]}")
        calls = [call.split("\x1f") for call in recorded.read_text().split("\x1e") if call]
        for call in calls:
            check(not any(TOKEN in word for word in call), f"{page}: the token is an argument of {call[0]}")
        check(TOKEN not in text, f"{page}: the terminal shows the token")
        return text, calls, answered


def options_of(command):
    """The options in the command's own --help; None if it is not installed."""
    if not shutil.which(command[0]):
        return None
    tool = subprocess.run([*command, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if tool.returncode:
        return None
    return set(re.findall(r"(?<![\w-])--?[\w-]+", tool.stdout + tool.stderr))


def check_options(page, calls, known):
    for name, *words in calls:
        command = {"sam": 1, "cargo": 2}.get(name)
        if command is None or (name == "cargo" and words[:1] != ["lambda"]) or words[:1] == ["--version"]:
            continue
        key = (name, *words[:command])
        if key not in known:
            known[key] = options_of(key)
        for word in words[command:]:
            option = word.partition("=")[0]
            if known[key] is not None and option.startswith("--"):
                check(option in known[key], f"{page}: {' '.join(key)} has no {option}")


# Which blocks of a page are run, what replaces the reader's own values, and which calls AWS must have received. A block that
# contains one of `without` is left out.
PAGES = {
    "README.md": {
        "asked": {"DescribeStacks", "GetSecretValue", "PutSecretValue"},
    },
    "docs/deploy/sam.md": {
        # Installations, variables that this script sets, and a line of samconfig.toml.
        "without": ("pip install", "rustup target", "env | grep", '"""'),
        "asked": {"DescribeStacks", "GetSecretValue", "PutSecretValue"},
    },
    "docs/deploy/cargo-lambda.md": {
        "without": ("pip install", "AWS_LAMBDA_RUNTIME_API"),
        "asked": set(
            "CreateChangeSet ExecuteChangeSet DescribeStacks GetSecretValue PutSecretValue UrlConfig ListVersionsByFunction".split()
        ),
    },
    "docs/deploy/browser.md": {
        "without": ("pip install", "sed -i", "tar -", "uname"),
        "asked": {"DescribeStacks", "GetSecretValue", "PutSecretValue"},
    },
    "docs/deploy/tunnel.md": {"asked": set()},
    "docs/deploy/systemd.md": {"asked": set()},
    "docs/operate/operations.md": {
        # Queries for the console.
        "without": ("filter event", "COMMIT"),
        "asked": set(
            """DescribeStacks GETFunction UpdateFunctionCode GetSecretValue PutSecretValue Query BatchWriteItem
            PUTConcurrency DELETEConcurrency DeleteItem FilterLogEvents GetCallerIdentity CreateBudget
            DescribeBudgets DeleteBudget""".split()
        ),
    },
    "docs/deploy/assistant.md": {
        "spans": ("aws ", "curl ", "sam ", "URL="),
        "replace": {"…": "x", "--account-id ACCOUNT": "--account-id 123456789012"},
        "asked": {"DescribeStacks", "DescribeSecret", "UrlConfig", "FilterLogEvents", "GETFunction", "UpdateFunctionCode", "GetPolicy"},
    },
    "docs/first-deployment-check.md": {
        # These need a client that is signed in, or show errors of AWS after a removal.
        "without": ("mcp-remote-client", "MCP_REMOTE_CONFIG_DIR", "mcp -o", "describe-secret"),
        "replace": {"sleep 20": ":", "$DIRECT": "https://direct.example.com", " | grep -iE '^(HTTP": " | grep -iEc '^(200"},
        "asked": set("DescribeStacks GetPolicy UrlConfig GetSecretValue PutSecretValue FilterLogEvents ListMetrics DescribeAlarms".split()),
    },
    "docs/operate/troubleshooting.md": {
        "without": ("/mcp 401",),
        "replace": {" URL": " https://mcp.example.com/mcp", " BASE": " https://mcp.example.com", "HOST": "mcp.example.com"},
        "before": "docs/operate/operations.md",
        "asked": {"DescribeStacks", "FilterLogEvents"},
    },
}


def main():
    check_links()
    check_settings()
    check_recipes()
    check_workflows()
    known = {}
    for page in sys.argv[1:] or PAGES:
        how = PAGES[page]
        code = [block for block in blocks(page) if not any(word in block for word in how.get("without", ()))]
        code = [block for block in code if any(word in block for word in how.get("only", ("",)))]
        if "before" in how:
            code.insert(0, next(block for block in blocks(how["before"]) if "output()" in block))
        for command in how.get("spans", ()):
            code += [f"{span} || [ $? -lt 200 ]" for span in spans(page, command)]
        text = "\n".join(code)
        for old, new in how.get("replace", {}).items():
            check(old in text, f"{page}: {old} is not there to be replaced")
            text = text.replace(old, new)
        account = Account()
        server = serve(account)
        try:
            shown, calls, answered = run(page, text, account, server)
        finally:
            server.shutdown()
        check(not re.search(r"(?i)unknown options|parsing parameter|invalid choice|traceback", shown), f"{page}:\n{shown[-3000:]}")
        missing = how["asked"] - set(account.asked)
        check(not missing, f"{page}: never asked for {missing}; asked for {sorted(set(account.asked))}")
        if "PutSecretValue" in how["asked"]:
            secret = json.loads(account.secret)
            check(answered >= 1, f"{page}: the token was not asked for")
            check(secret["upstream_token"] == TOKEN, f"{page}: the token typed is not the token set")
            check(page == "docs/operate/operations.md" or secret["auth_pin"] == PIN, f"{page}: the PIN has changed")
        check_options(page, calls, known)
        print(f"{page}: {len(code)} blocks, {len(calls)} commands, {len(account.asked)} calls to AWS")
    print(f"{checks} checks passed")


if __name__ == "__main__":
    main()
