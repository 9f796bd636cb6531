//! Fetching from hostile origins and with hostile resolvers.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lambda_oauth_mcp_proxy::client_document::is_public;

use super::{
    DOCUMENT, DocumentUrl, FetchError, Fetcher, Origin, Policy, Script, Validators, fetch, json,
    ok, policy, url,
};

/// Long enough to reach the origin on a busy machine, short enough to wait for.
const SHORT_TIMEOUT: Duration = Duration::from_millis(700);

async fn refusal(script: Script) -> FetchError {
    let origin = Origin::start(script).await;
    let error = fetch(&origin).await.unwrap_err();
    assert_eq!(origin.connections(), 1, "one try, whatever comes of it");
    error
}

fn status(line: &str) -> Script {
    Script::Respond(format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes())
}

#[tokio::test]
async fn redirects_are_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        let line = format!("{code} Elsewhere\r\nlocation: https://client.example/other.json");
        assert_eq!(refusal(status(&line)).await, FetchError::Redirect);
    }
}

#[tokio::test]
async fn other_statuses_are_refused_even_with_a_document() {
    for code in [201, 203, 206, 403, 404, 410, 429, 500, 503] {
        let response =
            String::from_utf8(ok("content-type: application/json\r\n", DOCUMENT)).unwrap();
        let response = response.replacen("200 OK", &format!("{code} No"), 1);
        let error = refusal(Script::Respond(response.into_bytes())).await;
        assert_eq!(error, FetchError::Status(code));
        assert!(error.to_string().contains(&code.to_string()));
    }
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let html = ok("content-type: text/html\r\n", DOCUMENT);
    assert_eq!(
        refusal(Script::Respond(html)).await,
        FetchError::ContentType
    );
    let untyped = ok("", DOCUMENT);
    assert_eq!(
        refusal(Script::Respond(untyped)).await,
        FetchError::ContentType
    );
}

#[tokio::test]
async fn a_compressed_document_is_refused_unread() {
    // The start of a gzip stream: decompressed, it could have any size.
    let lines = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    let mut response = ok(lines, "");
    response.extend_from_slice(&[0x1f, 0x8b, 8, 0]);
    assert_eq!(
        refusal(Script::Respond(response)).await,
        FetchError::Compressed
    );
}

#[tokio::test]
async fn a_document_that_is_not_utf8_is_refused() {
    let mut response =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\n".to_vec();
    response.extend_from_slice(b"{\"\xff\"");
    assert_eq!(
        refusal(Script::Respond(response)).await,
        FetchError::NotUtf8
    );
}

#[tokio::test]
async fn a_document_announced_as_too_large_is_not_waited_for() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5121\r\n\r\n";
    // It never sends the body, so only a refusal because of the header can end this before the time limit.
    assert_eq!(
        refusal(Script::Hang(head.into())).await,
        FetchError::TooLarge
    );
}

#[tokio::test]
async fn an_endless_document_is_cut_at_5_kb_and_its_connection_closed() {
    let chunked =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let piece = "a".repeat(256);
    let chunk = format!("100\r\n{piece}\r\n");
    for (head, again) in [(chunked, chunk), (until_close, piece)] {
        let mut origin = Origin::start(Script::Endless(head.into(), again.into())).await;
        assert_eq!(fetch(&origin).await, Err(FetchError::TooLarge));
        origin.ended.wait_for(|ended| *ended == 1).await.unwrap();
    }
}

#[tokio::test]
async fn endless_response_headers_are_refused() {
    let mut flood = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_owned();
    for n in 0..1000 {
        let _ = write!(flood, "x-{n}: {n}\r\n");
    }
    flood += "content-length: 0\r\n\r\n";
    assert_eq!(
        refusal(Script::Respond(flood.into())).await,
        FetchError::Incomplete
    );

    let start = "HTTP/1.1 200 OK\r\nx: ";
    let mut origin = Origin::start(Script::Endless(start.into(), vec![b'a'; 4096])).await;
    assert_eq!(fetch(&origin).await, Err(FetchError::Incomplete));
    origin.ended.wait_for(|ended| *ended == 1).await.unwrap();
}

#[tokio::test]
async fn a_truncated_response_or_one_that_is_not_http_is_refused() {
    let mut short = ok("content-type: application/json\r\n", DOCUMENT);
    short.truncate(short.len() - 1);
    assert_eq!(
        refusal(Script::Respond(short)).await,
        FetchError::Incomplete
    );
    for garbage in ["", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n"] {
        let error = refusal(Script::Respond(garbage.into())).await;
        assert_eq!(error, FetchError::Incomplete, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_response_that_stalls_anywhere_ends_with_the_time_limit() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    for sent in ["", "HTTP/1.1 200", head, &format!("{head}{{")] {
        let mut origin = Origin::start(Script::Hang(sent.into())).await;
        let fetcher =
            Fetcher::with_policy(origin.tls.clone(), policy(&origin).within(SHORT_TIMEOUT));
        let outcome = fetcher.fetch(&url(), &Validators::default()).await;
        assert_eq!(outcome, Err(FetchError::TimedOut), "{sent:?}");
        // And its connection is closed.
        origin.ended.wait_for(|ended| *ended == 1).await.unwrap();
    }
}

#[tokio::test]
async fn endless_interim_responses_do_not_outlast_the_time_limit() {
    let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec();
    let origin = Origin::start(Script::Endless(vec![], interim)).await;
    let fetcher = Fetcher::with_policy(origin.tls.clone(), policy(&origin).within(SHORT_TIMEOUT));
    let outcome = fetcher.fetch(&url(), &Validators::default()).await;
    assert_eq!(outcome, Err(FetchError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_given_five_seconds() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let started = tokio::time::Instant::now();
    let policy = policy(&origin).with_lookup(|_| std::future::pending());
    let fetcher = Fetcher::with_policy(origin.tls.clone(), policy);
    let outcome = fetcher.fetch(&url(), &Validators::default()).await;
    assert_eq!(outcome, Err(FetchError::TimedOut));
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_host_without_a_trusted_certificate_is_refused() {
    let origin = Origin::named("other.example", json(DOCUMENT)).await;
    assert_eq!(fetch(&origin).await, Err(FetchError::Untrusted));
    assert!(origin.requests.lock().unwrap().is_empty());

    // The right name, but from an unknown certificate authority.
    let stranger = Origin::start(json(DOCUMENT)).await;
    let outcome = Fetcher::with_policy(origin.tls.clone(), policy(&stranger))
        .fetch(&url(), &Validators::default())
        .await;
    assert_eq!(outcome, Err(FetchError::Untrusted));
    assert!(stranger.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_resolver_is_asked_once_so_that_a_second_answer_cannot_differ() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (counter, address) = (asked.clone(), origin.address);
    let policy = policy(&origin).with_lookup(move |host| {
        assert_eq!(host, "client.example");
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let rebound = SocketAddr::from(([169, 254, 169, 254], 80));
        async move { Ok(vec![if first { address } else { rebound }]) }
    });
    let fetcher = Fetcher::with_policy(origin.tls.clone(), policy);
    assert!(fetcher.fetch(&url(), &Validators::default()).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The next fetch resolves and checks again.
    let outcome = fetcher.fetch(&url(), &Validators::default()).await;
    assert_eq!(outcome, Err(FetchError::NoPublicAddress));
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn one_forbidden_address_makes_the_whole_dns_answer_invalid() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let good = origin.address;
    for bad in [
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:11.0.0.1",
        "fd00:ec2::254",
    ] {
        let bad = SocketAddr::new(bad.parse().unwrap(), good.port());
        for response in [vec![good, bad], vec![bad, good]] {
            let policy = Policy::public()
                .with_lookup(move |_| std::future::ready(Ok(response.clone())))
                .permitting(move |address| address == good.ip() || is_public(address));
            let outcome = Fetcher::with_policy(origin.tls.clone(), policy)
                .fetch(&url(), &Validators::default())
                .await;
            assert_eq!(outcome, Err(FetchError::NoPublicAddress), "{bad}");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn in_production_loopback_is_forbidden_whatever_name_leads_there() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let address = origin.address;
    let policy = Policy::public().with_lookup(move |_| async move { Ok(vec![address]) });
    let outcome = Fetcher::with_policy(origin.tls.clone(), policy)
        .fetch(&url(), &Validators::default())
        .await;
    assert_eq!(outcome, Err(FetchError::NoPublicAddress));
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn addresses_of_the_system_resolver_are_checked_like_any_other() {
    let origin = Origin::start(json(DOCUMENT)).await;
    // Names below `localhost` resolve to loopback or not at all (RFC 6761 §6.3).
    let url = DocumentUrl::parse("https://a.localhost/client.json").unwrap();
    let outcome = Fetcher::new(origin.tls.clone())
        .fetch(&url, &Validators::default())
        .await;
    assert_eq!(outcome, Err(FetchError::NoPublicAddress));
}

#[tokio::test]
async fn a_literal_ip_address_is_checked_without_a_dns_lookup() {
    let origin = Origin::start(json(DOCUMENT)).await;
    for (url, address) in [
        ("https://11.0.0.1/client.json", "11.0.0.1"),
        ("https://[2003::1]/client.json", "2003::1"),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let policy = Policy::public()
            .with_lookup(|_| async { panic!("a resolver was asked about an address") })
            .permitting(move |judged| {
                assert_eq!(judged, address);
                false
            });
        let outcome = Fetcher::with_policy(origin.tls.clone(), policy)
            .fetch(&DocumentUrl::parse(url).unwrap(), &Validators::default())
            .await;
        assert_eq!(outcome, Err(FetchError::NoPublicAddress));
    }
}

#[tokio::test]
async fn with_too_many_fetches_at_once_the_next_is_refused_until_one_ends() {
    let origin = Origin::start(json(DOCUMENT)).await;
    let address = origin.address;
    let policy = policy(&origin).with_lookup(move |host| async move {
        if host == "slow.example" {
            std::future::pending::<()>().await;
        }
        Ok(vec![address])
    });
    let fetcher = Fetcher::with_policy(origin.tls.clone(), policy);
    let slow = DocumentUrl::parse("https://slow.example/client.json").unwrap();
    let under_way: Vec<_> = (0..8)
        .map(|_| {
            let (fetcher, slow) = (fetcher.clone(), slow.clone());
            tokio::spawn(async move { fetcher.fetch(&slow, &Validators::default()).await })
        })
        .collect();
    // Each spawned fetch takes its slot before it first waits.
    tokio::task::yield_now().await;
    let outcome = fetcher.fetch(&url(), &Validators::default()).await;
    assert_eq!(outcome, Err(FetchError::Busy));
    // A fetch that nobody waits for any more frees its slot.
    for fetch in under_way {
        fetch.abort();
        let _ = fetch.await;
    }
    assert!(fetcher.fetch(&url(), &Validators::default()).await.is_ok());
}
