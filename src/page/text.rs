//! Makes text from untrusted sources safe to display.
//!
//! Escaping prevents such text from becoming markup. This module prevents it from looking like something that it is
//! not. The functions are pure; their output still goes through the template's escaper.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Combining marks in a row that are kept; real orthographies need two.
const MAX_COMBINING_MARKS: usize = 2;

/// Longest client name that a page shows. The longest real names have about 30 characters.
pub(super) const MAX_CLIENT_NAME_CHARACTERS: usize = 60;

/// Longest name of a connection; a longer one cannot be stored.
const MAX_CONNECTION_NAME_CHARACTERS: usize = 100;

/// Longest name and title of a tool that a page shows.
pub(super) const MAX_TOOL_NAME_CHARACTERS: usize = 100;

/// Longest description of a tool that a page shows. They are written for models, and may be pages long.
pub(super) const MAX_TOOL_DESCRIPTION_CHARACTERS: usize = 240;

/// The longest name in DNS (RFC 1035 §2.3.4).
const MAX_HOST_CHARACTERS: usize = 253;

/// Long enough for real redirect URIs, short enough for a small page.
const MAX_URI_CHARACTERS: usize = 600;

/// Shown percent-encoded in hosts and URIs, as is everything beyond ASCII.
const NOT_SHOWN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'<')
    .add(b'>')
    .add(b'"')
    .add(b'\'')
    .add(b'`');

/// Names and other free text, on one line of at most `max` characters.
///
/// Removes control, zero-width and direction-changing characters, because they let one name look like another or
/// reorder the sentence around it. Turns white space into single spaces, limits stacked combining marks, and cuts text
/// that is too long with an ellipsis. The result may be empty.
#[must_use]
pub fn display(text: &str, max: usize) -> String {
    let mut shown = String::new();
    let mut marks = 0;
    for c in text.chars() {
        if is_space(c) {
            marks = 0;
            if !shown.is_empty() && !shown.ends_with(' ') {
                shown.push(' ');
            }
        } else if is_invisible(c) {
            // Does not end a run of combining marks: otherwise such characters could split a stack into allowed runs.
        } else if is_combining_mark(c) {
            marks += 1;
            if marks <= MAX_COMBINING_MARKS {
                shown.push(c);
            }
        } else {
            marks = 0;
            shown.push(c);
        }
    }
    shown.truncate(shown.trim_end().len());
    cut_end(shown, max)
}

/// The name under which people see a client.
#[must_use]
pub fn client_name(name: Option<&str>) -> String {
    let shown = display(name.unwrap_or_default(), MAX_CLIENT_NAME_CHARACTERS);
    if shown.is_empty() {
        return "Unnamed client".to_owned();
    }
    shown
}

/// The name under which a page shows a connection.
pub(super) fn connection_name(name: &str) -> String {
    let shown = display(name, MAX_CONNECTION_NAME_CHARACTERS);
    if shown.is_empty() {
        return "Unnamed connection".to_owned();
    }
    shown
}

/// A host, with everything but printable ASCII percent-encoded.
///
/// The end of a host says whose it is, so one that is too long loses its beginning:
/// `claude.ai.<300 letters>.example` must never be shown as `claude.ai…`.
#[must_use]
pub fn host(host: &str) -> String {
    let shown = visible_ascii(host);
    let length = shown.len(); // ASCII: bytes are characters
    if length <= MAX_HOST_CHARACTERS {
        return shown;
    }
    format!("…{}", &shown[length - (MAX_HOST_CHARACTERS - 1)..])
}

/// A URI, with everything but printable ASCII percent-encoded.
#[must_use]
pub fn uri(uri: &str) -> String {
    cut_end(visible_ascii(uri), MAX_URI_CHARACTERS)
}

/// Nothing is dropped here: two URIs that differ must not look alike.
fn visible_ascii(text: &str) -> String {
    utf8_percent_encode(text, NOT_SHOWN).to_string()
}

fn cut_end(mut text: String, max: usize) -> String {
    if text.chars().count() <= max {
        return text;
    }
    let end = text
        .char_indices()
        .nth(max.saturating_sub(1))
        .map_or(0, |(at, _)| at);
    text.truncate(end);
    text.truncate(text.trim_end().len());
    text.push('…');
    text
}

/// White space, the line and paragraph separators, and characters that are blank but take up space.
fn is_space(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{115f}' | '\u{1160}'
        )
}

/// Characters that are not displayed, or that change how others are displayed: controls, directional formatting
/// (UAX #9 §2), zero-width and other default-ignorable characters, tags and variation selectors.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{13455}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Marks that stack above or below the letter before them. Not every mark in Unicode, because Indic scripts need more
/// of theirs in a row than [`MAX_COMBINING_MARKS`]; the style sheet clips what is not listed here.
fn is_combining_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{0591}'..='\u{05bd}'
        | '\u{05bf}' | '\u{05c1}'..='\u{05c2}' | '\u{05c4}'..='\u{05c5}' | '\u{05c7}'
        | '\u{0610}'..='\u{061a}' | '\u{064b}'..='\u{065f}' | '\u{0670}'
        | '\u{06d6}'..='\u{06dc}' | '\u{06df}'..='\u{06e4}' | '\u{06e7}'..='\u{06e8}' | '\u{06ea}'..='\u{06ed}'
        | '\u{0711}' | '\u{0730}'..='\u{074a}' | '\u{07a6}'..='\u{07b0}' | '\u{07eb}'..='\u{07f3}'
        | '\u{0816}'..='\u{082d}' | '\u{0859}'..='\u{085b}' | '\u{0898}'..='\u{089f}' | '\u{08ca}'..='\u{08e1}'
        | '\u{08e3}'..='\u{08ff}'
        | '\u{0e31}' | '\u{0e34}'..='\u{0e3a}' | '\u{0e47}'..='\u{0e4e}'
        | '\u{0eb1}' | '\u{0eb4}'..='\u{0ebc}' | '\u{0ec8}'..='\u{0ece}'
        | '\u{0f18}'..='\u{0f19}' | '\u{0f35}' | '\u{0f37}' | '\u{0f39}' | '\u{0f71}'..='\u{0f84}'
        | '\u{0f86}'..='\u{0f87}' | '\u{0f8d}'..='\u{0fbc}'
        | '\u{1ab0}'..='\u{1aff}' | '\u{1cd0}'..='\u{1cf9}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20f0}' | '\u{2cef}'..='\u{2cf1}' | '\u{2de0}'..='\u{2dff}'
        | '\u{302a}'..='\u{302f}' | '\u{3099}'..='\u{309a}' | '\u{a66f}'..='\u{a672}'
        | '\u{a674}'..='\u{a67d}' | '\u{a8e0}'..='\u{a8f1}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{1d165}'..='\u{1d169}' | '\u{1d16d}'..='\u{1d172}' | '\u{1d17b}'..='\u{1d182}')
}

#[cfg(test)]
mod tests {
    use super::{display, host, uri};

    #[test]
    fn ordinary_names_are_left_as_they_are() {
        for name in [
            "Claude",
            "Visual Studio Code",
            "Café №5",
            "クロード",
            "קלוד",
            "Trợ lý",
            "O'Neil & Söhne <3",
        ] {
            assert_eq!(display(name, 60), name);
        }
    }

    #[test]
    fn direction_changing_and_zero_width_characters_go() {
        assert_eq!(
            display("\u{202e}edualC\u{202c}\u{2066}x\u{2069}\u{200f}", 60),
            "edualCx"
        );
        assert_eq!(
            display("Cl\u{200b}a\u{ad}u\u{2060}de\u{feff}\u{e0041}", 60),
            "Claude"
        );
    }

    #[test]
    fn control_characters_go_and_white_space_becomes_single_spaces() {
        assert_eq!(
            display(
                "\0 Claude\r\n\t\u{2028}\u{a0}\u{3000}Code\u{1b}[31m \u{7f}",
                60
            ),
            "Claude Code[31m"
        );
        assert_eq!(display(" \u{2800}\u{3164}\u{200b}\n", 60), "");
    }

    #[test]
    fn towers_of_combining_marks_are_levelled() {
        let tower = format!("C{}laude", "\u{0301}\u{0489}\u{20dd}".repeat(40));
        assert_eq!(display(&tower, 60), "C\u{0301}\u{0489}laude");
        let split = format!("C{}", "\u{0301}\u{200d}".repeat(40));
        assert_eq!(display(&split, 60), "C\u{0301}\u{0301}");
    }

    #[test]
    fn what_is_too_long_is_cut_with_an_ellipsis_within_the_limit() {
        assert_eq!(display("abcdef", 6), "abcdef");
        assert_eq!(display("abcdefg", 6), "abcde…");
        assert_eq!(display("abcd efg", 6), "abcd…");
        assert_eq!(display(&"é".repeat(200), 60).chars().count(), 60);
        assert_eq!(display("abc", 1), "…");
    }

    #[test]
    fn a_long_host_keeps_its_end() {
        let long = format!("claude.ai.{}.example", "a".repeat(300));
        let shown = host(&long);
        assert!(shown.starts_with("…a") && shown.ends_with("a.example"));
        assert_eq!(shown.chars().count(), 253);
        assert_eq!(host("claude.ai"), "claude.ai");
        assert_eq!(host("[::1]:8787"), "[::1]:8787");
    }

    #[test]
    fn hosts_and_uris_hide_nothing() {
        assert_eq!(host("clаude.ai"), "cl%D0%B0ude.ai");
        assert_eq!(
            uri("https://a.example/\u{202e}\u{200b}\n<\"'>?a=1&b"),
            "https://a.example/%E2%80%AE%E2%80%8B%0A%3C%22%27%3E?a=1&b"
        );
        assert_eq!(uri(&"a".repeat(5000)).chars().count(), 600);
    }
}
