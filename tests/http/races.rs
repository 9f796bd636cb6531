//! Races: fifty requests on connections that are already open, each held back by its last byte and then
//! released at once. Without that, requests of a parallel client arrive one by one and hide a fault.

use std::{collections::BTreeSet, net::SocketAddr};

use dynoxide::Database;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::world::{Options, Pairs, World};

pub const MANY: usize = 50;
/// Several rounds: without the condition in the store, some of them would still succeed.
pub const ROUNDS: usize = 8;

/// A request without its last byte.
pub struct Held {
    stream: TcpStream,
    last: u8,
}

/// Sends a request, whose first line ends with the version, up to its last byte.
pub async fn hold(address: SocketAddr, request: &str) -> Held {
    let (line, rest) = request.split_once("\r\n").unwrap();
    let request = format!("{line}\r\nhost: {address}\r\nconnection: close\r\n{rest}");
    let (last, rest) = request.as_bytes().split_last().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(rest).await.unwrap();
    Held {
        stream,
        last: *last,
    }
}

/// Sends the last byte, and returns the status and the response; of a response with a JSON object only that.
pub async fn release(mut held: Held) -> (u16, String) {
    held.stream.write_all(&[held.last]).await.unwrap();
    let mut response = String::new();
    held.stream.read_to_string(&mut response).await.unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    let body = response.split_once("\r\n\r\n").unwrap().1;
    let json = body.starts_with('{').then(|| body.to_owned());
    (status, json.unwrap_or(response))
}

/// Sends the same form `MANY` times at once, spread over these servers.
pub async fn at_once(addresses: &[SocketAddr], form: &Pairs) -> Vec<(u16, Value)> {
    let body = form.encode();
    let request = format!(
        "POST /token HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let held = join_all((0..MANY).map(|n| hold(addresses[n % addresses.len()], &request))).await;
    let responses = join_all(held.into_iter().map(release)).await;
    let json = |(status, body): (u16, String)| (status, serde_json::from_str(&body).unwrap());
    responses.into_iter().map(json).collect()
}

pub fn succeeded(responses: &[(u16, Value)]) -> Vec<&Value> {
    for (status, body) in responses {
        assert!(
            *status == 200 || body["error"] == "invalid_grant",
            "{status} {body}"
        );
    }
    responses
        .iter()
        .filter(|(status, _)| *status == 200)
        .map(|(_, body)| body)
        .collect()
}

pub fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_parallel_redemptions_of_a_code_one_succeeds_and_the_connection_ends() {
    let w = World::start().await;
    let client = w.client().await;
    for _ in 0..ROUNDS {
        let code = w.code(&client).await;
        let responses = at_once(&[w.address], &w.redeem(&client, &code)).await;
        let successes = succeeded(&responses);
        assert_eq!(successes.len(), 1);
        // The others presented the same code: one of them stole it, and it is unknown which.
        let access = text(successes[0], "access_token");
        assert_eq!(w.status(access).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_parallel_refreshes_get_the_same_pair_of_tokens() {
    let w = World::start().await;
    let client = w.connect().await;
    let form = Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", &client.client_id),
        ("refresh_token", &client.refresh),
    ]);
    let responses = at_once(&[w.address], &form).await;
    let successes = succeeded(&responses);
    assert_eq!(successes.len(), MANY);
    let pairs: BTreeSet<_> = successes
        .iter()
        .map(|tokens| (text(tokens, "access_token"), text(tokens, "refresh_token")))
        .collect();
    assert_eq!(pairs.len(), 1);
    let (access, refresh) = pairs.first().unwrap();
    assert_eq!(w.status(access).await, 200);
    assert_eq!(w.refresh(&client.client_id, refresh).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_on_one_table_behave_as_one_server_in_a_race() {
    let database = Database::memory().unwrap();
    let options = |database| Options {
        database: Some(database),
        settings: vec![("BASE_URL", "https://mcp.example.com".into())],
        ..Options::default()
    };
    let one = World::with_options(options(database.clone())).await;
    let two = World::with_options(options(database)).await;
    let addresses = [one.address, two.address];
    let ask = |w: &World, client: &str| w.authorization_request(client).without("resource");

    let client = one.client().await;
    let mut codes = Vec::new();
    for _ in 0..2 {
        let page = one.open(&ask(&one, &client)).await;
        let decided = one.submit_consent(&page, "authorize", &one.pin).await;
        codes.push(decided.redirected("code").unwrap());
    }
    let responses = at_once(&addresses, &one.redeem(&client, &codes[0])).await;
    assert_eq!(succeeded(&responses).len(), 1);

    let tokens = two.token(&two.redeem(&client, &codes[1])).await.json();
    let form = Pairs::of(&[
        ("grant_type", "refresh_token"),
        ("client_id", &client),
        ("refresh_token", text(&tokens, "refresh_token")),
    ]);
    let responses = at_once(&addresses, &form).await;
    let successes = succeeded(&responses);
    let access: BTreeSet<_> = successes
        .iter()
        .map(|tokens| text(tokens, "access_token"))
        .collect();
    assert_eq!((successes.len(), access.len()), (MANY, 1));
}
