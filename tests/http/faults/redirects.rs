//! Redirects by the upstream: followed within its origin if they keep the method, and nothing is ever sent anywhere else.

use axum::response::IntoResponse as _;
use http::{HeaderValue, StatusCode};

use crate::support::{
    recorder::Recorder,
    world::{Connected, World},
};

/// The upstream redirects requests to `/mcp` with this status and Location, and requests to `/chain/n` to `/chain/n-1`.
fn redirects(w: &World, status: u16, location: Option<&[u8]>) {
    let location = location.map(|bytes| HeaderValue::from_bytes(bytes).unwrap());
    w.upstream.responds(move |request| {
        let chain = request.target.strip_prefix("/chain/");
        let next = match chain.map(|left| left.parse::<usize>().unwrap()) {
            Some(0) => None,
            Some(left) => Some(format!("/chain/{}", left - 1).parse().unwrap()),
            None if request.target == "/mcp" => {
                let mut response = StatusCode::from_u16(status).unwrap().into_response();
                if let Some(location) = &location {
                    response.headers_mut().insert("location", location.clone());
                }
                return response;
            }
            None => None,
        };
        let Some(next) = next else {
            return ([("content-type", "application/json")], "{}").into_response();
        };
        let next: HeaderValue = next;
        (StatusCode::TEMPORARY_REDIRECT, [("location", next)]).into_response()
    });
}

/// The status of a call, and the targets of the requests that it made.
async fn targets(w: &World, client: &Connected) -> (u16, Vec<String>) {
    let before = w.upstream.requests().len();
    let call = w.call(&client.access);
    let response = call.header("accept", "application/json").send().await;
    let requests = w.upstream.requests().split_off(before);
    for request in &requests {
        // All of the request, each time, with the credential that is configured and no other.
        assert_eq!(request.method, "POST");
        assert!(request.body.starts_with(br#"{"id":1"#), "{request:?}");
        let bearer = format!("Bearer {}", w.pat);
        assert_eq!(request.header("authorization"), Some(&*bearer));
        assert_eq!(request.headers.get_all("authorization").iter().count(), 1);
    }
    let targets = requests.into_iter().map(|request| request.target);
    (response.status, targets.collect())
}

#[tokio::test]
async fn a_redirect_is_followed_within_the_origin_only_and_only_if_it_keeps_the_method() {
    let w = World::start().await;
    let client = w.connect().await;
    let other = Recorder::start().await;
    let (own, port) = (w.upstream.address, w.upstream.address.port());
    let absolute = format!("http://{own}/x?y=1");
    // A backslash is a slash in a URL (WHATWG), so this is a path.
    let backslash = format!("http://{own}\\@other.example/");
    for status in [307, 308] {
        for (location, target) in [
            ("/x?y=1", "/x?y=1"),
            ("x", "/x"),
            ("?y=1", "/mcp?y=1"),
            ("./a/../x", "/x"),
            ("../../x", "/x"),
            ("/x#fragment", "/x"),
            (&absolute, "/x?y=1"),
            (&backslash, "/@other.example/"),
            ("/chain/2", "/chain/2"),
        ] {
            redirects(&w, status, Some(location.as_bytes()));
            let (got, targets) = targets(&w, &client).await;
            assert_eq!(got, 200, "{status} {location}");
            assert_eq!(targets[1], target, "{status} {location}");
        }
    }
    let elsewhere = [
        format!("http://{}/", other.address),
        format!("//{}/", other.address),
        format!("https://{own}/"),
        format!("http://localhost:{port}/"),
        format!("http://user@{own}/"),
        format!("http://:password@{own}/"),
        format!("http://{own}@{}/", other.address),
        "file:///etc/passwd".to_owned(),
        "data:,x".to_owned(),
        "javascript:x".to_owned(),
        "http://[".to_owned(),
        "http://".to_owned(),
        // The same URL again, for ever; and one redirect too many.
        String::new(),
        "/mcp".to_owned(),
        "/chain/3".to_owned(),
    ];
    for location in &elsewhere {
        redirects(&w, 307, Some(location.as_bytes()));
        let (got, targets) = targets(&w, &client).await;
        assert_eq!(got, 502, "{location}");
        assert!(targets.len() <= 4, "{location}: {targets:?}");
    }
    for status in [300, 301, 302, 303, 305, 306, 399] {
        redirects(&w, status, Some(b"/x"));
        assert_eq!(targets(&w, &client).await, (502, vec!["/mcp".to_owned()]));
    }
    for location in [None, Some(&b"/\xff"[..])] {
        redirects(&w, 307, location);
        assert_eq!(targets(&w, &client).await, (502, vec!["/mcp".to_owned()]));
    }
    assert!(other.requests().is_empty());
}
