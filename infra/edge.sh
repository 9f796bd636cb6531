#!/usr/bin/env bash
# Puts CloudFront in front of the function (infra/edge.yaml), or removes it again. docs/custom-domain.md explains it.
#
# Each step looks at what exists and does only what is missing. So you can run it again at any time: after an interruption,
# to change an option, or to deploy a changed edge.yaml. No secret is on a command line.
set -euo pipefail
cd "$(dirname "$0")/.."

# Certificates, firewalls and access logs of a distribution exist only here, whatever the function's region is.
readonly EDGE_REGION=us-east-1

usage() {
    cat <<'END'
usage: infra/edge.sh [OPTION…]

  --stack NAME             the function's stack (mcp-github)
  --region REGION          the function's region (AWS_REGION, AWS_DEFAULT_REGION, or the AWS CLI's configuration)
  --config-env NAME        the environment of samconfig.toml, if the function is not deployed yet (default)
  --edge-stack NAME        the stack of the distribution (the name of the function's stack with -edge)
  --domain HOST            your own host name
  --hosted-zone ID         its Route 53 zone: records and certificate are created there
  --certificate ARN        your certificate for it, in us-east-1
  --read-timeout SECONDS   how long the function may be silent (60)
  --access-logs on|off     one line for each request, without query strings (off)
  --rate-limit N|off       requests of an IP address in five minutes, by AWS WAF (off; $6 a month)
  --print                  show what would be changed, but change nothing
  --remove                 remove the distribution; clients use the Function URL again
  --help

An option that you leave out stays as it was.
END
}

die() {
    printf 'edge.sh: %s\n' "$*" >&2
    exit 1
}

say() { printf '%s\n' "$*"; }

stack=mcp-github
region=
config_env=default
edge_stack=
print=false
remove=false
# The parameters of edge.yaml that the options set, as Name=Value.
asked=()

while [ $# -gt 0 ]; do
    option=$1
    shift
    case $option in
        --print) print=true && continue ;;
        --remove) remove=true && continue ;;
        --help | -h) usage && exit 0 ;;
    esac
    case $option in
        --stack | --region | --config-env | --edge-stack | --domain | --hosted-zone | --certificate | --read-timeout | --access-logs | --rate-limit) ;;
        *)
            usage >&2
            die "unknown option $option"
            ;;
    esac
    [ $# -gt 0 ] || die "$option needs a value"
    value=$1
    shift
    case $option in
        --stack) stack=$value ;;
        --region) region=$value ;;
        --config-env) config_env=$value ;;
        --edge-stack) edge_stack=$value ;;
        --domain) asked+=("DomainName=$value") ;;
        --hosted-zone) asked+=("HostedZoneId=$value") ;;
        --certificate) asked+=("CertificateArn=$value") ;;
        --read-timeout) asked+=("ReadTimeoutSeconds=$value") ;;
        --access-logs) asked+=("AccessLogs=$value") ;;
        --rate-limit)
            [ "$value" != off ] || value=
            asked+=("RequestsPerFiveMinutes=$value")
            ;;
    esac
done

for program in aws python3; do
    command -v "$program" > /dev/null || die "$program is required, and is not on PATH"
done
export AWS_PAGER=
if [ -z "$region" ]; then
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
fi
[ -n "$region" ] || die "in which region is the function? Give --region, or set AWS_REGION"
: "${edge_stack:=$stack-edge}"
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
# For what --print shows, also where a command's own output is discarded.
exec 3>&1

# --- reading ---------------------------------------------------------------------------------------------------------

# Prints the description of a stack as JSON, or nothing if there is no such stack. Any other error ends the script.
describe() { # region, stack
    if ! aws cloudformation describe-stacks --region "$1" --stack-name "$2" --output json 2> "$errors"; then
        grep -q 'does not exist' "$errors" || die "$(cat "$errors")"
    fi
}

# These read a stack's description from standard input and print its status, an output, or a parameter.
status_of() { python3 -c 'import json,sys; t=sys.stdin.read(); print(json.loads(t)["Stacks"][0]["StackStatus"] if t.strip() else "")'; }
output_of() { python3 -c 'import json,sys; print({o["OutputKey"]: o["OutputValue"] for o in json.load(sys.stdin)["Stacks"][0].get("Outputs", [])}.get(sys.argv[1], ""))' "$1"; }
parameter_of() { python3 -c 'import json,sys; print({p["ParameterKey"]: p["ParameterValue"] for p in json.load(sys.stdin)["Stacks"][0].get("Parameters", [])}.get(sys.argv[1], ""))' "$1"; }

# --- changing --------------------------------------------------------------------------------------------------------

# Runs a command that changes something, or with --print shows it. Its standard input is never shown: it contains secrets.
change() {
    if $print; then
        [ -t 0 ] || cat > /dev/null
        {
            printf 'would run:'
            printf ' %q' "$@"
            printf '\n'
        } >&3
    else
        "$@"
    fi
}

# Waits for a stack. If that fails, prints the reasons.
await() { # region, stack, what to wait for
    $print && return
    say "   waiting for $2 (a distribution takes some minutes)"
    if ! aws cloudformation wait "stack-$3-complete" --region "$1" --stack-name "$2"; then
        aws cloudformation describe-stack-events --region "$1" --stack-name "$2" --output text \
            --query "StackEvents[?ends_with(ResourceStatus, '_FAILED')].[LogicalResourceId, ResourceStatusReason]" >&2 || true
        die "$2 in $1 failed; the reasons are above, and in the console under CloudFormation"
    fi
}

# Updates a stack. It is not an error if there is nothing to change.
update() { # region, stack, further arguments; parameters on standard input
    local at=$1 name=$2
    shift 2
    if change aws cloudformation update-stack --region "$at" --stack-name "$name" --parameters file:///dev/stdin "$@" \
        > /dev/null 2> "$errors"; then
        await "$at" "$name" update
    elif grep -q 'No updates are to be performed' "$errors"; then
        say "   $name is as it should be"
    else
        die "$(cat "$errors")"
    fi
}

# Waits for a stack that is being changed. Removes one whose creation failed, because it cannot be updated.
settle() { # region, stack
    local found status
    found=$(describe "$1" "$2")
    status=$(printf '%s' "$found" | status_of)
    case $status in
        CREATE_IN_PROGRESS) await "$1" "$2" create ;;
        UPDATE_IN_PROGRESS | UPDATE_COMPLETE_CLEANUP_IN_PROGRESS) await "$1" "$2" update ;;
        DELETE_IN_PROGRESS) await "$1" "$2" delete ;;
        REVIEW_IN_PROGRESS | ROLLBACK_COMPLETE | ROLLBACK_FAILED | CREATE_FAILED | DELETE_FAILED)
            say "   removing $2, which was not created or not removed completely"
            change aws cloudformation delete-stack --region "$1" --stack-name "$2" < /dev/null
            await "$1" "$2" delete
            ;;
        *_IN_PROGRESS) die "$2 in $1 is busy ($status); run this again when it is not" ;;
    esac
}

# Reads the function's secret, changes one member and writes it back. The rest does not change.
edit_secret() { # Python that changes `s`; it may use `given`, a line from standard input
    local given now new
    given=$(cat)
    now=$(aws secretsmanager get-secret-value --region "$region" --secret-id "$secret_arn" --query SecretString --output text)
    new=$(printf '%s\n%s' "$given" "$now" | python3 -c '
import json, sys
given, now = sys.stdin.read().split("\n", 1)
s = json.loads(now)
exec(sys.argv[1])
print(json.dumps(s) if s != json.loads(now) else "")' "$1")
    [ -z "$new" ] || printf '%s' "$new" | change aws secretsmanager put-secret-value --region "$region" --secret-id "$secret_arn" \
        --secret-string file:///dev/stdin > /dev/null
}

# Prints the parameters for an update of the function's stack as JSON: two are new, all others keep their value.
function_parameters() { # base URL, other base URLs
    printf '%s' "$function_stack" | python3 -c '
import json, sys
new = {"BaseUrl": sys.argv[1], "AlsoBaseUrls": sys.argv[2]}
keys = [p["ParameterKey"] for p in json.load(sys.stdin)["Stacks"][0]["Parameters"]]
print(json.dumps([{"ParameterKey": k, **({"ParameterValue": new[k]} if k in new else {"UsePreviousValue": True})} for k in keys]))' "$1" "$2"
}

update_function() { # base URL, other base URLs
    if [ "$(printf '%s' "$function_stack" | parameter_of BaseUrl)" = "$1" ] &&
        [ "$(printf '%s' "$function_stack" | parameter_of AlsoBaseUrls)" = "$2" ]; then
        say "   $stack is as it should be"
        return
    fi
    # AUTO_EXPAND: the template uses the SAM transform.
    function_parameters "$1" "$2" |
        update "$region" "$stack" --use-previous-template --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND
}

# --- first pass: the function ----------------------------------------------------------------------------------------

find_function() {
    function_stack=$(describe "$region" "$stack")
    if [ -z "$function_stack" ]; then
        $remove && die "there is no stack $stack in $region"
        say "1. The function: $stack is not in $region yet"
        command -v sam > /dev/null || die "deploy it first (docs/deploy/sam.md), or name another stack or region"
        change sam build --config-env "$config_env"
        change sam deploy --config-env "$config_env" --stack-name "$stack" --region "$region"
        $print && exit 0
        function_stack=$(describe "$region" "$stack")
    fi
    secret_arn=$(printf '%s' "$function_stack" | output_of SecretArn)
    function_url=$(printf '%s' "$function_stack" | output_of FunctionUrl)
    by_sam=true
    function_name=$(printf '%s' "$function_stack" | output_of FunctionName)
    if [ -z "$function_url" ] && [ -n "$(printf '%s' "$function_stack" | output_of InvokeModeCommand)" ]; then
        # infra/backing.yaml: cargo-lambda created the function and its URL.
        by_sam=false
        function_name=$(printf '%s' "$function_stack" | parameter_of FunctionName)
        function_url=$(aws lambda get-function-url-config --region "$region" --function-name "$function_name" --query FunctionUrl --output text)
    fi
    [ -n "$secret_arn" ] || die "$stack in $region has no output SecretArn: it is not a stack of this project"
    [ -n "$function_url" ] || die "$stack has no output FunctionUrl: deploy this version of template.yaml first (docs/operate/operations.md, Updating)"
    say "1. The function: $stack in $region, $function_url"
}

# --- second pass: the distribution -----------------------------------------------------------------------------------

ensure_edge() {
    local existing action=create parameters
    settle "$EDGE_REGION" "$edge_stack"
    existing=$(describe "$EDGE_REGION" "$edge_stack")
    [ -z "$existing" ] || action=update
    # The secret is on standard input, before the description of the existing stack. The rest may be on a command line.
    parameters=$(printf '%s\n%s' "$origin_secret" "$existing" | python3 -c '
import json, sys
secret, existing = sys.stdin.read().split("\n", 1)
given = dict(pair.split("=", 1) for pair in sys.argv[1:])
given["OriginSecret"] = secret
kept = [p["ParameterKey"] for p in json.loads(existing)["Stacks"][0].get("Parameters", [])] if existing.strip() else []
new = [{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()]
print(json.dumps(new + [{"ParameterKey": k, "UsePreviousValue": True} for k in kept if k not in given]))' \
        "FunctionUrl=$function_url" "UpstreamTransport=$transport" ${asked[@]+"${asked[@]}"})
    say "2. The distribution: $action $edge_stack in $EDGE_REGION"
    if [ $action = create ]; then
        printf '%s' "$parameters" | change aws cloudformation create-stack --region "$EDGE_REGION" --stack-name "$edge_stack" \
            --template-body file://infra/edge.yaml --parameters file:///dev/stdin > /dev/null
        await "$EDGE_REGION" "$edge_stack" create
    else
        printf '%s' "$parameters" | update "$EDGE_REGION" "$edge_stack" --template-body file://infra/edge.yaml
    fi
}

# --- third pass: the function again ----------------------------------------------------------------------------------

# Prints the origins whose tokens stay valid: the current ones, and every other name that this function has had.
further_base_urls() { # the new base URL, and then origins
    python3 -c '
import sys
base, *others = [url.rstrip("/") for text in sys.argv[1:] for url in text.split(",")]
print(",".join(dict.fromkeys(url for url in others if url and url != base)))' "$@"
}

# Checks the result from outside. A problem is only reported, because nothing is changed here.
check() { # base URL
    command -v curl > /dev/null || return 0
    local head
    head=$(curl -sS --max-time 20 -o /dev/null -D - -X POST "$1/mcp" 2>&1 || true)
    if grep -qi "^www-authenticate: bearer resource_metadata=\"$1/" <<< "$head"; then
        say "   $1/mcp asks for a token, and says where to get one"
    else
        say "   $1/mcp does not respond as expected yet: ${head%%$'\n'*}"
        [ -z "$domain" ] || say "   If it has no DNS record yet: make $domain an alias (or CNAME) of ${distribution_url#https://}"
    fi
    if [ "$(curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -X POST "${function_url%/}/mcp" 2> /dev/null || true)" = 403 ]; then
        say "   ${function_url%/}/mcp is refused: all requests must come through the distribution"
    else
        say "   ${function_url%/}/mcp still accepts requests. Running instances read the secret again within five minutes"
    fi
}

put_in_front() {
    find_function
    transport=$(printf '%s' "$function_stack" | parameter_of UpstreamTransport)
    if ! $by_sam; then
        transport=$(aws lambda get-function-configuration --region "$region" --function-name "$function_name" \
            --query 'Environment.Variables.UPSTREAM_TRANSPORT' --output text)
    fi
    case $transport in '' | None) transport=streamable-http ;; esac

    local now had_secret=true
    now=$(aws secretsmanager get-secret-value --region "$region" --secret-id "$secret_arn" --query SecretString --output text)
    origin_secret=$(printf '%s' "$now" | python3 -c 'import json,sys; print(json.load(sys.stdin).get("origin_secret") or "")')
    if [ -z "$origin_secret" ]; then
        had_secret=false
        origin_secret=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
    fi
    [[ $origin_secret =~ ^[A-Za-z0-9]{32,128}$ ]] ||
        die "origin_secret in the function's secret must be 32 to 128 letters and digits; remove it there, and run this again"

    ensure_edge
    local edge base_url
    edge=$(describe "$EDGE_REGION" "$edge_stack")
    if [ -z "$edge" ]; then # only with --print
        say "3. The function again: origin_secret into its secret, the distribution's BaseUrl into $stack"
        return
    fi
    base_url=$(printf '%s' "$edge" | output_of BaseUrl)
    distribution_url=$(printf '%s' "$edge" | output_of DistributionUrl)
    domain=$(printf '%s' "$edge" | parameter_of DomainName)

    say "3. The function again: its base URL is $base_url, and only the distribution may call it"
    # The distribution already sends the secret, so no request is refused in between.
    $had_secret || printf '%s' "$origin_secret" | edit_secret 's["origin_secret"] = given'
    local also
    if $by_sam; then
        also=$(further_base_urls "$base_url" "$(printf '%s' "$function_stack" | parameter_of AlsoBaseUrls)" \
            "$(printf '%s' "$function_stack" | parameter_of BaseUrl)" "$function_url" "$distribution_url")
        update_function "$base_url" "$also"
    else
        also=$(further_base_urls "$base_url" "$function_url" "$distribution_url")
        say "   Put these two lines into $function_name.env and deploy once more (docs/deploy/cargo-lambda.md, step 3):"
        say "BASE_URL=$base_url"
        say "ALSO_BASE_URLS=$also"
    fi
    $print && return
    check "$base_url"
    say "Connector URL: $base_url/mcp"
}

take_away() {
    find_function
    # In the opposite order: first the function accepts direct requests again, then the distribution is removed.
    say "2. The function accepts direct requests again"
    edit_secret 's.pop("origin_secret", None)' < /dev/null
    if $by_sam; then
        update_function "" "$(printf '%s' "$function_stack" | parameter_of AlsoBaseUrls)"
    else
        say "   Remove BASE_URL and ALSO_BASE_URLS from $function_name.env and deploy once more"
    fi
    local edge
    edge=$(describe "$EDGE_REGION" "$edge_stack")
    if [ -n "$edge" ]; then
        say "3. The distribution: delete $edge_stack in $EDGE_REGION"
        change aws cloudformation delete-stack --region "$EDGE_REGION" --stack-name "$edge_stack" < /dev/null
        await "$EDGE_REGION" "$edge_stack" delete
    else
        say "3. The distribution is already removed"
    fi
    say "Connector URL: ${function_url%/}/mcp"
}

if $remove; then take_away; else put_in_front; fi
