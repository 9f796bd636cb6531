//! Documents at addresses that only the server can reach: internal addresses in every spelling, and indirect ways to
//! them (CWE-918). In a Lambda `127.0.0.1:9001` is the runtime API.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lambda_oauth_mcp_proxy::client_document::{Fetcher, Policy, is_public};
use serde_json::json;

use super::documents::{ID, ask, document, origin, policy, refused, response, world, world_with};
use crate::support::{
    origin::{Origin, Script},
    world::{Options, World},
};

#[tokio::test]
async fn a_document_at_any_forbidden_address_is_never_requested() {
    let origin = origin(&json!({})).await;
    // This policy would allow every connection.
    let w = world_with(&origin, policy(&origin).permitting(|_| true)).await;
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.000.000.001",
        "%31%32%37.0.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "metadata",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "2852039166",
        "168.63.129.16",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[2001:db8::1]",
        "[100::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fec0::1]",
        "[ff02::1]",
        "[3fff::1]",
        "user@client.example",
        "client.example:9001",
        "client.example:80",
        "client.example:443",
        "client.example.",
        "CLIENT.example",
        "client.example\\@127.0.0.1",
    ] {
        let response = ask(&w, &format!("https://{host}/client.json")).await;
        refused(&w, &response, host);
    }
    // An http URL is not a document but a client id that nobody registered.
    for id in [
        "http://client.example/client.json",
        "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
    ] {
        let response = ask(&w, id).await;
        assert_eq!(
            (response.status, response.header("location")),
            (400, ""),
            "{id}"
        );
    }
    for id in [
        "https://client.example",
        "https://client.example/",
        "https://client.example/a/../client.json",
        "https://client.example/%2e%2e/client.json",
        "https://client.example/client.json#x",
        "https://client.example/client .json",
    ] {
        refused(&w, &ask(&w, id).await, id);
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_any_forbidden_address_is_not_followed() {
    let origin = origin(&json!({})).await;
    let good = origin.address;
    let leads_to = Arc::new(Mutex::new(Vec::<SocketAddr>::new()));
    let lookup = leads_to.clone();
    let policy = Policy::public()
        .with_lookup(move |_| std::future::ready(Ok(lookup.lock().unwrap().clone())))
        .permitting(move |address| address == good.ip() || is_public(address));
    let w = world_with(&origin, policy).await;
    for address in [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.2",
        "127.255.255.255",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.19.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:0:127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ] {
        let bad = SocketAddr::new(address.parse::<IpAddr>().unwrap(), good.port());
        // Alone, and together with a public address, in either order.
        for responses in [vec![bad], vec![bad, good], vec![good, bad]] {
            *leads_to.lock().unwrap() = responses;
            refused(&w, &ask(&w, ID).await, address);
        }
    }
    assert_eq!(origin.connections(), 0);
    *leads_to.lock().unwrap() = vec![good];
    assert_eq!(ask(&w, ID).await.status, 200);
}

#[tokio::test]
async fn dns_rebinding_between_check_and_use_finds_no_second_lookup() {
    let origin = origin(&json!({})).await;
    // The target of an attack: something that listens on this machine.
    let runtime = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inside = runtime.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (good, count) = (origin.address, asked.clone());
    let policy = Policy::public()
        .with_lookup(move |_| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            std::future::ready(Ok(vec![if first { good } else { inside }]))
        })
        .permitting({
            let asked = asked.clone();
            // The first response passes as public; from the second on loopback is what it is.
            move |_| asked.load(Ordering::SeqCst) == 1
        });
    let w = world_with(&origin, policy).await;
    assert_eq!(ask(&w, ID).await.status, 200);
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "one lookup for check and use"
    );
    assert_eq!(origin.connections(), 1);
    // When the copy is no longer fresh the name is resolved and checked again; the last valid copy is used.
    w.advance_clock(2 * 3600);
    assert_eq!(ask(&w, ID).await.status, 200);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let reached = tokio::time::timeout(Duration::from_millis(50), runtime.accept()).await;
    assert!(reached.is_err(), "nobody came to the address inside");
}

#[tokio::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    let target = origin(&json!({})).await;
    let here = origin(&json!({})).await;
    let w = world(&here).await;
    for to in [
        "https://127.0.0.1:9001/2018-06-01/runtime/invocation/next".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("https://{}/oauth/client.json", target.address),
        "https://client.example/oauth/client.json".to_owned(),
        "/other.json".to_owned(),
        "file:///etc/passwd".to_owned(),
    ] {
        for code in [301, 302, 303, 307, 308] {
            let head =
                format!("HTTP/1.1 {code} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
            here.now(Script::Respond(head.into_bytes()));
            let before = here.connections();
            refused(&w, &ask(&w, ID).await, &to);
            assert_eq!(
                here.connections(),
                before + 1,
                "one request, whatever it says"
            );
        }
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_rejected() {
    let disguised = Origin::named("other.example", response("", &document(&json!({})))).await;
    let w = world(&disguised).await;
    refused(&w, &ask(&w, ID).await, "another name");
    // Nor is one that no trusted root has signed.
    let honest = origin(&json!({})).await;
    let fetcher = Fetcher::with_policy(lambda_oauth_mcp_proxy::http_client::tls(), policy(&honest));
    let w = World::with_options(Options {
        documents: Some(fetcher),
        ..Options::default()
    })
    .await;
    refused(&w, &ask(&w, ID).await, "another root");
    assert!(honest.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_error_does_not_tell_an_internal_host_from_one_that_does_not_exist() {
    let origin = origin(&json!({})).await;
    let policy = Policy::public().with_lookup(|host| async move {
        match host.as_str() {
            "internal.example" => Ok(vec![SocketAddr::from(([10, 0, 0, 1], 443))]),
            "empty.example" => Ok(Vec::new()),
            _ => Err(std::io::Error::other("no such host")),
        }
    });
    let w = world_with(&origin, policy).await;
    let mut pages = Vec::new();
    for host in ["internal", "missing", "empty"] {
        let id = format!("https://{host}.example/oauth/client.json");
        let page = ask(&w, &id).await;
        refused(&w, &page, host);
        let (_, reason) = page.text.split_once("the host of the client").unwrap();
        pages.push(reason.split('<').next().unwrap().to_owned());
    }
    assert!(pages.iter().all(|page| *page == pages[0]), "{pages:#?}");
}
