//! Commands, links and files that add this connector to a client, in the form each client documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::text::{push_hex, push_percent_encoded};

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
    let config = STANDARD.encode(format!("{{\"url\":{}}}", json_string(url)));
    format!(
        "cursor://anysphere.cursor-deeplink/mcp/install?name={}&config={}",
        slug(name),
        component(&config)
    )
}

/// VS Code takes the JSON that `code --add-mcp` takes, percent-encoded.
pub(super) fn vs_code_link(name: &str, url: &str) -> String {
    let config = format!(
        "{{\"name\":\"{}\",\"type\":\"http\",\"url\":{}}}",
        slug(name),
        json_string(url)
    );
    format!("vscode:mcp/install?{}", component(&config))
}

/// The file `.mcp.json` of a project.
pub(super) fn mcp_json(name: &str, url: &str) -> String {
    format!(
        "{{\n  \"mcpServers\": {{\n    \"{}\": {{\n      \"type\": \"http\",\n      \"url\": {}\n    }}\n  }}\n}}",
        slug(name),
        json_string(url)
    )
}

/// A name that is one word in a shell, in JSON and in a URL alike.
fn slug(name: &str) -> String {
    let slug: String = name
        .chars()
        .take(64)
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() {
        return "connector".to_owned();
    }
    slug.to_owned()
}

/// Quoted only when a POSIX shell would take a character for more than itself.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/@%+,".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// RFC 8259 §7.
fn json_string(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => {
                // U+0000 to U+009F: the low byte is all there is.
                json.push_str("\\u00");
                push_hex(&mut json, (u32::from(c) & 0xff) as u8);
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Percent-encodes all but the unreserved characters (RFC 3986 §2.3).
fn component(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            push_percent_encoded(&mut encoded, byte);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{claude_code_command, cursor_link, json_string, mcp_json, slug, vs_code_link};

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
        let compact: String = mcp_json("github", URL).split_whitespace().collect();
        assert_eq!(
            compact,
            r#"{"mcpServers":{"github":{"type":"http","url":"https://connector.example/mcp"}}}"#
        );
    }

    #[test]
    fn names_become_one_word_and_strings_stay_strings() {
        assert_eq!(slug("My \"GitHub\" <server>"), "My--GitHub---server");
        assert_eq!(slug("…"), "connector");
        assert_eq!(
            json_string("a\"\\\n\u{7f}é"),
            "\"a\\\"\\\\\\u000A\\u007Fé\""
        );
    }
}
