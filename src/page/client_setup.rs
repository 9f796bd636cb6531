//! Commands, links and files that add this connector to a client, in the form each client documents.

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
    use super::{claude_code_command, cursor_link, mcp_json, slug, vs_code_link};

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
    fn names_become_one_word() {
        assert_eq!(slug("My \"GitHub\" <server>"), "My--GitHub---server");
        assert_eq!(slug("…"), "connector");
    }
}
