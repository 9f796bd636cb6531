//! Which responses of an origin are accepted, and how long they are fresh. Only status code and headers decide.

use std::time::Duration;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
    },
};
use serde::{Deserialize, Serialize};

use super::error::FetchError;

/// Longest document: the draft's 5 KB (§6.6).
pub const DOCUMENT_BYTES_MAX: usize = 5 * 1024;
/// Longest validator that is kept.
const VALIDATOR_BYTES_MAX: usize = 256;

/// No headers make us fetch a document more often than this.
const FRESH_MIN: Duration = Duration::from_mins(5);
/// Without a `Cache-Control` that says otherwise.
const FRESH_DEFAULT: Duration = Duration::from_hours(1);
/// A document decides where codes are sent: a redirect URI that was removed must stop working within a day.
const FRESH_MAX: Duration = Duration::from_hours(24);

/// With these in the next request, the origin can respond "not modified" (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let read = |name| {
            let text = headers.get(name)?.to_str().ok()?;
            (1..=VALIDATOR_BYTES_MAX)
                .contains(&text.len())
                .then(|| text.to_owned())
        };
        Self {
            etag: read(ETAG),
            last_modified: read(LAST_MODIFIED),
        }
    }

    /// The headers of a conditional request; none without validators.
    pub(super) fn conditions(&self) -> HeaderMap {
        let pairs: [(HeaderName, &Option<String>); 2] = [
            (IF_NONE_MATCH, &self.etag),
            (IF_MODIFIED_SINCE, &self.last_modified),
        ];
        pairs
            .into_iter()
            .filter_map(|(name, value)| {
                Some((name, HeaderValue::from_str(value.as_deref()?).ok()?))
            })
            .collect()
    }
}

/// What an accepted response brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Accepted {
    /// A document, in the body.
    Document,
    /// The copy that we have is still valid.
    NotModified,
}

/// Checks status code and headers; `conditional` is whether the request was.
pub fn check(
    status: StatusCode,
    headers: &HeaderMap,
    conditional: bool,
) -> Result<Accepted, FetchError> {
    match status.as_u16() {
        200 => {}
        304 if conditional => return Ok(Accepted::NotModified),
        301 | 302 | 303 | 307 | 308 => return Err(FetchError::Redirect),
        other => return Err(FetchError::Status(other)),
    }
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(FetchError::Compressed);
    }
    if !is_json(headers) {
        return Err(FetchError::ContentType);
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > DOCUMENT_BYTES_MAX as u64) {
        return Err(FetchError::TooLarge);
    }
    Ok(Accepted::Document)
}

/// `application/json` or `application/<something>+json` (RFC 6839 §3.1), in exactly one header.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(one) = one.to_str() else { return false };
    let essence = one.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else {
        return false;
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    subtype == "json"
        || subtype
            .strip_suffix("+json")
            .is_some_and(|name| !name.is_empty() && name.bytes().all(token))
}

/// How long a response is fresh for a private cache (RFC 9111 §4.2), within our limits.
pub fn fresh_for(headers: &HeaderMap) -> Duration {
    let directives = || {
        headers
            .get_all(CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|directive| {
                let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
                (
                    name.trim().to_ascii_lowercase(),
                    value.trim().trim_matches('"'),
                )
            })
    };
    if directives().any(|(name, _)| name == "no-store" || name == "no-cache") {
        return FRESH_MIN;
    }
    // Of several the shortest counts, and an invalid one means stale (RFC 9111 §4.2.1).
    let max_age = directives()
        .filter(|(name, _)| name == "max-age")
        .map(|(_, value)| delta_seconds(value).unwrap_or(0))
        .min();
    let Some(max_age) = max_age else {
        return FRESH_DEFAULT;
    };
    let age = headers
        .get(AGE)
        .and_then(|age| delta_seconds(age.to_str().ok()?))
        .unwrap_or(0);
    Duration::from_secs(max_age.saturating_sub(age)).clamp(FRESH_MIN, FRESH_MAX)
}

/// A number of seconds (RFC 9111 §1.2.2). One that is too large for us means "very long".
fn delta_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    #[test]
    fn only_json_types_are_accepted() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json ;x=y",
            "application/oauth-client-metadata+json",
            "application/vnd.a.b+json",
        ] {
            assert!(is_json(&headers(&[("content-type", value)])), "{value}");
        }
        for value in [
            "",
            "text/html",
            "text/json",
            "text/plain; x=application/json",
            "application/jsonp",
            "application/json, text/html",
            "application/+json",
            "application/a b+json",
            "application/x-json",
            "json",
        ] {
            assert!(!is_json(&headers(&[("content-type", value)])), "{value}");
        }
        assert!(!is_json(&headers(&[])));
        let twice = headers(&[
            ("content-type", "application/json"),
            ("content-type", "text/html"),
        ]);
        assert!(!is_json(&twice));
    }

    #[test]
    fn statuses_other_than_200_and_a_requested_304_are_refused() {
        let checked = |status, conditional| {
            let headers = headers(&[("content-type", "application/json")]);
            check(StatusCode::from_u16(status).unwrap(), &headers, conditional)
        };
        assert_eq!(checked(200, false), Ok(Accepted::Document));
        assert_eq!(checked(200, true), Ok(Accepted::Document));
        assert_eq!(checked(304, true), Ok(Accepted::NotModified));
        assert_eq!(checked(304, false), Err(FetchError::Status(304)));
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(checked(status, true), Err(FetchError::Redirect));
        }
        for status in [201, 204, 206, 300, 400, 401, 403, 404, 410, 429, 500, 503] {
            assert_eq!(checked(status, true), Err(FetchError::Status(status)));
        }
    }

    #[test]
    fn what_is_compressed_or_announced_as_too_large_is_refused() {
        let with = |name, value: &str| {
            let headers = headers(&[("content-type", "application/json"), (name, value)]);
            check(StatusCode::OK, &headers, false)
        };
        assert_eq!(with("content-encoding", "identity"), Ok(Accepted::Document));
        for coding in ["gzip", "br", "identity, gzip", "x", ""] {
            assert_eq!(
                with("content-encoding", coding),
                Err(FetchError::Compressed)
            );
        }
        assert_eq!(with("content-length", "5120"), Ok(Accepted::Document));
        assert_eq!(with("content-length", "5121"), Err(FetchError::TooLarge));
    }

    #[test]
    fn freshness_follows_the_headers_within_limits() {
        for (lines, seconds) in [
            (vec![], 3600),
            (vec![("cache-control", "public")], 3600),
            (vec![("cache-control", "max-age=7200")], 7200),
            (vec![("cache-control", "public, Max-Age=\"7200\"")], 7200),
            (
                vec![("cache-control", "max-age=7200"), ("age", "200")],
                7000,
            ),
            (
                vec![("cache-control", "max-age=7200"), ("age", "9000")],
                300,
            ),
            (vec![("cache-control", "max-age=7200"), ("age", "x")], 7200),
            (vec![("cache-control", "max-age=7200, max-age=600")], 600),
            (
                vec![
                    ("cache-control", "max-age=7200"),
                    ("cache-control", "no-cache"),
                ],
                300,
            ),
            (vec![("cache-control", "max-age=0")], 300),
            (vec![("cache-control", "max-age=-1")], 300),
            (vec![("cache-control", "max-age")], 300),
            (
                vec![("cache-control", "max-age=31536000, immutable")],
                86_400,
            ),
            (
                vec![("cache-control", "max-age=99999999999999999999999")],
                86_400,
            ),
            (vec![("cache-control", "no-store")], 300),
            (vec![("cache-control", "s-maxage=60")], 3600),
        ] {
            assert_eq!(fresh_for(&headers(&lines)).as_secs(), seconds, "{lines:?}");
        }
    }

    #[test]
    fn validators_become_conditions_and_too_long_ones_are_dropped() {
        let kept = Validators::of(&headers(&[
            ("etag", "W/\"a\""),
            ("last-modified", "Mon, 02 Nov 2026 10:00:00 GMT"),
        ]));
        let conditions = kept.conditions();
        assert_eq!(conditions["if-none-match"], "W/\"a\"");
        assert_eq!(
            conditions["if-modified-since"],
            "Mon, 02 Nov 2026 10:00:00 GMT"
        );

        let invalid = headers(&[("etag", &"a".repeat(257)), ("last-modified", "")]);
        assert_eq!(Validators::of(&invalid), Validators::default());

        // A stored validator that no header can carry is left out. It is not an error.
        let split = Validators {
            etag: Some("a\r\nx: y".to_owned()),
            last_modified: None,
        };
        assert!(split.conditions().is_empty());
    }
}
