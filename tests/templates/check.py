"""Checks what the linters do not: the CloudFormation that SAM creates from template.yaml, and infra/backing.yaml,
infra/edge.yaml, samconfig.toml and events/. No credentials and no network are needed.

    pip install -r tests/templates/requirements.txt
    python tests/templates/check.py
"""

import contextlib
import io
import json
import logging
import os
import re
import sys
import tomllib
from pathlib import Path
from unittest import mock

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
# The translator warns that its own usage metrics are not collected.
logging.getLogger("samtranslator.metrics").setLevel(logging.ERROR)

from cloudformation import Stack, allowed, longest_text  # noqa: E402
from samcli.cli.types import CfnParameterOverridesType  # noqa: E402
from samcli.lib.deploy.deployer import Deployer  # noqa: E402
from samcli.yamlhelper import yaml_parse  # noqa: E402
from samtranslator.translator.transform import transform  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]

# The settings on Lambda. Those for one machine (UPSTREAM_TOKEN, AUTH_PIN, TRUSTED_PROXY_HEADER) must not be there.
VARIABLES = set(
    """BASE_URL ALSO_BASE_URLS UPSTREAM_MCP UPSTREAM_TRANSPORT UPSTREAM_AUTH_HEADER UPSTREAM_AUTH_SCHEME
    UPSTREAM_HEADERS FORWARD_HEADERS GET_STREAMS STREAM_MAX_SECONDS UPSTREAM_FIRST_BYTE_SECONDS ACCESS_TOKEN_SECONDS
    REFRESH_TOKEN_SECONDS REFRESH_GRACE_SECONDS REGISTRATION LANDING_PAGE LOG_FORMAT TABLE_NAME SECRET_ARN
    UPSTREAM_NAME MANUAL_TOKENS ACTIVITY_DAYS""".split()
)
ACTIONS = {
    "State": ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"],
    "Secret": ["secretsmanager:GetSecretValue"],
    "Logs": ["logs:CreateLogStream", "logs:PutLogEvents"],
}
OUR_METRICS = {
    "WrongPinAlarm",
    "ClientAuthorized",
    "ReplayFound",
    "UpstreamCredentialRefused",
    "SecretUnavailable",
    "ServerError",
}
# Metrics of AWS that the dashboard shows, each with the dimension that it has.
AWS_METRICS = {
    "AWS/Lambda": ("FunctionName", {"Invocations", "Errors", "Throttles", "Duration", "ConcurrentExecutions"}),
    "AWS/DynamoDB": ("TableName", {"ConsumedWriteCapacityUnits", "ConsumedReadCapacityUnits", "WriteThrottleEvents"}),
}
# Fields that are not in docs/operate/logs-and-metrics.md: from Lambda, from tracing, and from CloudWatch.
COMMON_FIELDS = {"timestamp", "level", "target", "event", "message", "span.request_id", "@timestamp", "@message"}
QUERY_WORDS = set("fields filter sort stats limit desc asc by as in and or not like count max coalesce ispresent".split())
# Lambda's limit for the description of a function; other services allow more.
LONGEST_DESCRIPTION = 256
PLACEHOLDER = "REPLACE-WITH-YOUR-TOKEN"

checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


def equal(found, wanted, what):
    check(found == wanted, f"{what}: expected {wanted!r}, found {found!r}")


def readable(text, what):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise AssertionError(f"{what} is not JSON: {error}") from None


def source(name):
    """The template as written, with short forms (!Ref) in their long form."""
    return yaml_parse((ROOT / name).read_text(encoding="utf-8"))


def translated(**parameters):
    """Plain CloudFormation, as AWS creates it from template.yaml."""
    template = source("template.yaml")
    # `sam package` writes an S3 address here; the translator does not accept a local path.
    template["Resources"]["Proxy"]["Properties"]["CodeUri"] = "s3://bucket.example/key"

    class NoManagedPolicies:
        def load(self):
            return {}

    return transform(template, parameters, NoManagedPolicies())


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


def statements(role):
    found = [s for policy in role["Policies"] for s in policy["PolicyDocument"]["Statement"]]
    return {s["Sid"]: s for s in found}


def listed(value):
    return value if isinstance(value, list) else [value]


def strings(node):
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def check_function(template):
    functions = of_type(template, "AWS::Lambda::Function")
    equal(list(functions), ["Proxy"], "the functions")
    function = functions["Proxy"]
    equal(function["Runtime"], "provided.al2023", "the runtime")
    equal(function["Handler"], "bootstrap", "the handler")
    equal(function["Architectures"], [{"Ref": "Architecture"}], "the architecture follows the parameter")
    equal(function["Timeout"], {"Ref": "Timeout"}, "the time-out follows the parameter")
    equal(function["MemorySize"], {"Ref": "MemorySize"}, "the memory follows the parameter")
    equal(function["Role"], {"Fn::GetAtt": ["Role", "Arn"]}, "the role is our own")
    equal(function["LoggingConfig"], {"LogFormat": "Text", "LogGroup": {"Ref": "LogGroup"}}, "the log group is our own")
    reserved = ["HasReservedConcurrency", {"Ref": "ReservedConcurrency"}, {"Ref": "AWS::NoValue"}]
    equal(function["ReservedConcurrentExecutions"], {"Fn::If": reserved}, "no concurrency is reserved unless asked for")
    variables = function["Environment"]["Variables"]
    equal(set(variables), VARIABLES, "the environment variables")
    equal(variables["TABLE_NAME"], {"Ref": "Table"}, "TABLE_NAME")
    equal(variables["SECRET_ARN"], {"Ref": "Secret"}, "SECRET_ARN")
    for name, value in variables.items():
        known = value == "json" or value.get("Ref") in template["Parameters"] or value.get("Ref") in ("Table", "Secret")
        check(known, f"{name} comes from {value!r}, which is neither a parameter nor a resource of the stack")
        parameter = "".join(word.capitalize() for word in name.split("_"))
        if parameter in template["Parameters"]:
            equal(value, {"Ref": parameter}, f"{name} follows the parameter of its name")
    text = json.dumps([function[key] for key in function if key != "Architectures"])
    check("ProxyUrl" not in text, "the function must not refer to its own URL: a circle")


def check_url(template):
    urls = of_type(template, "AWS::Lambda::Url")
    equal(len(urls), 1, "the number of function URLs")
    (url,) = urls.values()
    equal(url["AuthType"], "NONE", "the URL's authentication")
    equal(url["InvokeMode"], "RESPONSE_STREAM", "the URL's invoke mode")
    check("Cors" not in url, "the URL must have no CORS block: the program answers preflights itself")
    permissions = list(of_type(template, "AWS::Lambda::Permission").values())
    equal(len(permissions), 2, "the number of permissions")
    by_action = {permission["Action"]: permission for permission in permissions}
    equal(set(by_action), {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}, "the public's two permissions")
    for permission in permissions:
        equal(permission["Principal"], "*", "who may call the URL")
        equal(permission["FunctionName"], {"Ref": "Proxy"}, "which function the permission is for")
    equal(by_action["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"], "NONE", "the condition on the URL's authentication")
    check(by_action["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True, "the public may invoke through the URL alone")


def check_architecture():
    parameter = source("template.yaml")["Parameters"]["Architecture"]
    equal(parameter["Default"], "arm64", "the default architecture")
    equal(parameter["AllowedValues"], ["arm64", "x86_64"], "the architectures")
    for architecture in parameter["AllowedValues"]:
        function = of_type(translated(Architecture=architecture), "AWS::Lambda::Function")["Proxy"]
        equal(function["Architectures"], [{"Ref": "Architecture"}], f"the architecture for {architecture}")
    metadata = source("template.yaml")["Resources"]["Proxy"]["Metadata"]
    # A makefile does not learn the architecture; this method does.
    equal(metadata["BuildMethod"], "rust-cargolambda", "the build method")


def check_standing(name, template):
    """Table, secret, log group and role: the same in both templates."""
    (table,) = of_type(template, "AWS::DynamoDB::Table").values()
    equal(table["BillingMode"], "PAY_PER_REQUEST", f"{name}: how the table is billed")
    equal(table["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True}, f"{name}: the TTL attribute")
    keys = [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]]
    equal(keys, [("pk", "HASH"), ("sk", "RANGE")], f"{name}: the table's keys")
    kinds = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
    equal(kinds, {"pk": "S", "sk": "S"}, f"{name}: the keys' types")
    check("GlobalSecondaryIndexes" not in table, f"{name}: the role covers no index")
    check("TableName" not in table, f"{name}: a fixed table name would stand in the way of a second stack")

    (secret,) = of_type(template, "AWS::SecretsManager::Secret").values()
    check("Name" not in secret, f"{name}: a deleted secret blocks its name for 30 days")
    check("SecretString" not in secret, f"{name}: the secret's value must not stand in the template")
    generate = secret["GenerateSecretString"]
    check(isinstance(generate["SecretStringTemplate"], str), f"{name}: the secret's template takes no parameter")
    found = readable(generate["SecretStringTemplate"], f"{name}: the secret's template")
    equal(found, {"upstream_token": PLACEHOLDER}, f"{name}: the secret's template")
    equal(generate["GenerateStringKey"], "auth_pin", f"{name}: what is generated")
    equal(generate["PasswordLength"], 10, f"{name}: the PIN's length")
    check(generate["ExcludePunctuation"] and generate["ExcludeUppercase"], f"{name}: the PIN has letters and digits only")
    check(set("01OIilo") <= set(generate["ExcludeCharacters"]), f"{name}: the PIN has no look-alikes")

    (group,) = of_type(template, "AWS::Logs::LogGroup").values()
    equal(group["RetentionInDays"], {"Ref": "LogRetentionDays"}, f"{name}: log retention")

    (role,) = of_type(template, "AWS::IAM::Role").values()
    check("ManagedPolicyArns" not in role, f"{name}: managed policies are wider than needed")
    trust = role["AssumeRolePolicyDocument"]["Statement"]
    equal([s["Principal"] for s in trust], [{"Service": "lambda.amazonaws.com"}], f"{name}: who may take the role")
    found = statements(role)
    equal({sid: listed(s["Action"]) for sid, s in found.items()}, ACTIONS, f"{name}: what the function may do")
    resources = {
        "State": {"Fn::GetAtt": ["Table", "Arn"]},
        "Secret": {"Ref": "Secret"},
        "Logs": {"Fn::GetAtt": ["LogGroup", "Arn"]},
    }
    equal({sid: s["Resource"] for sid, s in found.items()}, resources, f"{name}: to what")

    for kind in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        for resource in of_type(template, kind).values():
            policies = [p["PolicyDocument"] for p in resource.get("Policies", [])]
            policies += [resource["PolicyDocument"]] if "PolicyDocument" in resource else []
            for statement in (s for policy in policies for s in policy["Statement"]):
                for key in ("Action", "Resource"):
                    check("*" not in "".join(strings([statement[key]])), f"{name}: no wildcard in a policy's {key}")
                check("NotAction" not in statement and "NotResource" not in statement, f"{name}: policies say what, not what not")
    for resource, entry in template["Resources"].items():
        if entry["Type"] in ("AWS::DynamoDB::Table", "AWS::SecretsManager::Secret", "AWS::Logs::LogGroup"):
            equal(entry.get("DeletionPolicy"), "Delete", f"{name}: removing the stack removes {resource}")


def check_parameters(name, template):
    for parameter, entry in template["Parameters"].items():
        lower = parameter.lower()
        secret = re.search(r"(pin|secret|password|credential|pat|apikey|upstreamtoken)$", lower)
        check(not secret, f"{name}: {parameter} looks like a secret, and a parameter is no place for one")
        check("NoEcho" not in entry, f"{name}: {parameter} is hidden, so it is a secret")
        check("Default" in entry, f"{name}: {parameter} has no default")
        check(entry.get("Description"), f"{name}: {parameter} is not described")
        check(f'"Ref": "{parameter}"' in json.dumps(template) or f"${{{parameter}}}" in json.dumps(template), f"{name}: {parameter} is not used")


def check_alarms(template):
    alarms = of_type(template, "AWS::CloudWatch::Alarm")
    for alarm, entry in alarms.items():
        equal(entry["Dimensions"], [{"Name": "FunctionName", "Value": {"Ref": "Proxy"}}], f"{alarm}: the dimension")
        notify = {"Fn::If": ["HasNotification", [{"Ref": "Notifications"}], {"Ref": "AWS::NoValue"}]}
        equal(entry["AlarmActions"], notify, f"{alarm}: it notifies only if there is an address")
        equal(entry["TreatMissingData"], "notBreaching", f"{alarm}: silence is good")
        equal(template["Resources"][alarm]["Condition"], "HasAlarms", f"{alarm}: it can be switched off")
    by_namespace = {}
    for entry in alarms.values():
        by_namespace.setdefault(entry["Namespace"], set()).add(entry["MetricName"])
    wanted = {"LambdaOAuthMcpProxy": OUR_METRICS, "AWS/Lambda": {"Errors", "Throttles", "Duration"}}
    equal(by_namespace, wanted, "the metrics with an alarm")
    timeout = alarms["TimeoutAlarm"]
    equal(timeout["Statistic"], "Maximum", "time-outs are seen in the longest run")
    equal(timeout["Threshold"], {"Fn::Sub": "${Timeout}000"}, "a time-out is a run of Timeout seconds, in milliseconds")
    (topic,) = (name for name, r in template["Resources"].items() if r["Type"] == "AWS::SNS::Topic")
    equal(template["Resources"][topic]["Condition"], "HasNotification", "no topic without an address")


def check_descriptions(name, template):
    for resource, entry in template["Resources"].items():
        for key in ("Description", "AlarmDescription", "Comment"):
            if key in entry.get("Properties", {}):
                length = longest_text(template, entry["Properties"][key])
                check(length <= LONGEST_DESCRIPTION, f"{name}: {resource}'s {key} can have {length} characters")


def check_write_limit(name, template):
    def limit(**parameters):
        return Stack(template, parameters).resource("Table").get("OnDemandThroughput")

    equal(limit(), {"MaxWriteRequestUnits": "25"}, f"{name}: the table's write limit")
    equal(limit(MaxWriteRequestUnits="10"), {"MaxWriteRequestUnits": "10"}, f"{name}: another limit")
    equal(limit(MaxWriteRequestUnits=""), None, f"{name}: no limit")
    for refused in ("0", "9", "-1", "1.5", "no"):
        try:
            limit(MaxWriteRequestUnits=refused)
        except AssertionError:
            continue
        raise AssertionError(f"{name}: a write limit of {refused!r} is taken")


def check_log_groups(template, backing):
    """A stack of each template in one region, with the same name: they do not need the same log group."""
    for name in ("mcp-github", "a", "aws", "lambda-oauth-mcp-proxy"):
        ours = Stack(template, pseudo={"AWS::StackName": name}).resource("LogGroup")["LogGroupName"]
        theirs = Stack(backing, {"FunctionName": name}, {"AWS::StackName": name}).resource("LogGroup")["LogGroupName"]
        equal(theirs, f"/aws/lambda/{name}", "Lambda's own name for the group of a function")
        check(not ours.startswith("/aws/"), f"{ours} is a name that AWS may give to a group")
        check(ours.endswith(f"/{name}"), f"{ours} does not say whose it is")


def documented():
    """What docs/operate/logs-and-metrics.md lists (tests/repo/log_events.rs compares it with the source): the fields of each
    event, and the metrics."""
    page = (ROOT / "docs/operate/logs-and-metrics.md").read_text(encoding="utf-8")
    events, metrics = page.split("## Metrics")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", events, re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}, set(re.findall(r"^\| `(\w+)`", metrics, re.MULTILINE))


def check_query(what, query):
    """Every event and every field that a query names is written by the program."""
    events, _ = documented()
    fields = set().union(*events.values()) | COMMON_FIELDS
    named = [word for words in re.findall(r'event (?:in|=) (\[[^\]]*\]|"\w+")', query) for word in re.findall(r"\w+", words)]
    for event in named:
        check(event in events, f"{what}: no event is called {event}")
    text = re.sub(r'"[^"]*"|/[^/]*/|SOURCE \'[^\']*\'', "", query)
    given = set(re.findall(r"\bas (\w+)", text))
    for word in set(re.findall(r"@?[A-Za-z_][\w.]*", text)) - given - QUERY_WORDS:
        check(word in fields, f"{what}: no line has a field {word}")
    # A field that none of the named events has would always be empty.
    if named:
        of_these = set().union(*(events[event] for event in named)) | COMMON_FIELDS
        for word in set(re.findall(r"\b[a-z_]+\b", text.split("|")[0])) - QUERY_WORDS:
            check("level" in text or word in of_these, f"{what}: no event of these has a field {word}")


def check_queries(name, template):
    wanted = {"WhoConnectedQuery": "who connected", "ConnectionsQuery": "what each connection did", "ErrorsQuery": "errors"}
    on, off = Stack(template, pseudo={"AWS::StackName": "mcp-github"}), Stack(template, {"SavedQueries": "off"})
    equal(set(of_type(template, "AWS::Logs::QueryDefinition")), set(wanted), f"{name}: the saved queries")
    for query, title in wanted.items():
        check(not off.has("Resources", query), f"{name}: {query} can be switched off")
        properties = on.resource(query)
        equal(properties["Name"], f"mcp-github/{title}", f"{name}: the name of {query}")
        equal(properties["LogGroupNames"], ["<LogGroup>"], f"{name}: the log that {query} reads")
        check_query(f"{name}: {query}", properties["QueryString"])
    for event in ("registered", "authorized", "issued", "revoked"):
        check(event in on.resource("WhoConnectedQuery")["QueryString"], f"{name}: who connected: {event}")
    for field in ("connection", "client_id", "mcp_method", "mcp_name"):
        check(field in on.resource("ConnectionsQuery")["QueryString"], f"{name}: what each connection did: {field}")


def check_dashboard(template):
    (dashboard,) = of_type(template, "AWS::CloudWatch::Dashboard")
    check(not Stack(template).has("Resources", dashboard), "a dashboard is made only for who asks: it may cost $3 a month")
    where = {"AWS::StackName": "mcp-github", "AWS::Region": "eu-central-1"}
    properties = Stack(template, {"Dashboard": "on"}, where).resource(dashboard)
    equal(properties["DashboardName"], "mcp-github-eu-central-1", "the dashboard's name, unique among all regions")
    widgets = readable(properties["DashboardBody"], "the dashboard")["widgets"]
    _, ours = documented()
    shown = set()
    for widget in widgets:
        equal(widget["properties"]["region"], "eu-central-1", "the region of a widget")
        check(widget["x"] + widget["width"] <= 24, "a widget stands within the dashboard's 24 columns")
        if widget["type"] == "log":
            query = widget["properties"]["query"]
            check(query.startswith("SOURCE '<LogGroup>' | "), "a widget reads the stack's own log")
            check_query(widget["properties"]["title"], query)
            continue
        for namespace, metric, dimension, value, *_ in widget["properties"]["metrics"]:
            of, known = AWS_METRICS.get(namespace, ("FunctionName", ours if namespace == "LambdaOAuthMcpProxy" else set()))
            check(metric in known, f"the dashboard shows {namespace} {metric}, which nobody writes")
            equal((dimension, value), (of, "<Proxy>" if of == "FunctionName" else "<Table>"), f"the dimension of {metric}")
            shown.add(metric)
    check(OUR_METRICS - {"WrongPinAlarm"} <= shown, "the dashboard shows what has an alarm")
    check(len(shown) <= 50, "a free dashboard has at most 50 metrics")


def check_connector_url(template):
    attributes = {"ProxyUrl.FunctionUrl": "https://id.lambda-url.eu-central-1.on.aws/"}
    own = Stack(template, attributes=attributes)
    equal(own.output("ConnectorUrl"), "https://id.lambda-url.eu-central-1.on.aws/mcp", "the connector URL")
    domain = Stack(template, {"BaseUrl": "https://mcp.example.com"}, attributes=attributes)
    equal(domain.output("ConnectorUrl"), "https://mcp.example.com/mcp", "the connector URL follows BaseUrl")
    equal(domain.output("FunctionUrl"), attributes["ProxyUrl.FunctionUrl"], "the Function URL stays an output")


def check_sam_table(template):
    """SAM prints the outputs in a table that breaks lines, and a broken command does not run. So the description of each
    output that can be broken must say so."""
    attributes = {
        "ProxyUrl.FunctionUrl": f"https://{'a' * 32}.lambda-url.ap-southeast-2.on.aws/",
        "Secret": "arn:aws:secretsmanager:ap-southeast-2:123456789012:secret:Secret-Ab0123456789-AbCdEf",
        "Table": "mcp-github-Table-ABCDEFGHIJKL",
        "Proxy": "mcp-github-Proxy-ABCDEFGHIJKL",
        "LogGroup": "/lambda-oauth-mcp-proxy/mcp-github",
    }
    stack = Stack(template, pseudo={"AWS::StackName": "mcp-github"}, attributes=attributes)
    for key, entry in template["Outputs"].items():
        value, printed = stack.output(key), io.StringIO()
        # A terminal with 80 columns; SAM uses at least 100.
        with contextlib.redirect_stdout(printed), mock.patch.dict(os.environ, {"COLUMNS": "80"}):
            Deployer._display_stack_outputs([{"OutputKey": key, "Description": "-", "OutputValue": value}])
        if value not in printed.getvalue():
            check("breaks" in entry["Description"], f"{key} is broken by SAM's table and does not say so")
        elif " " in value:
            raise AssertionError(f"{key}: a command, and SAM's table does not break it? Then this check sees nothing.")


# CloudFront Developer Guide, "Use managed cache policies" and "Use managed origin request policies".
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST_HEADER = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
ERRORS_THAT_CLOUDFRONT_KEEPS = {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
EDGE = {"FunctionUrl": "https://abc123.lambda-url.eu-central-1.on.aws/", "OriginSecret": "0123456789abcdef" * 4}
STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/mcp-github-edge/11111111-2222-3333-4444-555555555555"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-2222-3333-4444-555555555555"


def edge_stack(template, **parameters):
    return Stack(template, EDGE | parameters, {"AWS::StackId": STACK_ID}, {"Distribution.DomainName": "d111111abcdef8.cloudfront.net"})


def check_edge_distribution(template):
    stack = edge_stack(template)
    config = stack.resource("Distribution")["DistributionConfig"]
    check("CacheBehaviors" not in config, "one behavior for all paths: none can have /mcp/* without /mcp")
    behavior = config["DefaultCacheBehavior"]
    equal(behavior["CachePolicyId"], CACHING_DISABLED, "nothing is cached")
    equal(behavior["OriginRequestPolicyId"], ALL_VIEWER_EXCEPT_HOST_HEADER, "all headers but Host go on")
    equal(set(behavior["AllowedMethods"]), {"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"}, "the methods")
    equal(behavior["ViewerProtocolPolicy"], "https-only", "plain http is refused, not redirected")
    equal(behavior["Compress"], False, "events are not held back")
    found = [(a["EventType"], a["FunctionARN"]) for a in behavior["FunctionAssociations"]]
    equal(found, [("viewer-request", "<ViewerRequest.FunctionARN>")], "the functions")
    check("LambdaFunctionAssociations" not in behavior, "no Lambda@Edge (docs/decisions.md)")
    equal((config["HttpVersion"], config["IPV6Enabled"], config["Enabled"]), ("http2and3", True, True), "the protocols")
    kept = {error["ErrorCode"] for error in config["CustomErrorResponses"] if error["ErrorCachingMinTTL"] == 0}
    equal(kept, ERRORS_THAT_CLOUDFRONT_KEEPS, "errors that are not cached")
    check(all(set(e) == {"ErrorCode", "ErrorCachingMinTTL"} for e in config["CustomErrorResponses"]), "error bodies are the program's")
    (origin,) = config["Origins"]
    equal(origin["DomainName"], "abc123.lambda-url.eu-central-1.on.aws", "the origin's host")
    equal(origin["Id"], behavior["TargetOriginId"], "the origin is the behavior's")
    secret = [{"HeaderName": "x-origin-secret", "HeaderValue": EDGE["OriginSecret"]}]
    equal(origin["OriginCustomHeaders"], secret, "what proves where a request came from")
    check("OriginAccessControlId" not in origin, "origin access control would replace the client's token")
    equal(origin["CustomOriginConfig"]["OriginProtocolPolicy"], "https-only", "the way to the function")
    equal(origin["CustomOriginConfig"]["OriginReadTimeout"], "60", "the longest time-out that needs no quota")
    equal(config["ViewerCertificate"], {"CloudFrontDefaultCertificate": True}, "the certificate without a domain")
    check(not {"Aliases", "WebACLId", "Logging"} & set(config), "what is optional is off")
    made = {name for name in template["Resources"] if stack.has("Resources", name)}
    equal(made, {"ViewerRequest", "Distribution"}, "what is made without any option")
    equal(stack.output("BaseUrl"), "https://d111111abcdef8.cloudfront.net", "the base URL without a domain")
    equal(stack.output("ConnectorUrl"), "https://d111111abcdef8.cloudfront.net/mcp", "the connector URL without a domain")


def check_edge_function(template):
    function = edge_stack(template).resource("ViewerRequest")
    equal(function["FunctionConfig"]["Runtime"], "cloudfront-js-2.0", "the function's runtime")
    equal(function["AutoPublish"], True, "the function is published")
    check(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", function["Name"]), f"{function['Name']} is no name of a function")
    check(STACK_ID.split("/")[2] in function["Name"], f"{function['Name']} is not the stack's own")
    check(len(function["FunctionConfig"]["Comment"]) <= 128, "the function's comment")
    longest_domain = int(template["Parameters"]["DomainName"]["MaxLength"])
    check(len(function["FunctionCode"].encode()) + longest_domain <= 10240, "the function has at most 10 KB")
    check("`" not in function["FunctionCode"], "no template literal: Sub would take its braces for a parameter")
    values = source("template.yaml")["Parameters"]["UpstreamTransport"]
    equal(template["Parameters"]["UpstreamTransport"]["AllowedValues"], values["AllowedValues"], "the transports")
    equal(template["Parameters"]["UpstreamTransport"]["Default"], values["Default"], "the default transport")


def check_edge_parameters(template):
    parameters = template["Parameters"]
    secret = parameters["OriginSecret"]
    check(secret["NoEcho"] is True and "Default" not in secret, "the origin secret is hidden and has no default")
    for value, good in (("a" * 32, True), ("0123456789abcdef" * 4, True), ("a" * 31, False), ("a" * 40 + " ", False), ("", False)):
        equal(bool(allowed(secret, value)), good, f"the origin secret {value!r}")
    for name, entry in parameters.items():
        check("NoEcho" not in entry or name == "OriginSecret", f"{name} is hidden")
        check(entry.get("Description"), f"{name} is not described")
    check("resolve:" not in json.dumps(template), "dynamic references do not reach another region")
    for url, good in (
        (EDGE["FunctionUrl"], True),
        ("https://abc.lambda-url.us-east-1.on.aws", True),
        ("http://abc.lambda-url.us-east-1.on.aws/", False),
        ("https://abc.lambda-url.us-east-1.on.aws/mcp", False),
        ("https://evil.example/.lambda-url.us-east-1.on.aws/", False),
        ("https://mcp.example.com", False),
    ):
        equal(bool(allowed(parameters["FunctionUrl"], url)), good, f"the function URL {url}")
    for name, good in (
        ("mcp.example.com", True), ("a-b.example", True), ("", True), ("MCP.example.com", False), ("mcp", False), ("mcp.example.com.", False),
        ("*.example.com", False), ("mcp.example.com/x", False), ("x';//.example.com", False), ("-a.example.com", False), ("192.0.2.1", False),
    ):
        equal(bool(allowed(parameters["DomainName"], name)), good, f"the domain {name!r}")


def check_edge_domain(template):
    zone = edge_stack(template, DomainName="mcp.example.com", HostedZoneId="Z0123456789")
    config = zone.resource("Distribution")["DistributionConfig"]
    equal(config["Aliases"], ["mcp.example.com"], "the domain")
    certificate = {"AcmCertificateArn": "<Certificate>", "SslSupportMethod": "sni-only", "MinimumProtocolVersion": "TLSv1.2_2021"}
    equal(config["ViewerCertificate"], certificate, "a certificate is made where DNS can prove it")
    proof = [{"DomainName": "mcp.example.com", "HostedZoneId": "Z0123456789"}]
    equal(zone.resource("Certificate")["DomainValidationOptions"], proof, "the certificate's proof")
    for record, kind in (("AddressRecord", "A"), ("Ipv6AddressRecord", "AAAA")):
        properties = zone.resource(record)
        equal((properties["Name"], properties["Type"]), ("mcp.example.com", kind), f"the {kind} record")
        equal(properties["AliasTarget"]["DNSName"], "d111111abcdef8.cloudfront.net", f"where the {kind} record leads")
    equal(zone.output("BaseUrl"), "https://mcp.example.com", "the base URL with a domain")
    equal(zone.output("DistributionUrl"), "https://d111111abcdef8.cloudfront.net", "the distribution's own name")
    check("var DOMAIN_NAME = 'mcp.example.com';" in zone.resource("ViewerRequest")["FunctionCode"], "the challenge names the domain")

    given = edge_stack(template, DomainName="mcp.example.com", CertificateArn=CERTIFICATE)
    equal(given.resource("Distribution")["DistributionConfig"]["ViewerCertificate"]["AcmCertificateArn"], CERTIFICATE, "a given certificate")
    check(not any(given.has("Resources", name) for name in ("Certificate", "AddressRecord", "Ipv6AddressRecord")), "no record without a zone")
    both = edge_stack(template, DomainName="mcp.example.com", CertificateArn=CERTIFICATE, HostedZoneId="Z0123456789")
    check(both.has("Resources", "AddressRecord") and not both.has("Resources", "Certificate"), "records for a given certificate")
    for good in (edge_stack(template), zone, given, both):
        equal(good.refusals(), [], "combinations that make sense")
    for bad in ({"DomainName": "mcp.example.com"}, {"CertificateArn": CERTIFICATE}, {"HostedZoneId": "Z0123456789"}):
        equal(len(edge_stack(template, **bad).refusals()), 1, f"{bad} is refused before anything is made")


def check_edge_options(template):
    firewall = edge_stack(template, RequestsPerFiveMinutes="1000")
    equal(firewall.resource("Distribution")["DistributionConfig"]["WebACLId"], "<Firewall.Arn>", "the firewall is the distribution's")
    acl = firewall.resource("Firewall")
    equal((acl["Scope"], acl["DefaultAction"]), ("CLOUDFRONT", {"Allow": {}}), "the firewall lets through by default")
    (rule,) = acl["Rules"]
    rate = rule["Statement"]["RateBasedStatement"]
    equal((rate["Limit"], rate["EvaluationWindowSec"], rate["AggregateKeyType"]), ("1000", 300, "IP"), "the rate")
    except_claude = {"NotStatement": {"Statement": {"IPSetReferenceStatement": {"Arn": "<ClaudeAddresses.Arn>"}}}}
    equal(rate["ScopeDownStatement"], except_claude, "whom the rate is for")
    equal(firewall.resource("ClaudeAddresses")["Addresses"], ["160.79.104.0/21"], "claude.ai's addresses")
    equal(rule["Action"]["Block"]["CustomResponse"]["ResponseCode"], 429, "too many is not forbidden")
    text = json.dumps(acl)
    check("ManagedRuleGroup" not in text and "user-agent" not in text.lower(), "nobody is judged by the name that they give themselves")

    logs = edge_stack(template, AccessLogs="on")
    fields = logs.resource("AccessLogDelivery")["RecordFields"]
    check({"c-ip", "cs-method", "cs-uri-stem", "sc-status"} <= set(fields), "what an access log is for")
    check(not {"cs-uri-query", "cs(Cookie)", "cs(Referer)"} & set(fields), "no query string and no cookie in the access log")
    for name in ("AccessLogSource", "AccessLogDestination"):
        check(re.fullmatch(r"[\w-]{1,60}", logs.resource(name)["Name"]), f"the name of {name}")
    equal(logs.resource("AccessLogGroup")["RetentionInDays"], "30", "how long the access log is kept")
    equal(template["Resources"]["AccessLogGroup"]["DeletionPolicy"], "Delete", "removing the stack removes the access log")
    check(not edge_stack(template).has("Outputs", "AccessLogGroupName"), "no output without an access log")


def check_outputs(name, template, wanted):
    outputs = template["Outputs"]
    equal(set(outputs), wanted, f"{name}: the outputs")
    command = outputs["SetTokenCommand"]["Value"]["Fn::Sub"]
    check("getpass" in command, f"{name}: the token is typed, not an argument")
    check("file:///dev/stdin" in command, f"{name}: the new value travels by standard input")
    check('s["upstream_token"]' in command and "get-secret-value" in command, f"{name}: the PIN survives")
    check("\n" not in command, f"{name}: the command is one line")
    check(PLACEHOLDER not in json.dumps(outputs), f"{name}: no value of the secret is an output")
    check("auth_pin" in outputs["ShowPinCommand"]["Value"]["Fn::Sub"], f"{name}: the PIN can be shown")
    check("resolve:secretsmanager" not in json.dumps(template), f"{name}: secrets are not resolved into the stack")


def check_deploy_policy(template):
    (policy,) = of_type(template, "AWS::IAM::ManagedPolicy").values()
    found = {s["Sid"]: s for s in policy["PolicyDocument"]["Statement"]}
    lambda_actions = """AddPermission CreateFunction CreateFunctionUrlConfig GetFunction GetFunctionUrlConfig
        UpdateFunctionCode UpdateFunctionConfiguration UpdateFunctionUrlConfig""".split()
    equal(found["Function"]["Action"], [f"lambda:{action}" for action in lambda_actions], "what a deployment may do")
    equal(found["Role"]["Resource"], {"Fn::GetAtt": ["Role", "Arn"]}, "which role a deployment may hand on")
    equal(found["Role"]["Condition"], {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}, "and to whom")


def check_twins(template, backing):
    for kind in ("AWS::DynamoDB::Table", "AWS::IAM::Role"):
        (ours,), (theirs,) = of_type(template, kind).values(), of_type(backing, kind).values()
        ours, theirs = ({k: v for k, v in p.items() if k != "Description"} for p in (ours, theirs))
        equal(theirs, ours, f"{kind} is the same in both templates")
    (ours,), (theirs,) = (of_type(t, "AWS::SecretsManager::Secret").values() for t in (template, backing))
    equal(theirs["GenerateSecretString"], ours["GenerateSecretString"], "the secret is the same in both templates")
    for parameter in ("MaxWriteRequestUnits", "SavedQueries", "LogRetentionDays", "PointInTimeRecovery", "DeletionProtection"):
        equal(backing["Parameters"][parameter], template["Parameters"][parameter], f"{parameter} is the same in both templates")
    ours, theirs = (of_type(t, "AWS::Logs::QueryDefinition") for t in (template, backing))
    equal(theirs, ours, "the saved queries are the same in both templates")


def check_samconfig(template):
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    environments = {name: value for name, value in config.items() if name != "version"}
    check({"default", "linear"} <= set(environments), "samconfig.toml has both environments")
    names = [value["global"]["parameters"]["stack_name"] for value in environments.values()]
    equal(len(set(names)), len(names), "every environment has a stack of its own")
    read = {}
    for name, value in environments.items():
        check(value["build"]["parameters"]["beta_features"] is True, f"{name}: sam build needs beta_features")
        equal(value["deploy"]["parameters"]["capabilities"], "CAPABILITY_IAM", f"{name}: capabilities")
        overrides = tuple(value["global"]["parameters"]["parameter_overrides"])
        # SAM's own parser: it stops at a quote that is not quoted itself.
        read[name] = CfnParameterOverridesType().convert(overrides, None, None)
        for parameter, text in read[name].items():
            check(parameter in template["Parameters"], f"{name}: {parameter} is no parameter of the template")
            pattern = template["Parameters"][parameter].get("AllowedPattern", "")
            check(re.search(pattern, text), f"{name}: {parameter}={text} does not fit {pattern}")
    headers = readable(read["default"]["UpstreamHeaders"], "the first stack's UpstreamHeaders")
    equal(headers, {"X-MCP-Readonly": "true"}, "the first stack is read-only")
    equal(read["linear"]["UpstreamMcp"], "https://mcp.linear.app/mcp", "the second stack's upstream")


def check_events():
    files = {path.name for path in (ROOT / "events").glob("*.json")} - {"expected.json"}
    expected = readable((ROOT / "events/expected.json").read_text(encoding="utf-8"), "events/expected.json")
    equal(set(expected), files, "every event has its expected answer")
    readme = (ROOT / "events/README.md").read_text(encoding="utf-8")
    for name, answer in expected.items():
        event = readable((ROOT / "events" / name).read_text(encoding="utf-8"), name)
        equal(event["version"], "2.0", f"{name}: the payload's version")
        http = event["requestContext"]["http"]
        equal(http["path"], event["rawPath"], f"{name}: the two paths")
        check(set(answer) <= {"status", "contains", "lacks"}, f"{name}: unknown expectation")
        row = re.search(rf"^\| `{re.escape(name)}` \|.*\| (\w+) \| (\d+) \|$", readme, re.MULTILINE)
        check(row is not None, f"{name}: no row in events/README.md")
        equal(row.groups(), (http["method"], str(answer["status"])), f"{name}: its row in events/README.md")
        check(re.match(r"203\.0\.113\.|2001:db8:", http["sourceIp"]), f"{name}: addresses come from the documentation ranges")


def main():
    template, backing = translated(), source("infra/backing.yaml")
    shared = {"SetTokenCommand", "ShowPinCommand", "SecretArn", "TableName", "LogGroupName"}
    check_function(template)
    check_url(template)
    check_architecture()
    check_alarms(template)
    for name, document in (("template.yaml", template), ("infra/backing.yaml", backing)):
        check_standing(name, document)
        check_parameters(name, document)
        check_descriptions(name, document)
        check_write_limit(name, document)
        check_queries(name, document)
    check_log_groups(template, backing)
    check_dashboard(template)
    check_outputs("template.yaml", template, shared | {"ConnectorUrl", "FunctionUrl", "FunctionName"})
    check_connector_url(template)
    check_sam_table(template)
    check_outputs("infra/backing.yaml", backing, shared | {"RoleArn", "DeployPolicyArn", "InvokeModeCommand"})
    check("RESPONSE_STREAM" in json.dumps(backing["Outputs"]["InvokeModeCommand"]), "the step that makes the URL stream")
    check_deploy_policy(backing)
    check_twins(template, backing)
    edge = source("infra/edge.yaml")
    for check_part in (check_edge_distribution, check_edge_function, check_edge_parameters, check_edge_domain, check_edge_options):
        check_part(edge)
    check_descriptions("infra/edge.yaml", edge)
    check_samconfig(template)
    check_events()
    print(f"{checks} checks passed")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failed:
        sys.exit(f"FAILED: {failed}")
