//! The secret, which holds the upstream's credential and the PIN, and its cache.
//!
//! On Lambda it is one JSON document in AWS Secrets Manager; on one machine it comes from the environment. While Secrets
//! Manager fails, the last good value is used, for a day at most.

mod token;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

pub use token::{TokenForm, UpstreamToken};

use crate::{
    clock::Clock,
    config::parse_headers,
    credential::SecretString,
    error::{Unavailable, causes},
    oauth::redirect_uri::RedirectUri,
    pin::Pin,
};

/// After this long a value is read again.
const FRESH_SECONDS: u64 = 300;
/// While Secrets Manager fails, the last good value is used for this long.
const USABLE_SECONDS: u64 = 86_400;
/// A PIN is compared only with a value that was read less than this long ago.
const PIN_FRESH_SECONDS: u64 = 60;
/// After an attempt to read the secret, the next one waits for this long.
const RETRY_SECONDS: u64 = 30;

/// What the secret holds.
pub struct Secret {
    /// The upstream's credential.
    pub upstream_token: UpstreamToken,
    /// The PIN.
    pub pin: Pin,
    /// Further pinned headers, such as a second key.
    pub upstream_headers: Vec<(HeaderName, HeaderValue)>,
    /// Clients registered by hand.
    pub clients: Vec<PreRegistered>,
    /// What a CloudFront distribution in front of the function must send.
    pub origin_secret: Option<SecretString>,
}

/// Shows nothing: the pinned headers may be keys as well.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A client registered by hand.
#[derive(Debug)]
pub struct PreRegistered {
    /// Its id.
    pub client_id: String,
    /// Its secret. A client without one is public.
    pub client_secret: Option<SecretString>,
    /// Its name for the consent page.
    pub client_name: Option<String>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<RedirectUri>,
}

impl Secret {
    /// Parses the JSON document; `form` is how the token in it is sent.
    ///
    /// # Errors
    /// A sentence for the operator, without any of the values.
    pub fn parse(text: &str, form: &TokenForm) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct RawSecret<'a> {
            upstream_token: Option<String>,
            auth_pin: Option<String>,
            #[serde(borrow)]
            upstream_headers: Option<&'a RawValue>,
            clients: Option<Vec<RawClient>>,
            origin_secret: Option<String>,
        }
        #[derive(Deserialize)]
        struct RawClient {
            client_id: String,
            client_secret: Option<String>,
            client_name: Option<String>,
            redirect_uris: Vec<String>,
        }
        // Some editors put a byte order mark in front of the document, which JSON does not allow (RFC 8259 §8.1).
        let text = text.trim_start_matches('\u{feff}');
        // serde's own message may quote the document.
        let raw: RawSecret<'_> = serde_json::from_str(text).map_err(|error| {
            format!(
                "the secret is not a JSON object of the documented form (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let upstream_token = form
            .read(&raw.upstream_token.unwrap_or_default())
            .map_err(|what| format!("the secret's upstream_token {what}"))?;
        let pin = Pin::parse(&raw.auth_pin.unwrap_or_default())
            .map_err(|what| format!("the secret's auth_pin {what}"))?;
        let clients = raw
            .clients
            .unwrap_or_default()
            .into_iter()
            .map(|client| {
                if client.client_id.is_empty() || client.redirect_uris.is_empty() {
                    return Err(
                        "a client in the secret needs a client_id and redirect_uris".to_owned()
                    );
                }
                let redirect_uris = client
                    .redirect_uris
                    .iter()
                    .map(|uri| RedirectUri::parse(uri))
                    .collect::<Result<_, _>>()
                    .map_err(|what| format!("a client in the secret cannot be used: {what}"))?;
                Ok(PreRegistered {
                    client_id: client.client_id,
                    client_secret: client
                        .client_secret
                        .filter(|secret| !secret.is_empty())
                        .map(SecretString::new),
                    client_name: client.client_name.filter(|name| !name.is_empty()),
                    redirect_uris,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            upstream_token,
            pin,
            upstream_headers: parse_headers(raw.upstream_headers.map_or("{}", RawValue::get))
                .map_err(|what| format!("the secret's upstream_headers {what}"))?,
            clients,
            origin_secret: raw
                .origin_secret
                .filter(|secret| !secret.is_empty())
                .map(SecretString::new),
        })
    }
}

/// Where the secret comes from, and its last good value. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Secrets(Arc<SecretCache>);

#[derive(Debug)]
struct SecretCache {
    source: SecretSource,
    clock: Clock,
    cached: Mutex<Option<CachedSecret>>,
    /// Whether the last attempt failed.
    failing: AtomicBool,
    /// Whether the secret is being read in the background. One task at a time does this.
    refreshing: watch::Sender<bool>,
    /// Held by a request that reads the secret and waits for it.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum SecretSource {
    Fixed(Arc<Secret>),
    Manager {
        client: aws_sdk_secretsmanager::Client,
        arn: String,
        form: TokenForm,
    },
}

#[derive(Clone, Debug)]
struct CachedSecret {
    secret: Arc<Secret>,
    read_at: u64,
    /// The last attempt, successful or not.
    tried_at: u64,
    /// How often it was read because the upstream refused the token, and the token was the same.
    refusals: u32,
    /// When that was last.
    refused_at: u64,
}

impl CachedSecret {
    /// Whether a refused token is worth another read. The first refusal always is: the token may have been replaced since
    /// the last read, however short ago that was. After that the pauses get longer, up to [`RETRY_SECONDS`], because calls
    /// with an expired token must not become calls of Secrets Manager.
    fn may_be_read_after_refusal(&self, now: u64) -> bool {
        let pause = match self.refusals.checked_sub(1) {
            None => 0,
            Some(more) => (1 << more.min(5)).min(RETRY_SECONDS),
        };
        now.abs_diff(self.refused_at) >= pause
    }
}

impl Secrets {
    /// A secret that does not change: on one machine, and in tests.
    #[must_use]
    pub fn fixed(secret: Secret) -> Self {
        Self::new(SecretSource::Fixed(Arc::new(secret)), Clock::from_fn(|| 0))
    }

    /// The secret in Secrets Manager; `form` is how the token in it is sent.
    #[must_use]
    pub fn manager(
        client: aws_sdk_secretsmanager::Client,
        arn: String,
        clock: Clock,
        form: TokenForm,
    ) -> Self {
        Self::new(SecretSource::Manager { client, arn, form }, clock)
    }

    fn new(source: SecretSource, clock: Clock) -> Self {
        Self(Arc::new(SecretCache {
            source,
            clock,
            cached: Mutex::new(None),
            failing: AtomicBool::new(false),
            refreshing: watch::channel(false).0,
            reading: tokio::sync::Mutex::new(()),
        }))
    }

    /// The secret. A value that is older than five minutes is still used while it is read again in the background: only
    /// the first request waits for Secrets Manager.
    ///
    /// # Errors
    /// When there is no value, or none younger than a day.
    pub async fn get(&self) -> Result<Arc<Secret>, Unavailable> {
        if let SecretSource::Fixed(secret) = &self.0.source {
            return Ok(secret.clone());
        }
        let now = self.0.clock.now();
        if let Some(cached) = self.usable(now) {
            let due = now.saturating_sub(cached.read_at) >= FRESH_SECONDS
                && now.saturating_sub(cached.tried_at) >= RETRY_SECONDS;
            if due && self.0.begin_refresh() {
                let refresh = Refresh(self.clone());
                tokio::spawn(async move {
                    if let Err(error) = refresh.0.read().await {
                        tracing::error!(event = "secret_unavailable", detail = %error, "the last good secret is still used");
                    }
                });
            }
            return Ok(cached.secret);
        }
        let _one_at_a_time = self.0.reading.lock().await;
        match self.usable(now) {
            Some(cached) => Ok(cached.secret),
            None => self.read().await,
        }
    }

    /// The secret for comparing a PIN: read less than a minute ago, so that a PIN that was replaced because somebody else
    /// knows it is refused, also by an instance that was frozen for long.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn get_for_pin(&self) -> Result<Arc<Secret>, Unavailable> {
        if let SecretSource::Fixed(secret) = &self.0.source {
            return Ok(secret.clone());
        }
        if let Some(secret) = self.read_for_pin() {
            return Ok(secret);
        }
        let _one_at_a_time = self.0.reading.lock().await;
        match self.read_for_pin() {
            Some(secret) => Ok(secret),
            None => self.read().await,
        }
    }

    /// The secret for a caller that can do without it: if there is none and the last attempt failed, the caller does not
    /// wait for another one.
    pub async fn optional(&self) -> Option<Arc<Secret>> {
        let failing = self.0.failing.load(Ordering::Acquire);
        if failing && self.usable(self.0.clock.now()).is_none() {
            return None;
        }
        self.get().await.ok()
    }

    /// Waits until the secret is not being read in the background. A host that is frozen between two requests waits for
    /// this, because otherwise the request to Secrets Manager would be frozen as well.
    pub async fn settled(&self) {
        let mut refreshing = self.0.refreshing.subscribe();
        let _ = refreshing.wait_for(|refreshing| !refreshing).await;
    }

    /// Reads the secret again because the upstream refused the token. `Some` if the token has changed. At once
    /// after the first refusal, then after 1, 2, 4 … 30 s.
    pub async fn reread(&self, refused: &UpstreamToken) -> Option<Arc<Secret>> {
        if let SecretSource::Fixed(_) = &self.0.source {
            return None;
        }
        let _one_at_a_time = self.0.reading.lock().await;
        let cached = self.cached();
        let changed = |secret: &Secret| !secret.upstream_token.is(refused);
        if let Some(cached) = &cached {
            if changed(&cached.secret) {
                return Some(cached.secret.clone());
            }
            if !cached.may_be_read_after_refusal(self.0.clock.now()) {
                return None;
            }
        }
        let read = self.read().await;
        if let Err(error) = &read {
            tracing::error!(event = "secret_unavailable", detail = %error, "the secret could not be re-read");
        }
        let new = read.ok().filter(|secret| changed(secret));
        if new.is_none()
            && let Some(now_cached) = &mut *self.0.lock()
        {
            now_cached.refusals = cached.map_or(0, |cached| cached.refusals) + 1;
            now_cached.refused_at = self.0.clock.now();
        }
        new
    }

    fn cached(&self) -> Option<CachedSecret> {
        self.0.lock().clone()
    }

    fn usable(&self, now: u64) -> Option<CachedSecret> {
        self.cached()
            .filter(|cached| now.saturating_sub(cached.read_at) < USABLE_SECONDS)
    }

    fn read_for_pin(&self) -> Option<Arc<Secret>> {
        let now = self.0.clock.now();
        let cached = self.cached()?;
        // If the clock was set back, the age is unknown.
        let age = now.checked_sub(cached.read_at)?;
        (age < PIN_FRESH_SECONDS).then_some(cached.secret)
    }

    async fn read(&self) -> Result<Arc<Secret>, Unavailable> {
        let read = self.read_once().await;
        self.0.failing.store(read.is_err(), Ordering::Release);
        read
    }

    async fn read_once(&self) -> Result<Arc<Secret>, Unavailable> {
        let now = self.0.clock.now();
        if let Some(cached) = &mut *self.0.lock() {
            cached.tried_at = now;
        }
        let SecretSource::Manager { client, arn, form } = &self.0.source else {
            return Err(unavailable(false, "no source".to_owned()));
        };
        let output = client
            .get_secret_value()
            .secret_id(arn)
            .send()
            .await
            .map_err(|error| {
                let detail = causes(&error);
                unavailable(
                    detail.contains("AccessDenied") || detail.contains("ResourceNotFound"),
                    detail,
                )
            })?;
        let text = output.secret_string.unwrap_or_default();
        let secret = Secret::parse(&text, form).map_err(|what| unavailable(true, what))?;
        secret.upstream_token.warn("the secret");
        let secret = Arc::new(secret);
        *self.0.lock() = Some(CachedSecret {
            secret: secret.clone(),
            read_at: now,
            tried_at: now,
            refusals: 0,
            refused_at: 0,
        });
        Ok(secret)
    }
}

impl SecretCache {
    fn lock(&self) -> MutexGuard<'_, Option<CachedSecret>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the caller is the one who must read the secret in the background.
    fn begin_refresh(&self) -> bool {
        self.refreshing
            .send_if_modified(|refreshing| !std::mem::replace(refreshing, true))
    }
}

/// Reads the secret in the background. Ends when it is dropped, for any reason.
struct Refresh(Secrets);

impl Drop for Refresh {
    fn drop(&mut self) {
        self.0.0.refreshing.send_replace(false);
    }
}

fn unavailable(operator: bool, detail: String) -> Unavailable {
    Unavailable {
        what: "secret",
        operator,
        detail: detail.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_document_is_parsed() {
        let secret = Secret::parse(
            r#"{"upstream_token":" tok ","auth_pin":"abc123","upstream_headers":{"X-Key":"k"},"origin_secret":"",
                "clients":[{"client_id":"c","client_secret":"s","redirect_uris":["https://client.example/cb"]}]}"#,
            &TokenForm::default(),
        )
        .unwrap();
        assert_eq!(secret.upstream_token.header_value(), "Bearer tok");
        assert!(secret.pin.is("abc123"));
        assert!(secret.origin_secret.is_none());
        assert_eq!(secret.clients[0].client_id, "c");
        let shown = format!("{secret:?}");
        assert!(
            !shown.contains("tok\"") && !shown.contains("abc123") && !shown.contains("\"s\""),
            "{shown}"
        );
    }

    #[test]
    fn null_and_a_byte_order_mark_are_accepted() {
        let secret = Secret::parse(
            "\u{feff}{\"upstream_token\":\"tok\",\"auth_pin\":\"abc123\",\"upstream_headers\":null,\"clients\":null}",
            &TokenForm::default(),
        )
        .unwrap();
        assert!(secret.clients.is_empty() && secret.upstream_headers.is_empty());
    }

    #[test]
    fn each_error_is_named_without_the_value() {
        for (text, what) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "upstream_token is not set"),
            (
                r#"{"upstream_token":"REPLACE-WITH-YOUR-TOKEN","auth_pin":"abc123"}"#,
                "upstream_token is not set",
            ),
            (
                "{\"upstream_token\":\"s\\necret\",\"auth_pin\":\"abc123\"}",
                "a line break inside",
            ),
            (r#"{"upstream_token":"x"}"#, "auth_pin must be"),
            (
                r#"{"upstream_token":"x","auth_pin":"sec"}"#,
                "auth_pin must be",
            ),
            (
                r#"{"upstream_token":"x","auth_pin":"abc123","upstream_headers":{"host":"sec"}}"#,
                "must not set host",
            ),
        ] {
            let problem = Secret::parse(text, &TokenForm::default()).unwrap_err();
            assert!(
                problem.contains(what)
                    && !problem.contains("sec\"")
                    && !problem.contains("ecret\n"),
                "{problem}"
            );
        }
    }
}
