#!/bin/sh
# Adds a connector to Claude Code: checks the command, replaces an entry of the same name, adds, and verifies.
#
#   sh docs/connect/connect.sh [--name NAME] [--scope user|local|project] [URL]
#
# Without URL it asks for it. The scope `user` means every folder; `local` and `project` mean this one.
set -eu

name=github scope=user url=
usage() { sed -n '2,6s/^# \{0,1\}//p' "$0"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --name | --scope)
            [ $# -gt 1 ] || fail "$1 needs a value."
            if [ "$1" = --name ]; then name=$2; else scope=$2; fi
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*) fail "$1 is not an option." "$(usage)" ;;
        *) url=$1 ;;
    esac
    shift
done

command -v claude > /dev/null ||
    fail 'The command "claude" was not found. Install Claude Code, open a new terminal, and run this again.'
case $name in
    '' | *[!A-Za-z0-9_-]*) fail "A name has letters, digits, - and _ only: $name" ;;
esac
case $scope in
    user | local | project) ;;
    *) fail "The scope is user, local or project: $scope" ;;
esac
if [ -z "$url" ]; then
    printf 'Connector URL (ends in /mcp): '
    read -r url
fi
case $url in
    *[!A-Za-z0-9:/._~?#@!\$\&\'\(\)*+,\;=%\[\]-]*) fail "This is not a URL: $url" ;;
    https://?* | http://localhost* | http://127.0.0.1* | http://\[::1\]*) ;;
    http://*) fail "Claude Code sends a token to this URL, so it must begin with https:// (http:// only on this machine): $url" ;;
    *) fail "This is not a URL: $url" ;;
esac

# An entry of the same name in another scope could win over the new one. None is not an error.
for old in local user; do
    claude mcp remove --scope "$old" "$name" > /dev/null 2>&1 || :
done
[ "$scope" != project ] || claude mcp remove --scope project "$name" > /dev/null 2>&1 || :

if ! claude mcp add --scope "$scope" --transport http "$name" "$url"; then
    # Versions without --transport.
    json=$(printf '{"type":"http","url":"%s"}' "$url")
    claude mcp add-json --scope "$scope" "$name" "$json" ||
        fail 'Claude Code accepted neither form of the command. Its message is above.'
fi

shown=$(claude mcp get "$name") || fail "The entry was added, but Claude Code does not find it: claude mcp get $name"
printf '%s\n' "$shown"
case $shown in
    *"$url"*) ;;
    *) fail "Claude Code uses another entry with the name $name, perhaps the one in .mcp.json of this folder. Choose another --name." ;;
esac
cat << NEXT

Next: start claude, type /mcp, choose $name and Authenticate, and type the PIN in your browser.
If it says "Failed to connect": cargo run -- doctor $url
NEXT
