"""What people do in a terminal: connect.sh with a stand-in for Claude Code, the token that `serve` asks for, and the PIN that
`doctor` asks for; and the command of the unit for systemd. Needs `cargo build`.

    python tests/docs/terminal.py
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/debug/lambda-oauth-mcp-proxy"
SCRIPT = ROOT / "docs/connect/connect.sh"
UNIT = ROOT / "docs/deploy/lambda-oauth-mcp-proxy.service"
URL = "https://mcp.example.com/mcp"
TOKEN = "ghp_typed-at-the-prompt"
SECONDS = 60

# Keeps entries as files named SCOPE.NAME that contain the URL. FAILS names a subcommand that is refused.
CLAUDE = """#!/bin/sh
{ printf '%s' "$*"; echo; } >> "$STATE/calls"
shift
case " $FAILS " in *" $1 "*) echo "unknown option" >&2; exit 1 ;; esac
command=$1 scope=local
shift
[ "$1" != --scope ] || { scope=$2; shift 2; }
[ "$1" != --transport ] || shift 2
case $command in
    add | add-json)
        [ ! -e "$STATE/$scope.$1" ] || { echo "MCP server $1 already exists" >&2; exit 1; }
        printf '%s' "$2" > "$STATE/$scope.$1" ;;
    remove) rm "$STATE/$scope.$1" ;;
    get)
        for scope in local project user; do
            [ ! -e "$STATE/$scope.$1" ] || { echo "$1: $(cat "$STATE/$scope.$1")"; exit 0; }
        done
        exit 1 ;;
esac
"""

checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


def connect(arguments, entries=(), fails="", asked=None, installed=True):
    """Runs connect.sh. Returns its exit code, what it printed, the entries that there are then, and the calls."""
    with tempfile.TemporaryDirectory() as folder:
        state, bin_dir = Path(folder) / "state", Path(folder) / "bin"
        state.mkdir()
        bin_dir.mkdir()
        for name in ("cat", "rm", "sed"):
            (bin_dir / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
        if installed:
            (bin_dir / "claude").write_text(CLAUDE)
            (bin_dir / "claude").chmod(0o755)
        (state / "calls").touch()
        for name, url in dict(entries).items():
            (state / name).write_text(url)
        done = subprocess.run(
            ["/bin/sh", str(SCRIPT), *arguments],
            input=asked,
            stdin=None if asked is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={"PATH": str(bin_dir), "STATE": str(state), "FAILS": fails},
            check=False,
        )
        calls = (state / "calls").read_text().splitlines()
        (state / "calls").unlink()
        after = {entry.name: entry.read_text() for entry in state.iterdir()}
        return done.returncode, done.stdout + done.stderr, after, calls


def check_connect():
    # Nothing there yet, the default name and scope; then a URL that is asked for.
    for arguments, asked in (([URL], None), ([], URL + "\n")):
        code, said, entries, _ = connect(arguments, asked=asked)
        check(code == 0 and entries == {"user.github": URL}, said)
        check("type /mcp" in said and "the PIN" in said, said)
    # Entries of the same name are replaced, others and those of the project stay.
    old = {"local.work": "https://old.example/mcp", "user.work": "https://old.example/mcp", "user.other": "x"}
    code, said, entries, _ = connect(["--name", "work", "--scope", "local", URL], old)
    check(code == 0 and entries == {"local.work": URL, "user.other": "x"}, said)
    code, said, entries, _ = connect(["--name", "work", URL], {"project.work": "https://team.example/mcp"})
    check(code == 1 and "another entry" in said and entries["project.work"] == "https://team.example/mcp", said)
    # A version without --transport.
    code, said, entries, _ = connect([URL], fails="add")
    check(code == 0 and json.loads(entries["user.github"]) == {"type": "http", "url": URL}, said)
    code, said, entries, _ = connect([URL], fails="add add-json")
    check(code == 1 and not entries and "neither form" in said, said)
    code, said, _, _ = connect([URL], fails="get")
    check(code == 1 and "does not find it" in said, said)
    code, said, _, _ = connect([URL], installed=False)
    check(code == 1 and "Install Claude Code" in said, said)
    # Nothing invalid reaches the command.
    for arguments in (
        ["mcp.example.com/mcp"],
        ["http://mcp.example.com/mcp"],
        ['https://a.example/"x'],
        ["https://a.example/ x"],
        ["--name", "a b", URL],
        ["--scope", "everywhere", URL],
        ["--what", URL],
    ):
        code, said, _, calls = connect(arguments)
        check(code == 1 and not calls, f"{arguments}: {said} {calls}")


class Terminal:
    """A command in a terminal."""

    def __init__(self, arguments, environment):
        self.shown = ""
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.execve(PROGRAM, [str(PROGRAM), *arguments], environment)

    def until(self, pattern):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = re.search(pattern, self.shown)
            if found:
                return found
            if select.select([self.terminal], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.terminal, 65536).decode(errors="replace")
                except OSError:
                    break
        found = re.search(pattern, self.shown)
        assert found, f"{pattern}: {self.shown}"
        return found

    def type_hidden(self, text):
        """Types once the terminal does not show it."""
        while termios.tcgetattr(self.terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(self.terminal, text.encode() + b"\n")

    def end(self, send=None):
        if send:
            os.kill(self.child, send)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def check_prompts():
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm", "UPSTREAM_MCP": "http://127.0.0.1:9/mcp"}
        serve = Terminal(["serve", "--listen", "0"], environment)
        serve.until(r"not shown\): ")
        serve.type_hidden(TOKEN)
        url = serve.until(r"Connector URL: (\S+)")[1]
        pin = serve.until(r"PIN: (\w+)")[1]
        serve.until("Ctrl-C stops")
        check(TOKEN not in serve.shown, "the token is not shown")
        doctor = Terminal(["doctor", "--sign-in", url], environment)
        doctor.until(r"PIN \(it is not shown\): ")
        doctor.type_hidden(pin)
        # Nobody listens at the upstream, and that is what the doctor says.
        doctor.until(r"pass\s+consent")
        doctor.until(r"fail\s+calls.*cannot be reached")
        doctor.until(r"pass\s+revocation")
        doctor.until("Clients cannot connect")
        check(pin not in doctor.shown, "the PIN is not shown")
        check(doctor.end() == 1, "the exit code says that something failed")
        check(serve.end(signal.SIGINT) == 0, "Ctrl-C stops")

        refused = Terminal(["serve", "--listen", "0"], environment)
        refused.until(r"not shown\): ")
        refused.type_hidden("\x03")
        refused.until("interrupted")
        check(refused.end() == 2, "Ctrl-C at the question ends the program")
        check(termios.tcgetattr(refused.terminal)[3] & termios.ECHO, "and the terminal shows again what is typed")

        for arguments in (["serve", "--listen", "0"], ["doctor", "--sign-in", URL]):
            ended = Terminal(arguments, environment)
            ended.until(r"not shown\): ")
            while termios.tcgetattr(ended.terminal)[3] & termios.ECHO:
                time.sleep(0.01)
            check(ended.end(signal.SIGTERM) == 143, "SIGTERM at the question ends the program")
            check(termios.tcgetattr(ended.terminal)[3] & termios.ECHO, "and the terminal shows again what is typed")


def check_service():
    """The unit's own command starts the program, with the files that the page describes; and systemd accepts the unit."""
    unit = UNIT.read_text(encoding="utf-8")
    setting = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    command = setting["ExecStart"].split()
    check(command[0] == f"/usr/local/bin/{PROGRAM.name}", "the unit starts the program where the page installs it")
    check(setting["Environment"] == "XDG_STATE_HOME=/var/lib" and setting["StateDirectory"] == PROGRAM.name, "the state's folder")
    with tempfile.TemporaryDirectory() as home:
        for name, text in (("settings", "UPSTREAM_MCP=http://127.0.0.1:9/mcp\nAUTH_PIN=abc234\n"), ("token", TOKEN)):
            check(f"LoadCredential={name}:/etc/{PROGRAM.name}/{name}\n" in unit, f"the unit hands over {name}")
            (Path(home) / name).write_text(text)
        arguments = [word.replace("%d", home) for word in command[1:]] + ["--listen", "0"]
        service = Terminal(arguments, {"XDG_STATE_HOME": home, "TERM": "xterm"})
        service.until(r"Connector URL: http://127.0.0.1:\d+/mcp")
        service.until("PIN: the one in AUTH_PIN")
        service.until("Ctrl-C stops")
        check((Path(home) / PROGRAM.name).is_dir(), "the state is where the unit allows writing")
        check(service.end(signal.SIGTERM) == 0, "systemd's signal stops it")
        (Path(home) / "settings").write_text("AUTH_PIN=REPLACE-THIS\n")
        service = Terminal(arguments, {"XDG_STATE_HOME": home, "TERM": "xterm"})
        service.until("AUTH_PIN must be")
        check(service.end() == int(setting["RestartPreventExitStatus"]), "invalid settings are not tried again")
        if shutil.which("systemd-analyze"):
            copy = Path(home) / UNIT.name
            copy.write_text(unit.replace(command[0], str(PROGRAM)))
            verify = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
            check(verify.returncode == 0 and not verify.stderr, verify.stderr)


def main():
    check_connect()
    check_prompts()
    check_service()
    print(f"{checks} checks passed")


if __name__ == "__main__":
    main()
