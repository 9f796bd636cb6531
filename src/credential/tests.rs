//! What is issued parses back, and nothing else does; nothing prints a secret.

use super::*;

fn counting() -> Randomness {
    let next = std::sync::atomic::AtomicU8::new(1);
    Randomness::from_fn(move |bytes| {
        bytes.fill(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    })
}

#[test]
fn what_is_issued_parses_back_to_the_same_fingerprint() {
    let randomness = Randomness::system();
    let id = ConnectionId::generate(&randomness);
    let code = Code::generate(&id, &randomness);
    assert_eq!(
        Code::parse(code.expose()).unwrap().fingerprint(),
        code.fingerprint()
    );
    let refresh = RefreshToken::generate(&id, &randomness);
    let parsed = RefreshToken::parse(&refresh.expose()).unwrap();
    assert_eq!(parsed.fingerprint(), refresh.fingerprint());
    assert_eq!(parsed.family(), refresh.family());
    assert_eq!(parsed.id(), &id);
}

#[test]
fn one_kind_is_never_taken_for_another() {
    let randomness = Randomness::system();
    let id = ConnectionId::generate(&randomness);
    let code = Code::generate(&id, &randomness);
    assert!(AccessToken::parse(code.expose()).is_none());
    assert!(RefreshToken::parse(code.expose()).is_none());
}

#[test]
fn only_the_exact_form_is_read() {
    let randomness = counting();
    let id = ConnectionId::generate(&randomness);
    let good = AccessToken::generate(&id, &randomness).expose().to_owned();
    for bad in [
        String::new(),
        "mcp_at_".to_owned(),
        format!("{good}="),
        format!(" {good}"),
        good.replace('.', ""),
        good.to_uppercase(),
        // The last character of 32 bytes carries four unused bits: another spelling is another token.
        format!("{}B", &good[..good.len() - 1]),
        format!("{good}.{good}"),
        "mcp_at_".to_owned() + &"a".repeat(60_000),
    ] {
        assert!(AccessToken::parse(&bad).is_none(), "{bad}");
    }
}

#[test]
fn successors_repeat_for_the_same_nonce_and_differ_for_every_other_input() {
    let randomness = Randomness::system();
    let id = ConnectionId::generate(&randomness);
    let token = RefreshToken::generate(&id, &randomness);
    let nonce = Nonce::generate(&randomness);
    let (access, refresh) = token.successors(&nonce, 1);
    let again = token.successors(&Nonce::parse(&nonce.to_text()).unwrap(), 1);
    assert_eq!(access.expose(), again.0.expose());
    assert_eq!(refresh.expose(), again.1.expose());
    assert_eq!(refresh.family(), token.family());
    assert_ne!(token.successors(&nonce, 2).0.expose(), access.expose());
    assert_ne!(
        token
            .successors(&Nonce::generate(&randomness), 1)
            .0
            .expose(),
        access.expose()
    );
    let stranger = RefreshToken::generate(&id, &randomness);
    assert_ne!(stranger.successors(&nonce, 1).0.expose(), access.expose());
}

/// Random bytes are all 0xAB here, so a secret is found in whatever form it is printed.
#[test]
fn debug_output_shows_no_secret() {
    let randomness = Randomness::from_fn(|bytes| bytes.fill(0xAB));
    let id = ConnectionId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let refresh = RefreshToken::generate(&id, &randomness);
    let printed = [
        format!("{:#?}", Code::generate(&id, &randomness)),
        format!("{:#?}", AccessToken::generate(&id, &randomness)),
        format!("{:#?}", IssuedToken::Refresh(refresh.clone())),
        format!("{refresh:#?}"),
        format!("{:#?}", Nonce::generate(&randomness)),
        format!("{:#?}", SealingKey::generate(&randomness)),
        format!("{:#?}", SecretString::generate("mcp_cs_", &randomness)),
        format!("{randomness:#?}"),
    ];
    let secret = URL_SAFE_NO_PAD.encode([0xAB; 16]);
    for text in printed {
        for form in [&secret[..20], "171", "ab, ab", "0xab", "AB, AB"] {
            assert!(!text.contains(form), "{text}");
        }
    }
}
