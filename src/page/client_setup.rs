//! Commands, links and files that add this connector to a client, in the form each client documents: for the landing page
//! and for the command line.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

/// Longest name of the connector in a client's configuration, in characters.
const MAX_NAME_CHARACTERS: usize = 64;

/// All but the unreserved characters (RFC 3986 §2.3).
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A client, as the command line names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// claude.ai and the apps named Claude.
    Claude,
    /// Claude Code.
    ClaudeCode,
    /// `ChatGPT`.
    ChatGpt,
    /// Codex.
    Codex,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    VsCode,
    /// Gemini CLI.
    GeminiCli,
    /// `OpenCode`.
    OpenCode,
    /// Zed.
    Zed,
    /// The file `.mcp.json` of a project.
    Project,
    /// Clients that can only start a program.
    McpRemote,
}

impl Client {
    /// Every client.
    pub const ALL: [Self; 11] = [
        Self::Claude,
        Self::ClaudeCode,
        Self::ChatGpt,
        Self::Codex,
        Self::Cursor,
        Self::VsCode,
        Self::GeminiCli,
        Self::OpenCode,
        Self::Zed,
        Self::Project,
        Self::McpRemote,
    ];

    /// Its word on the command line.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::Claude => "claude.ai",
            Self::ClaudeCode => "claude-code",
            Self::ChatGpt => "chatgpt",
            Self::Codex => "codex",
            Self::Cursor => "cursor",
            Self::VsCode => "vscode",
            Self::GeminiCli => "gemini-cli",
            Self::OpenCode => "opencode",
            Self::Zed => "zed",
            Self::Project => "project",
            Self::McpRemote => "mcp-remote",
        }
    }

    /// What the person does: commands, files, steps.
    #[must_use]
    pub fn instructions(self, name: &str, url: &str) -> String {
        let word = slug(name);
        let shell_url = shell_word(url);
        let file = |path: &str, content: serde_json::Value| format!("In {path}:\n\n{content:#}\n");
        match self {
            Self::Claude => format!(
                "Settings → Connectors → Add custom connector\n  Name: {word}\n  URL:  {url}\nThen: Add, Connect, type the PIN."
            ),
            Self::ClaudeCode => format!(
                "{}\n\nThen start claude, type /mcp, choose {word}, Authenticate, and type the PIN.",
                claude_code_command(name, url)
            ),
            Self::ChatGpt => format!(
                "Settings → Apps & Connectors → Advanced settings → Developer mode\nThen: Apps & Connectors → Create\n  \
                 Name: {word}\n  URL:  {url}\n  Authentication: OAuth"
            ),
            Self::Codex => format!(
                "codex mcp add {word} --url {shell_url}\ncodex mcp login {word}\n\n\
                 Or in ~/.codex/config.toml:\n\n[mcp_servers.{word}]\nurl = {}\n",
                json!(url)
            ),
            Self::Cursor => format!(
                "{}\nThen: Settings → MCP → {word} → Login. Or open this link:\n\n{}",
                file(
                    "~/.cursor/mcp.json",
                    json!({ "mcpServers": { word.as_str(): { "url": url } } })
                ),
                cursor_link(name, url)
            ),
            Self::VsCode => format!(
                "code --add-mcp {}\n\nOr {}",
                shell_word(&json!({ "name": word, "type": "http", "url": url }).to_string()),
                file(
                    ".vscode/mcp.json",
                    json!({ "servers": { word.as_str(): { "type": "http", "url": url } } })
                )
                .replacen("In", "in", 1)
            ),
            Self::GeminiCli => format!(
                "gemini mcp add --transport http {word} {shell_url}\n\nThen start gemini and type /mcp auth {word}."
            ),
            Self::OpenCode => format!(
                "{}\nThen: opencode mcp auth {word}",
                file(
                    "opencode.json",
                    json!({ "mcp": { word.as_str(): { "type": "remote", "url": url } } })
                )
            ),
            Self::Zed => file(
                "settings.json (command: zed: open settings)",
                json!({ "context_servers": { word.as_str(): { "url": url } } }),
            ),
            Self::Project => format!("In .mcp.json:\n\n{}", mcp_json(name, url)),
            Self::McpRemote => file(
                "the client's configuration",
                json!({ "mcpServers": { word.as_str(): { "command": "npx", "args": ["-y", "mcp-remote", url] } } }),
            ),
        }
    }
}

/// A short name for the connector: `github` for GitHub's server, else the most telling label of the host.
#[must_use]
pub fn connector_name(upstream_host: &str) -> String {
    if upstream_host == "api.githubcopilot.com" {
        return "github".to_owned();
    }
    let telling = upstream_host
        .split('.')
        .find(|label| !matches!(*label, "mcp" | "api" | "www"));
    telling
        .filter(|label| label.contains(|c: char| c.is_ascii_alphabetic()))
        .unwrap_or("mcp")
        .to_owned()
}

/// `claude mcp add --transport http NAME URL`, safe to paste into a shell.
pub(super) fn claude_code_command(name: &str, url: &str) -> String {
    format!(
        "claude mcp add --transport http {} {}",
        slug(name),
        shell_word(url)
    )
}

/// Cursor takes a name and its base64-encoded JSON.
pub(super) fn cursor_link(name: &str, url: &str) -> String {
    let config = STANDARD.encode(json!({ "url": url }).to_string());
    format!(
        "cursor://anysphere.cursor-deeplink/mcp/install?name={}&config={}",
        slug(name),
        utf8_percent_encode(&config, NOT_UNRESERVED)
    )
}

/// VS Code takes the JSON that `code --add-mcp` takes, percent-encoded.
pub(super) fn vs_code_link(name: &str, url: &str) -> String {
    let config = json!({ "name": slug(name), "type": "http", "url": url }).to_string();
    format!(
        "vscode:mcp/install?{}",
        utf8_percent_encode(&config, NOT_UNRESERVED)
    )
}

/// The file `.mcp.json` of a project.
pub(super) fn mcp_json(name: &str, url: &str) -> String {
    let file = json!({ "mcpServers": { slug(name): { "type": "http", "url": url } } });
    format!("{file:#}")
}

/// The environment variable for the token: `GITHUB_MCP_TOKEN`.
pub(super) fn token_variable(name: &str) -> String {
    let name = slug(name).replace('-', "_").to_ascii_uppercase();
    // A variable's name must not begin with a digit.
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{name}_MCP_TOKEN")
}

/// The first message of a client, with the token from its variable.
pub(super) fn curl_command(variable: &str, url: &str) -> String {
    let initialize = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "curl", "version": "1" },
        },
    });
    format!(
        "curl {} \\\n  -H \"Authorization: Bearer ${variable}\" \\\n  -H 'Content-Type: application/json' \\\n  \
         -H 'Accept: application/json, text/event-stream' \\\n  -d '{initialize}'",
        shell_word(url)
    )
}

/// The file `.mcp.json` of a project, for clients that replace `${VARIABLE}`.
pub(super) fn mcp_json_with_token(name: &str, variable: &str, url: &str) -> String {
    let headers = json!({ "Authorization": format!("Bearer ${{{variable}}}") });
    let server = json!({ "type": "http", "url": url, "headers": headers });
    let file = json!({ "mcpServers": { slug(name): server } });
    format!("{file:#}")
}

/// The section of Codex's `config.toml`.
pub(super) fn codex_toml(name: &str, variable: &str, url: &str) -> String {
    // A JSON string is a TOML basic string too: the URL has no control characters.
    format!(
        "[mcp_servers.{}]\nurl = {}\nbearer_token_env_var = \"{variable}\"",
        slug(name),
        json!(url)
    )
}

/// VS Code's `mcp.json`, which asks for the token and stores it in the system's keychain.
pub(super) fn vs_code_json(name: &str, url: &str) -> String {
    let input =
        json!({ "type": "promptString", "id": "token", "description": "Token", "password": true });
    let headers = json!({ "Authorization": "Bearer ${input:token}" });
    let server = json!({ "type": "http", "url": url, "headers": headers });
    let file = json!({ "inputs": [input], "servers": { slug(name): server } });
    format!("{file:#}")
}

/// The name as one word that needs no quoting in a shell, in JSON or in a URL.
fn slug(name: &str) -> String {
    let slug: String = name
        .chars()
        .take(MAX_NAME_CHARACTERS)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    match slug.trim_matches('-') {
        "" => "connector".to_owned(),
        slug => slug.to_owned(),
    }
}

/// The text as one word of a POSIX shell, quoted only if it contains a character that the shell may interpret.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/@%+,".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://connector.example/mcp";

    #[test]
    fn the_command_is_plain_for_plain_values_and_quoted_for_others() {
        assert_eq!(
            claude_code_command("github", URL),
            "claude mcp add --transport http github https://connector.example/mcp"
        );
        assert_eq!(
            claude_code_command("a; rm -rf ~", "https://x.example/$(id)'&"),
            r"claude mcp add --transport http a--rm--rf 'https://x.example/$(id)'\''&'"
        );
    }

    #[test]
    fn the_links_hold_what_each_client_expects() {
        assert_eq!(
            cursor_link("github", URL),
            "cursor://anysphere.cursor-deeplink/mcp/install?name=github\
             &config=eyJ1cmwiOiJodHRwczovL2Nvbm5lY3Rvci5leGFtcGxlL21jcCJ9"
        );
        assert_eq!(
            vs_code_link("github", URL),
            "vscode:mcp/install?%7B%22name%22%3A%22github%22%2C%22type%22%3A%22http%22%2C\
             %22url%22%3A%22https%3A%2F%2Fconnector.example%2Fmcp%22%7D"
        );
    }

    #[test]
    fn the_file_is_what_a_project_keeps() {
        assert_eq!(
            mcp_json("github", URL),
            r#"{
  "mcpServers": {
    "github": {
      "type": "http",
      "url": "https://connector.example/mcp"
    }
  }
}"#
        );
    }

    #[test]
    fn a_token_is_read_from_its_variable_and_never_written_into_a_snippet() {
        let variable = token_variable("git-hub");
        assert_eq!(variable, "GIT_HUB_MCP_TOKEN");
        assert_eq!(token_variable("9"), "_MCP_TOKEN");
        assert_eq!(
            curl_command(&variable, URL),
            "curl https://connector.example/mcp \\\n  -H \"Authorization: Bearer $GIT_HUB_MCP_TOKEN\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -H 'Accept: application/json, text/event-stream' \\\n  \
             -d '{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"initialize\",\"params\":{\"capabilities\":{},\
             \"clientInfo\":{\"name\":\"curl\",\"version\":\"1\"},\"protocolVersion\":\"2025-11-25\"}}'"
        );
        assert!(
            mcp_json_with_token("git-hub", &variable, URL)
                .contains(r#""Authorization": "Bearer ${GIT_HUB_MCP_TOKEN}""#)
        );
        assert_eq!(
            codex_toml("git-hub", &variable, URL),
            "[mcp_servers.git-hub]\nurl = \"https://connector.example/mcp\"\n\
             bearer_token_env_var = \"GIT_HUB_MCP_TOKEN\""
        );
        assert!(
            vs_code_json("git-hub", URL).contains(r#""Authorization": "Bearer ${input:token}""#)
        );
    }

    #[test]
    fn the_instructions_contain_the_name_and_the_url_and_nothing_that_a_shell_would_interpret() {
        for client in Client::ALL {
            let text = client.instructions("my server", URL);
            assert!(text.contains(URL) && text.contains("my-server"), "{text}");
            let text = client.instructions("a; rm -rf ~", "https://x.example/$(id)");
            assert!(!text.contains("; rm"), "{text}");
            for line in text.lines().filter(|line| line.contains("$(id)")) {
                let quoted = line.contains("'https://x.example/$(id)'");
                let command = ["claude ", "codex ", "gemini ", "code "];
                let is_command = command.iter().any(|word| line.starts_with(word));
                assert!(!is_command || quoted || line.contains("'{"), "{line}");
            }
        }
        let codex = Client::Codex.instructions("github", URL);
        assert!(codex.starts_with("codex mcp add github --url https://connector.example/mcp\n"));
    }

    #[test]
    fn names_become_one_word() {
        assert_eq!(slug("My \"GitHub\" <server>"), "My--GitHub---server");
        assert_eq!(slug("…"), "connector");
    }
}
