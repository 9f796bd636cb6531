//! The host on one machine: who calls and at which base URL, and the signals that stop it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, Request, StatusCode, header::HOST};

use super::drain::DrainedBody;
use crate::{
    app::{App, Caller},
    endpoint,
    oauth::resource::BaseUrl,
};

/// The base URLs of this listener.
#[derive(Clone, Debug)]
pub enum Names {
    /// `BASE_URL` is set. An https one is reached through a tunnel or proxy, which may send any Host header; an http one
    /// is a loopback address, and the Host header must name it, for the same reason as below.
    Configured(BaseUrl),
    /// A loopback listener: exactly these three, chosen by the Host header. Any other Host is refused, so that
    /// a web page cannot reach us under a name of its own (DNS rebinding).
    Loopback([BaseUrl; 3]),
}

impl Names {
    /// The names of a listener on a loopback address, the one that it listens on first.
    ///
    /// # Panics
    /// Never: the three are well-formed.
    #[must_use]
    pub fn of_loopback(listener: SocketAddr) -> Self {
        let port = listener.port();
        // An origin does not name the scheme's own port (RFC 6454 §6.1).
        let port = if port == 80 {
            String::new()
        } else {
            format!(":{port}")
        };
        let mut hosts = ["127.0.0.1", "localhost", "[::1]"];
        if listener.is_ipv6() {
            hosts.reverse();
        }
        Self::Loopback(hosts.map(|host| {
            BaseUrl::parse(&format!("http://{host}{port}"))
                .expect("a loopback origin is a base URL")
        }))
    }

    /// The name of this request, and the others; `None` when the Host header holds none of them.
    fn of_request(&self, headers: &HeaderMap) -> Option<(BaseUrl, Vec<BaseUrl>)> {
        match self {
            Self::Configured(base) if base.is_https() || is_named(base, headers) => {
                Some((base.clone(), Vec::new()))
            }
            Self::Configured(_) => None,
            Self::Loopback(names) => {
                let name = names.iter().find(|name| is_named(name, headers))?;
                Some((
                    name.clone(),
                    names
                        .iter()
                        .filter(|other| *other != name)
                        .cloned()
                        .collect(),
                ))
            }
        }
    }
}

/// Whether the Host header has this base URL's authority, with or without port 80.
fn is_named(base: &BaseUrl, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let authority = base.authority();
    host.is_some_and(|host| {
        let host = host.strip_suffix(":80").unwrap_or(host);
        host.eq_ignore_ascii_case(authority)
    }) && hosts.next().is_none()
}

/// The whole service of one machine, ready for a listener.
pub fn router(app: App, names: Names) -> Router {
    let host = Arc::new(Host {
        names,
        trusted_proxy_header: app.config.trusted_proxy_header.clone(),
        randomness: app.randomness.clone(),
    });
    endpoint::router(app).layer(middleware::from_fn(move |request, next| {
        identify(host.clone(), request, next)
    }))
}

struct Host {
    names: Names,
    trusted_proxy_header: Option<HeaderName>,
    randomness: crate::credential::Randomness,
}

/// Adds the [`Caller`] to the request.
async fn identify(host: Arc<Host>, request: Request<Body>, next: Next) -> Response {
    let Some((base, aliases)) = host.names.of_request(request.headers()) else {
        let body = "This server responds only at the address that it was started with.\n";
        return (StatusCode::MISDIRECTED_REQUEST, body).into_response();
    };
    let socket = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let address = match &host.trusted_proxy_header {
        Some(name) => forwarded(request.headers(), name),
        None => socket,
    };
    let request_id = host.randomness.id();
    let mut request = request.map(|body| Body::new(DrainedBody::new(body)));
    request.extensions_mut().insert(Caller {
        base,
        aliases,
        address,
        request_id,
        deadline: None,
    });
    next.run(request).await
}

/// The client's IP address, as the trusted tunnel states it. Of a list the last entry counts: the nearest proxy added
/// it, and a client can write those in front of it.
fn forwarded(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let last = headers
        .get_all(name)
        .iter()
        .next_back()?
        .to_str()
        .ok()?
        .rsplit(',')
        .next()?
        .trim();
    last.parse()
        .ok()
        .or_else(|| last.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// An item for each SIGINT or SIGTERM.
///
/// # Errors
/// When the signals cannot be listened to.
#[cfg(unix)]
pub fn signals() -> io::Result<impl Stream<Item = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let both = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(stream::unfold(
        both,
        |(mut interrupt, mut terminate)| async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Some(((), (interrupt, terminate)))
        },
    ))
}

/// An item for each Ctrl-C.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn signals() -> io::Result<impl Stream<Item = ()>> {
    Ok(stream::unfold((), |()| async {
        tokio::signal::ctrl_c().await.ok().map(|()| ((), ()))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_loopback_listener_has_exactly_three_names() {
        let names = Names::of_loopback(([127, 0, 0, 1], 8787).into());
        for (host, base) in [
            ("127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("LocalHost:8787", "http://localhost:8787"),
            ("[::1]:8787", "http://[::1]:8787"),
        ] {
            let (name, others) = names.of_request(&headers(&[("host", host)])).unwrap();
            assert_eq!(name.as_str(), base);
            assert_eq!(others.len(), 2);
        }
        let listens_on = |address: &str| match Names::of_loopback(address.parse().unwrap()) {
            Names::Loopback([first, ..]) => first.as_str().to_owned(),
            Names::Configured(_) => unreachable!(),
        };
        for address in ["127.0.0.1:8787", "[::1]:8787"] {
            assert_eq!(listens_on(address), format!("http://{address}"));
        }
        for host in [
            "evil.example:8787",
            "localhost",
            "localhost:8788",
            "127.0.0.2:8787",
            "localhost.:8787",
            "",
        ] {
            assert!(
                names.of_request(&headers(&[("host", host)])).is_none(),
                "{host}"
            );
        }
    }

    #[test]
    fn port_80_may_be_written_or_left_out() {
        let names = Names::of_loopback(([127, 0, 0, 1], 80).into());
        for host in ["localhost", "localhost:80"] {
            let (name, _) = names.of_request(&headers(&[("host", host)])).unwrap();
            assert_eq!(name.as_str(), "http://localhost");
        }
        assert!(
            names
                .of_request(&headers(&[("host", "localhost:8080")]))
                .is_none()
        );
    }

    #[test]
    fn a_configured_http_base_url_is_checked_and_an_https_one_is_not() {
        let named = |base: &str, host: &'static str| {
            let names = Names::Configured(BaseUrl::parse(base).unwrap());
            names.of_request(&headers(&[("host", host)])).is_some()
        };
        assert!(named("https://mcp.example.com", "tunnel.example:8787"));
        assert!(named("http://localhost:8787", "LocalHost:8787"));
        assert!(!named("http://localhost:8787", "evil.example:8787"));
        assert!(!named("http://localhost:8787", "127.0.0.1:8787"));
        assert!(named("http://127.0.0.1", "127.0.0.1:80"));
    }

    #[test]
    fn the_address_that_the_nearest_proxy_added_counts() {
        let name = HeaderName::from_static("x-forwarded-for");
        let read = |value| {
            forwarded(&headers(&[("x-forwarded-for", value)]), &name).map(|a| a.to_string())
        };
        assert_eq!(read("203.0.113.9"), Some("203.0.113.9".to_owned()));
        assert_eq!(
            read("198.51.100.1, 203.0.113.9"),
            Some("203.0.113.9".to_owned())
        );
        assert_eq!(read("203.0.113.9:4711"), Some("203.0.113.9".to_owned()));
        assert_eq!(read("unknown"), None);
    }
}
