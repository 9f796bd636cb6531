//! What is believed of an origin's answer, and for how long. Pure: headers in, judgement out.

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

/// Longest document, in bytes: the draft's 5 KB (§6.6).
pub const LONGEST_BODY: usize = 5 * 1024;
/// Longest validator that is kept, in bytes.
const LONGEST_VALIDATOR: usize = 256;

/// Nobody makes us fetch more often than this, whatever their headers say.
const FRESH_AT_LEAST: Duration = Duration::from_mins(5);
/// When the headers say nothing.
const FRESH_UNSAID: Duration = Duration::from_hours(1);
/// A document decides where codes are sent: a withdrawn redirect URI is forgotten within a day.
const FRESH_AT_MOST: Duration = Duration::from_hours(24);

/// What lets the origin say "not modified" next time (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Validators {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let read = |name| {
            let text = headers.get(name)?.to_str().ok()?;
            (1..=LONGEST_VALIDATOR)
                .contains(&text.len())
                .then(|| text.to_owned())
        };
        Self {
            etag: read(ETAG),
            last_modified: read(LAST_MODIFIED),
        }
    }

    /// The headers of a conditional request; none when there is nothing to ask by.
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

/// What the head of an answer promises.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// A body to read.
    Document,
    /// The kept copy still holds.
    NotModified,
}

/// Judges status and headers; `conditional` is whether a 304 was asked for.
pub fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    conditional: bool,
) -> Result<Head, FetchError> {
    match status.as_u16() {
        200 => {}
        304 if conditional => return Ok(Head::NotModified),
        301 | 302 | 303 | 307 | 308 => return Err(FetchError::Redirect),
        other => return Err(FetchError::Status(other)),
    }
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(FetchError::Encoded);
    }
    if !is_json(headers) {
        return Err(FetchError::ContentType);
    }
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > LONGEST_BODY as u64) {
        return Err(FetchError::TooLarge);
    }
    Ok(Head::Document)
}

/// `application/json` or `application/<something>+json` (RFC 6839 §3.1), said once.
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

/// How long an answer is fresh (RFC 9111 §4.2), as a private cache sees it, within our bounds.
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
        return FRESH_AT_LEAST;
    }
    // Said twice, the shorter counts; said unreadably, it is stale (RFC 9111 §4.2.1).
    let max_age = directives()
        .filter(|(name, _)| name == "max-age")
        .map(|(_, value)| delta_seconds(value).unwrap_or(0))
        .min();
    let Some(max_age) = max_age else {
        return FRESH_UNSAID;
    };
    let age = headers
        .get(AGE)
        .and_then(|age| delta_seconds(age.to_str().ok()?))
        .unwrap_or(0);
    Duration::from_secs(max_age.saturating_sub(age)).clamp(FRESH_AT_LEAST, FRESH_AT_MOST)
}

/// A number of seconds (RFC 9111 §1.2.2): digits, and too many of them mean "very long".
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
    fn only_json_types_are_believed() {
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
    fn statuses_other_than_200_and_an_asked_for_304_are_refused() {
        let judge = |status, conditional| {
            let headers = headers(&[("content-type", "application/json")]);
            judge(StatusCode::from_u16(status).unwrap(), &headers, conditional)
        };
        assert_eq!(judge(200, false), Ok(Head::Document));
        assert_eq!(judge(200, true), Ok(Head::Document));
        assert_eq!(judge(304, true), Ok(Head::NotModified));
        assert_eq!(judge(304, false), Err(FetchError::Status(304)));
        for status in [301, 302, 303, 307, 308] {
            assert_eq!(judge(status, true), Err(FetchError::Redirect));
        }
        for status in [201, 204, 206, 300, 400, 401, 403, 404, 410, 429, 500, 503] {
            assert_eq!(judge(status, true), Err(FetchError::Status(status)));
        }
    }

    #[test]
    fn what_is_encoded_or_announced_as_too_long_is_not_read() {
        let with = |name, value: &str| {
            let headers = headers(&[("content-type", "application/json"), (name, value)]);
            judge(StatusCode::OK, &headers, false)
        };
        assert_eq!(with("content-encoding", "identity"), Ok(Head::Document));
        for coding in ["gzip", "br", "identity, gzip", "x", ""] {
            assert_eq!(with("content-encoding", coding), Err(FetchError::Encoded));
        }
        assert_eq!(with("content-length", "5120"), Ok(Head::Document));
        assert_eq!(with("content-length", "5121"), Err(FetchError::TooLarge));
    }

    #[test]
    fn freshness_follows_the_headers_within_bounds() {
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
    fn validators_come_back_as_conditions_and_absurd_ones_are_dropped() {
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

        let absurd = headers(&[("etag", &"a".repeat(257)), ("last-modified", "")]);
        assert_eq!(Validators::of(&absurd), Validators::default());

        // A kept validator that no header can carry is left out, not an error.
        let split = Validators {
            etag: Some("a\r\nx: y".to_owned()),
            last_modified: None,
        };
        assert!(split.conditions().is_empty());
    }
}
