//! The URL of a request to the upstream: `UPSTREAM_MCP` with the client's path below it, and nothing else.

use url::{Url, form_urlencoded};

/// The URL for the part of the path after `/mcp` (already known to be unambiguous) and the client's query. An empty part
/// and `/` mean `UPSTREAM_MCP` exactly as written. Its own query comes first, and the client's cannot override a key of
/// it. `None` if the parser would change the result.
#[must_use]
pub fn resolve(upstream: &Url, rest: &str, query: Option<&str>) -> Option<Url> {
    if matches!(rest, "" | "/") && query.is_none_or(str::is_empty) {
        return Some(upstream.clone());
    }
    let mut text = upstream.origin().ascii_serialization();
    if rest.is_empty() || rest == "/" {
        text += upstream.path();
    } else {
        text += upstream.path().trim_end_matches('/');
        text += rest;
    }
    let path_end = text.len();
    let query = query.unwrap_or_default();
    // The parser takes them off the end, so that another key would arrive than was checked.
    let is_trimmed = |byte: u8| byte.is_ascii_control() || byte == b' ';
    if query.bytes().any(is_trimmed) {
        return None;
    }
    let query = join(upstream.query(), query);
    if !query.is_empty() {
        text += "?";
        text += &query;
    }
    let url = Url::parse(&text).ok()?;
    // The parser must not have changed the path: what was checked is what is sent.
    let unchanged = url.origin() == upstream.origin()
        && url.path() == &text[upstream.origin().ascii_serialization().len()..path_end]
        && url.fragment().is_none();
    unchanged.then_some(url)
}

fn join(ours: Option<&str>, theirs: &str) -> String {
    let keys = |query: &str| -> Vec<String> {
        form_urlencoded::parse(query.as_bytes())
            .map(|(key, _)| key.into_owned())
            .collect()
    };
    let ours = ours.unwrap_or_default();
    let fixed = keys(ours);
    // Some servers read `;` as `&`, `KEY` as `key`, use the last of `key`, `key[]` and `key[0]`, end a name at a NUL, and
    // make `a_b` of `a.b`, `a b` and `a[b`.
    let normalized = |key: &str| {
        let name = key.trim_start().split('\0').next().unwrap_or_default();
        let name = name.replace(['.', ' '], "_");
        let name: String = name
            .chars()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .collect();
        let before_index = name.split('[').next().unwrap_or_default().to_owned();
        [name.replace('[', "_"), before_index]
    };
    let fixed: Vec<_> = fixed.iter().flat_map(|key| normalized(key)).collect();
    let is_fixed = |pair: &str| {
        pair.split(';')
            .flat_map(&keys)
            .any(|key| normalized(&key).iter().any(|name| fixed.contains(name)))
    };
    let added = theirs
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_fixed(pair));
    let pairs: Vec<_> = ours
        .split('&')
        .filter(|pair| !pair.is_empty())
        .chain(added)
        .collect();
    pairs.join("&").replace('#', "%23")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(upstream: &str, rest: &str, query: Option<&str>) -> String {
        resolve(&Url::parse(upstream).unwrap(), rest, query)
            .map(|url| url.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn the_endpoint_itself_is_the_configured_url() {
        for upstream in [
            "https://up.example/mcp",
            "https://up.example/mcp/",
            "https://up.example/",
            "https://up.example:8443/a/b?k=v",
        ] {
            assert_eq!(resolved(upstream, "", None), upstream);
            assert_eq!(resolved(upstream, "/", None), upstream);
        }
    }

    #[test]
    fn a_query_that_the_parser_would_shorten_is_refused() {
        for query in [
            "key\u{1}",
            "key ",
            "a=b&key\u{0}\u{1f}",
            "a\tb",
            "key\u{7f}",
        ] {
            let resolved = resolved("https://up.example/mcp?key=ours", "", Some(query));
            assert_eq!(resolved, "", "{query:?}");
        }
    }

    #[test]
    fn sub_paths_go_below_it() {
        assert_eq!(
            resolved("https://up.example/mcp/", "/x/repos", None),
            "https://up.example/mcp/x/repos"
        );
        assert_eq!(
            resolved("https://up.example/mcp", "/readonly/", None),
            "https://up.example/mcp/readonly/"
        );
        assert_eq!(
            resolved("https://up.example", "/x", Some("a=1")),
            "https://up.example/x?a=1"
        );
        // Empty segments stay, and never become a host.
        assert_eq!(
            resolved("https://up.example/mcp/", "//other.example//x", None),
            "https://up.example/mcp//other.example//x"
        );
        assert_eq!(
            resolved("https://up.example", "//other.example/x", None),
            "https://up.example//other.example/x"
        );
    }

    #[test]
    fn the_clients_query_is_appended_and_overrides_nothing() {
        let upstream = "https://up.example/mcp?key=ours&x=1";
        assert_eq!(
            resolved(upstream, "", Some("a=2&key=theirs&k%65y=theirs&b")),
            "https://up.example/mcp?key=ours&x=1&a=2&b"
        );
    }

    #[test]
    fn no_other_spelling_of_a_fixed_key_passes() {
        let upstream = "https://up.example/mcp?api_key=ours";
        for pair in [
            "API_KEY=x",
            "api.key=x",
            "api+key[]=x",
            "a=1;api_key=x",
            "+api_key=x",
            // PHP ends a name at a NUL, and turns a bracket that nothing closes into `_`.
            "api_key%00=x",
            "api[key=x",
        ] {
            let query = format!("{pair}&b=2");
            let expected = format!("{upstream}&b=2");
            assert_eq!(resolved(upstream, "", Some(&query)), expected, "{pair}");
        }
    }

    #[test]
    fn what_the_parser_would_change_is_refused() {
        for rest in ["/../x", "/%2e%2e/x", "/a/./b", "/a b", "\\x"] {
            assert_eq!(resolved("https://up.example/mcp", rest, None), "", "{rest}");
        }
    }
}
