//! Guessing the PIN with parallel requests; `consent` and `connections` test guessing one by one.

use futures_util::future::join_all;

use lambda_oauth_mcp_proxy::{credential::Randomness, pin::Pin, store::Store};

use crate::support::world::{BEGIN, Options, Page, Response, World};

/// A try on this page from this address, in a browser that has this cookie besides the page's own.
async fn try_pin(w: &World, page: &Page, address: &str, pin: &str, browser: &str) -> Response {
    let form = [("page", &*page.id), ("pin", pin), ("decision", "authorize")];
    let request = w.post("/authorize").header("x-real-ip", address);
    let cookies = format!("{}; {browser}", page.cookie);
    w.send_as_browser(&cookies, request.form(&form)).await
}

/// The cookie that makes this a known browser.
fn known_browser_cookie(response: &Response) -> String {
    let cookies = response.headers.get_all("set-cookie").iter();
    let mut cookies = cookies.map(|value| value.to_str().unwrap());
    let cookie = cookies
        .find(|cookie| cookie.starts_with("browser_"))
        .unwrap();
    assert!(
        cookie.contains("; Max-Age=7776000; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    cookie.split(';').next().unwrap().to_owned()
}

/// The name of the nth address of a network.
type Name = fn(u32) -> String;

async fn behind_a_proxy() -> (World, Page) {
    let w = World::with_settings(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    (w, page)
}

/// How many tries the table counts: from one address, and overall.
fn counted(w: &World, key: &str) -> u64 {
    w.dump()
        .iter()
        .map(|item| serde_json::from_str::<serde_json::Value>(item).unwrap())
        .filter(|item| item["pk"]["S"] == key)
        .map(|item| item["tries"]["N"].as_str().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_wrong_pins_in_parallel_get_no_more_tries_than_in_sequence() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    for _ in 0..4 {
        join_all((0..50).map(|n| {
            let (w, page) = (&w, &page);
            async move {
                w.submit_consent(page, "authorize", &format!("guess{n:03}"))
                    .await
            }
        }))
        .await;
    }
    assert!(counted(&w, "pin#127.0.0.0/24") <= 5, "{:?}", w.dump());
    assert!(counted(&w, "pin#overall") <= 5);
    let blocked = w.submit_consent(&page, "authorize", &w.pin).await;
    assert_eq!((blocked.status, blocked.header("location")), (429, ""));
    w.advance_clock(30);
    assert_eq!(
        w.submit_consent(&page, "authorize", &w.pin).await.status,
        303,
        "the owner still gets in"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_correct_pin_among_fifty_parallel_tries_succeeds_at_most_once() {
    let w = World::start().await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let responses = join_all((0..50).map(|n| {
        let (w, page) = (&w, &page);
        let pin = if n == 49 {
            w.pin.clone()
        } else {
            format!("guess{n:03}")
        };
        async move { w.submit_consent(page, "authorize", &pin).await }
    }))
    .await;
    let right = responses
        .iter()
        .filter(|response| response.status == 303)
        .count();
    let compared = responses
        .iter()
        .filter(|response| response.status == 403)
        .count();
    // The correct PIN resets the counter: then there are four tries before it and four after it.
    let allowed = if right == 1 { 8 } else { 4 };
    assert!(right <= 1 && compared <= allowed, "{right} {compared}");
}

#[tokio::test]
async fn a_pin_is_compared_in_full() {
    let w = World::with_settings(&[("TRUSTED_PROXY_HEADER", "x-real-ip")]).await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let pin = w.pin.clone();
    for (n, wrong) in [
        pin.to_uppercase() + "x",
        format!("{} {}", &pin[..5], &pin[5..]),
        pin[..9].to_owned(),
        format!("{pin}{pin}"),
        format!("{pin}%00"),
        String::new(),
    ]
    .iter()
    .enumerate()
    {
        let response = try_pin(&w, &page, &format!("198.51.100.{n}"), wrong, "").await;
        assert_eq!(response.status, 403, "{n}");
    }
}

#[tokio::test]
async fn white_space_and_case_of_a_pasted_pin_do_not_matter() {
    let (w, page) = behind_a_proxy().await;
    let pin = w.pin.clone();
    for pasted in [format!(" {pin}"), format!("{pin}\t"), pin.to_uppercase()] {
        assert_eq!(
            try_pin(&w, &page, "198.51.100.1", &pasted, "").await.status,
            303,
            "{pasted:?}"
        );
    }
}

#[tokio::test]
async fn an_ipv6_network_cannot_act_as_thousands_of_addresses() {
    // Many /64 networks of one household; one /56 for each household in the /48 of a provider; a /24.
    let names: [(Name, u32); 2] = [
        (|n| format!("2001:db8:0:{n:x}::1"), 25),
        (|n| format!("198.51.100.{n}"), 50),
    ];
    for (name, allowed) in names {
        let addresses: Vec<_> = (0..allowed + 3).map(name).collect();
        let (w, page) = behind_a_proxy().await;
        let mut compared = 0;
        for address in &addresses {
            match try_pin(&w, &page, address, "wrong000", "").await.status {
                403 => compared += 1,
                status => assert_eq!(status, 429),
            }
        }
        assert_eq!(compared, allowed, "{}", addresses[0]);
        let elsewhere = try_pin(&w, &page, "203.0.113.1", &w.pin, "").await;
        assert_eq!(elsewhere.status, 303, "nobody else is locked out");
        let inside = try_pin(&w, &page, &name(allowed + 3), &w.pin, "").await;
        assert_eq!((inside.status, inside.header("location")), (429, ""));
        // Not even there, in a browser that the owner has used.
        let browser = known_browser_cookie(&elsewhere);
        let known = try_pin(&w, &page, &name(allowed + 3), &w.pin, &browser).await;
        assert_eq!(known.status, 303);
        w.advance_clock(86_400);
        let client = w.client().await;
        let page = w.open(&w.authorization_request(&client)).await;
        let next_day = try_pin(&w, &page, &addresses[0], &w.pin, "").await;
        assert_eq!(next_day.status, 303);
    }
}

#[tokio::test]
async fn when_the_daily_limit_of_tries_is_reached_known_browsers_still_get_in() {
    let (w, page) = behind_a_proxy().await;
    let first = try_pin(&w, &page, "203.0.113.7", &w.pin, "").await;
    assert_eq!(first.status, 303);
    let browser = known_browser_cookie(&first);
    let wrong = try_pin(&w, &page, "198.51.100.1", "wrong000", "").await;
    assert_eq!(wrong.status, 403);
    w.set_tries_of_the_day(100_000).await;

    // The address proves nothing. The cookie does, from any address.
    let same_address = try_pin(&w, &page, "203.0.113.7", &w.pin, "").await;
    assert_eq!(
        (same_address.status, same_address.header("location")),
        (429, "")
    );
    let (start, last) = browser.split_at(browser.len() - 1);
    let forged = format!("{start}{}", if last == "A" { "E" } else { "A" });
    assert_eq!(
        try_pin(&w, &page, "203.0.113.7", &w.pin, &forged)
            .await
            .status,
        429
    );
    let anywhere = try_pin(&w, &page, "192.0.2.200", &w.pin, &browser).await;
    assert_eq!(anywhere.status, 303);
    let browser = known_browser_cookie(&anywhere);

    // A stolen cookie is worth five tries, then one an hour.
    for status in [403, 403, 403, 403, 429] {
        assert_eq!(
            try_pin(&w, &page, "192.0.2.1", "wrong000", &browser)
                .await
                .status,
            status
        );
    }
    assert_eq!(
        try_pin(&w, &page, "192.0.2.2", &w.pin, &browser)
            .await
            .status,
        429
    );
    w.advance_clock(30);
    let again = try_pin(&w, &page, "192.0.2.2", &w.pin, &browser).await;
    assert_eq!(again.status, 303);

    // The owner has a new cookie now, which the thief's tries do not block.
    let new = known_browser_cookie(&again);
    for (cookie, status) in [(&browser, 429), (&new, 303)] {
        let tried = try_pin(&w, &page, "192.0.2.2", &w.pin, cookie).await;
        assert_eq!(tried.status, status);
    }

    // And it is known for 90 days.
    w.advance_clock(90 * 86_400);
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    assert_eq!(
        try_pin(&w, &page, "192.0.2.1", "wrong000", "").await.status,
        403
    );
    w.set_tries_of_the_day(100_000).await;
    assert_eq!(
        try_pin(&w, &page, "192.0.2.3", &w.pin, &new).await.status,
        429
    );
}

#[tokio::test]
async fn refusals_because_of_the_daily_limit_write_nothing_but_once_a_minute() {
    let (w, page) = behind_a_proxy().await;
    assert_eq!(
        try_pin(&w, &page, "198.51.100.1", "wrong000", "")
            .await
            .status,
        403
    );
    w.set_tries_of_the_day(100_000).await;
    let refuse = async |address: &str| {
        let refused = try_pin(&w, &page, address, "wrong000", "").await;
        assert_eq!(refused.status, 429);
    };
    // More often than the owner's address may fail.
    for minute in 0..8 {
        refuse("192.0.2.1").await;
        let after = w.dump();
        for n in 1..5 {
            refuse(&format!("2001:db8:{minute}{n}::1")).await;
        }
        assert_eq!(w.dump(), after);
        w.advance_clock(60);
    }
    // The owner deletes the day's count, as the documentation says.
    w.reopen_consent().await;
    let right = try_pin(&w, &page, "192.0.2.1", &w.pin, "").await;
    assert_eq!(right.status, 303);
}

#[tokio::test]
async fn a_browser_that_one_instance_made_known_is_known_to_every_other() {
    let w = World::start().await;
    let instance = || {
        let table = "lambda-oauth-mcp-proxy".to_owned();
        Store::new(w.dynamodb(), table, Randomness::system())
    };
    // The first instances of a new table, at the same time.
    let instances = [instance(), instance(), instance()];
    let cookies = join_all(
        instances
            .iter()
            .map(|store| store.known_browser_cookie(BEGIN)),
    )
    .await;
    for store in instances.iter().chain([&instance()]) {
        for cookie in &cookies {
            let known = store
                .is_known_browser(cookie.as_ref().unwrap(), BEGIN)
                .await;
            assert!(known.unwrap());
        }
    }
}

#[tokio::test]
async fn a_cookie_planted_before_the_pin_does_not_become_a_known_browser() {
    let (w, page) = behind_a_proxy().await;
    let name = format!("browser_{}", w.url("").rsplit(':').next().unwrap());
    let planted = format!("{name}=AAAAAAAAAAAAAAAAAAAAAA");
    let signed_in = try_pin(&w, &page, "203.0.113.7", &w.pin, &planted).await;
    assert_ne!(known_browser_cookie(&signed_in), planted);
    assert_eq!(
        try_pin(&w, &page, "198.51.100.1", "wrong000", "")
            .await
            .status,
        403
    );
    w.set_tries_of_the_day(100_000).await;
    assert_eq!(
        try_pin(&w, &page, "192.0.2.1", &w.pin, &planted)
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn a_short_pin_allows_a_thousand_tries_a_day() {
    let w = World::with_options(Options {
        settings: vec![("TRUSTED_PROXY_HEADER", "x-real-ip".to_owned())],
        secret: Some(Box::new(|secret| {
            secret.pin = Pin::parse("abc123x").unwrap();
        })),
        ..Options::default()
    })
    .await;
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    assert_eq!(
        try_pin(&w, &page, "198.51.100.1", "wrong000", "")
            .await
            .status,
        403
    );
    w.set_tries_of_the_day(999).await;
    assert_eq!(
        try_pin(&w, &page, "198.51.100.2", "wrong000", "")
            .await
            .status,
        403
    );
    assert_eq!(
        try_pin(&w, &page, "198.51.100.3", "abc123x", "")
            .await
            .status,
        429
    );
}

#[tokio::test]
async fn known_browsers_share_a_daily_limit_and_their_wrong_tries_are_counted_on_the_day_itself() {
    let (w, page) = behind_a_proxy().await;
    let browser = known_browser_cookie(&try_pin(&w, &page, "203.0.113.7", &w.pin, "").await);
    let day = |w: &World| {
        let items = w.dump();
        let items = items
            .iter()
            .map(|item| serde_json::from_str::<serde_json::Value>(item).unwrap());
        items
            .into_iter()
            .find(|item| item["pk"]["S"] == "pin#overall" && item["sk"]["S"] == w.day())
            .unwrap()
    };
    let wrong = try_pin(&w, &page, "203.0.113.7", "wrong000", &browser).await;
    assert_eq!((wrong.status, &day(&w)["wrong"]["N"]), (403, &"1".into()));
    w.advance_clock(40 * 86_400);
    let client = w.client().await;
    let page = w.open(&w.authorization_request(&client)).await;
    let wrong = try_pin(&w, &page, "203.0.113.7", "wrong000", &browser).await;
    let today = day(&w);
    assert_eq!((wrong.status, &today["wrong"]["N"]), (403, &"1".into()));
    assert_eq!(today["known_browser_tries"]["N"], "1");
    assert!(today["tries"].is_null(), "{today}");
}

#[tokio::test]
async fn when_the_limit_of_known_browsers_is_reached_one_counts_like_any_other() {
    let (w, page) = behind_a_proxy().await;
    let browser = known_browser_cookie(&try_pin(&w, &page, "203.0.113.7", &w.pin, "").await);
    w.set_counter_of_the_day("known_browser_tries", 200).await;
    let right = try_pin(&w, &page, "203.0.113.8", &w.pin, &browser).await;
    assert_eq!(right.status, 303);
    // It is worth no more tries than before.
    for status in [403, 403, 403, 403, 429] {
        let wrong = try_pin(&w, &page, "198.51.100.1", "wrong000", &browser).await;
        assert_eq!(wrong.status, status);
    }
}

#[tokio::test]
async fn a_blocked_address_does_not_block_a_known_browser_behind_it() {
    let (w, page) = behind_a_proxy().await;
    let address = "203.0.113.7";
    let browser = known_browser_cookie(&try_pin(&w, &page, address, &w.pin, "").await);
    // The right PIN was the first try.
    for status in [403, 403, 403, 429] {
        let wrong = try_pin(&w, &page, address, "wrong000", "").await;
        assert_eq!(wrong.status, status);
    }
    for (cookie, status) in [("", 429), (&*browser, 303)] {
        let right = try_pin(&w, &page, address, &w.pin, cookie).await;
        assert_eq!(right.status, status);
    }
}
