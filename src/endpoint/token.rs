//! `POST /token` (RFC 6749 §3.2): a code for the first tokens, a refresh token for its successors.

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{
    answer::{self, Noted, Refusal},
    body, clients,
};
use crate::{
    app::{App, Caller},
    credential::{AccessToken, Code, Nonce, RefreshToken},
    oauth::{
        authorization::requested_resource,
        client_auth::PresentedClient,
        error::{ErrorCode, OAuthError},
        params::Params,
        token::{self, MOST_REPEATS, TokenRequest, Verdict},
    },
    store::{
        Redeemed, Rotated, Rotation,
        record::{Connection, Stage},
    },
};

/// Seconds between two extensions of a client's own record.
const EXTEND_CLIENT: u64 = 30 * 86_400;

/// Answers a token request.
pub async fn post(app: &App, caller: &Caller, request: Request<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let params = body::params(&parts.headers, body, true).await?;
    let token_request = TokenRequest::parse(&params)?;
    let client = PresentedClient::read(&parts.headers, &params)?;
    match token_request {
        TokenRequest::AuthorizationCode {
            code,
            redirect_uri,
            code_verifier,
        } => {
            let (code, connection) = found_code(app, &client, code).await?;
            authorization_code(
                app,
                caller,
                &params,
                code,
                connection,
                redirect_uri.as_deref(),
                &code_verifier,
            )
            .await
        }
        TokenRequest::RefreshToken { refresh_token } => {
            refresh(app, caller, &params, &client, refresh_token).await
        }
    }
}

/// The code's connection, if it is the presented client's and the client has proven itself.
async fn found_code(
    app: &App,
    client: &PresentedClient,
    code: Option<Code>,
) -> Result<(Code, Connection), Refusal> {
    if let Some(code) = code
        && let Some(connection) = app.store.connection(code.id(), app.clock.now()).await?
        && connection.code == code.fingerprint()
        && connection.client_id == client.client_id
    {
        clients::authenticate(
            client,
            connection.auth_method,
            connection.client_secret.as_ref(),
        )?;
        return Ok((code, connection));
    }
    // Whether the client exists at all decides between two errors (RFC 6749 §5.2): SDKs register anew after
    // `invalid_client`, and authorize anew after `invalid_grant`.
    clients::authenticate_alone(app, client).await?;
    Err(invalid_grant("the code is unknown, expired, or another client's").into())
}

async fn authorization_code(
    app: &App,
    caller: &Caller,
    params: &Params,
    code: Code,
    connection: Connection,
    redirect_uri: Option<&str>,
    code_verifier: &str,
) -> Result<Response, Refusal> {
    if connection.stage == Stage::Live {
        return Err(replay(app, caller, &connection, "code").await?.into());
    }
    issued_here(app, caller, &connection)?;
    requested_resource(params, app.bases(caller).collect::<Vec<_>>())?;
    if !token::same_redirect_uri(&connection.redirect_uri, redirect_uri) {
        return Err(invalid_grant(
            "redirect_uri differs from the one of the authorization request",
        )
        .into());
    }
    if !connection.code_challenge.verify(code_verifier) {
        return Err(invalid_grant("code_verifier does not fit the code_challenge").into());
    }

    let now = app.clock.now();
    let access = AccessToken::draw(&connection.id, &app.randomness);
    let refresh = connection
        .refreshable
        .then(|| RefreshToken::draw(&connection.id, &app.randomness));
    let lifetimes = app.config.lifetimes;
    // A client that cannot refresh would otherwise ask the person every day.
    let access_lives = if connection.refreshable {
        lifetimes.access_token
    } else {
        lifetimes.refresh_token
    };
    let refresh_fingerprint = refresh.as_ref().map(RefreshToken::fingerprint);
    let tokens = Rotation {
        access: &access.fingerprint(),
        access_expires_at: now + access_lives,
        refresh: refresh_fingerprint.as_ref(),
        nonce: None,
        expires_at: now + lifetimes.refresh_token.max(access_lives),
        now,
    };
    let family = refresh.as_ref().map(RefreshToken::family);
    match app
        .store
        .redeem_code(
            &connection.id,
            &code.fingerprint(),
            family.as_ref(),
            &tokens,
        )
        .await?
    {
        Redeemed::Done => {}
        Redeemed::Lost(Some(winner))
            if winner.stage == Stage::Live && winner.code == connection.code =>
        {
            return Err(replay(app, caller, &connection, "code").await?.into());
        }
        Redeemed::Lost(_) => return Err(invalid_grant("the code is no longer valid").into()),
    }
    audit(caller, &connection, "issued");
    let refresh = refresh.map(|refresh| refresh.expose());
    Ok(tokens_answer(
        &connection,
        access.expose(),
        access_lives,
        refresh.as_deref(),
    ))
}

async fn refresh(
    app: &App,
    caller: &Caller,
    params: &Params,
    client: &PresentedClient,
    presented: Option<RefreshToken>,
) -> Result<Response, Refusal> {
    let unknown = || invalid_grant("the refresh token is unknown, expired, or another client's");
    let now = app.clock.now();
    let connection = match &presented {
        Some(token) => app.store.connection(token.id(), now).await?,
        None => None,
    };
    let (Some(presented), Some(mut connection)) = (
        presented,
        connection.filter(|c| c.client_id == client.client_id),
    ) else {
        clients::authenticate_alone(app, client).await?;
        return Err(unknown().into());
    };
    clients::authenticate(
        client,
        connection.auth_method,
        connection.client_secret.as_ref(),
    )?;
    issued_here(app, caller, &connection)?;
    requested_resource(params, app.bases(caller).collect::<Vec<_>>())?;

    // A lost race is judged again with what won it; twice is more than enough for one token.
    for _ in 0..3 {
        let Some(state) = connection.rotation() else {
            return Err(unknown().into());
        };
        match state.judge(&presented, now, app.config.lifetimes.refresh_grace) {
            Verdict::Current => match rotate(app, &connection, &presented, now).await? {
                Ok(answer) => {
                    audit(caller, &connection, "refreshed");
                    return Ok(answer);
                }
                Err(Some(winner)) => connection = *winner,
                Err(None) => return Err(unknown().into()),
            },
            Verdict::Repeat { counted } => {
                if counted && !app.store.count_repeat(&connection, MOST_REPEATS).await? {
                    return Err(unknown().into());
                }
                audit(caller, &connection, "refresh_repeated");
                return repeat(&connection, &presented, now).ok_or_else(|| unknown().into());
            }
            Verdict::Refused => return Err(unknown().into()),
            Verdict::Replay => {
                return Err(replay(app, caller, &connection, "refresh_token")
                    .await?
                    .into());
            }
        }
    }
    Err(unknown().into())
}

/// Rotates; gives back the winner's connection when another request was quicker.
async fn rotate(
    app: &App,
    connection: &Connection,
    presented: &RefreshToken,
    now: u64,
) -> Result<Result<Response, Option<Box<Connection>>>, Refusal> {
    let nonce = Nonce::draw(&app.randomness);
    let (access, refresh) = presented.successors(&nonce, connection.generation + 1);
    let lifetimes = app.config.lifetimes;
    let next = Rotation {
        access: &access.fingerprint(),
        access_expires_at: now + lifetimes.access_token,
        refresh: Some(&refresh.fingerprint()),
        nonce: Some(&nonce.to_text()),
        expires_at: now + lifetimes.refresh_token.max(lifetimes.access_token),
        now,
    };
    let mut seen = connection.clone();
    if now.saturating_sub(connection.client_extended_at) >= EXTEND_CLIENT {
        // Claude Desktop dead-ends when its client is gone: it lives a year from its last use.
        seen.client_extended_at = now;
        if let Err(error) = app
            .store
            .extend_client(&connection.client_id, now + clients::USED)
            .await
        {
            tracing::warn!(event = "unavailable", detail = %error, "the client's life was not extended");
        }
    }
    Ok(
        match app
            .store
            .rotate_refresh_token(&seen, &presented.fingerprint(), &next)
            .await?
        {
            Rotated::Done => Ok(tokens_answer(
                connection,
                access.expose(),
                lifetimes.access_token,
                Some(&refresh.expose()),
            )),
            Rotated::Lost(winner) => Err(winner),
        },
    )
}

/// The same pair again, with what remains of its life.
fn repeat(connection: &Connection, presented: &RefreshToken, now: u64) -> Option<Response> {
    let nonce = Nonce::parse(connection.nonce.as_deref()?)?;
    let (access, refresh) = presented.successors(&nonce, connection.generation);
    let remains = connection.access_expires_at.saturating_sub(now);
    // Derivation and record must agree; a record of another making gets no tokens.
    (connection.refresh.as_ref() == Some(&refresh.fingerprint())).then(|| {
        tokens_answer(
            connection,
            access.expose(),
            remains,
            Some(&refresh.expose()),
        )
    })
}

/// Somebody holds a copy: the connection ends (RFC 6749 §4.1.2, RFC 9700 §4.14.2).
async fn replay(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    what: &'static str,
) -> Result<OAuthError, Refusal> {
    app.store.end_connection(&connection.id).await?;
    tracing::warn!(
        event = "replay_found",
        what,
        connection = connection.id.as_str(),
        client_id = connection.client_id,
        address = caller.address_text(),
        "a used credential came again; the connection was ended"
    );
    Ok(invalid_grant(
        "the grant was used before; the connection was ended",
    ))
}

/// A connection made under a base URL that is no longer ours is not served.
fn issued_here(app: &App, caller: &Caller, connection: &Connection) -> Result<(), OAuthError> {
    if app
        .bases(caller)
        .any(|base| base.as_str() == connection.issuer)
    {
        Ok(())
    } else {
        Err(invalid_grant("the grant was issued under another base URL"))
    }
}

fn invalid_grant(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, description)
}

fn tokens_answer(
    connection: &Connection,
    access: &str,
    expires_in: u64,
    refresh: Option<&str>,
) -> Response {
    let mut answer = answer::json(
        StatusCode::OK,
        &token::answer(access, expires_in, refresh, &connection.scope),
    );
    // RFC 6749 §5.1 asks for it beside `Cache-Control`.
    answer
        .headers_mut()
        .insert("pragma", http::HeaderValue::from_static("no-cache"));
    answer.extensions_mut().insert(Noted {
        connection: Some(connection.id.to_string()),
        client_id: Some(connection.client_id.clone()),
        ..Noted::default()
    });
    answer
}

fn audit(caller: &Caller, connection: &Connection, event: &'static str) {
    tracing::info!(
        event,
        connection = connection.id.as_str(),
        client_id = connection.client_id,
        address = caller.address_text(),
        "tokens were issued"
    );
}
