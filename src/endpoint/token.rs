//! `POST /token` (RFC 6749 §3.2): a code for the first tokens, a refresh token for its successors.

use axum::{body::Body, response::Response};
use http::{Request, StatusCode};

use super::{
    body,
    clients::{self, CLIENT_LIFETIME_SECONDS},
    error::ApiError,
    response::{self, RequestLogFields},
};
use crate::{
    app::{App, Caller},
    credential::{AccessToken, Code, Nonce, RefreshToken},
    oauth::{
        authorization::check_resources,
        client_auth::PresentedClient,
        error::{ErrorCode, OAuthError},
        params::Params,
        token::{self, MAX_COUNTED_REPEATS, RefreshTokenStatus, TokenRequest},
    },
    store::{
        NewTokens, RedeemOutcome, RotationOutcome,
        record::{Connection, Grant, Stage},
    },
};

/// The shortest time between two extensions of the client's record.
const CLIENT_EXTENSION_INTERVAL_SECONDS: u64 = 30 * 86_400;
/// If another request changed the connection first, the token is classified again. Three attempts are enough.
const ROTATION_ATTEMPTS: usize = 3;

/// Handles a token request.
pub async fn post(
    app: &App,
    caller: &Caller,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let params = body::form_or_json(&parts.headers, body).await?;
    let token_request = TokenRequest::parse(&params)?;
    let client = PresentedClient::read(&parts.headers, &params)?;
    match token_request {
        TokenRequest::AuthorizationCode {
            code,
            redirect_uri,
            code_verifier,
        } => {
            let (code, connection, grant) = find_code(app, &client, code).await?;
            authenticate(&client, &grant)?;
            check_not_redeemed(app, caller, &connection).await?;
            check_issuer(app, caller, &connection)?;
            check_resource(app, caller, &params)?;
            check_redirect_uri(&grant, redirect_uri.as_deref())?;
            check_code_verifier(&grant, &code_verifier)?;
            redeem(app, caller, &connection, &grant, &code).await
        }
        TokenRequest::RefreshToken { refresh_token } => {
            let (refresh_token, connection, grant) =
                find_refresh_token(app, &client, refresh_token).await?;
            authenticate(&client, &grant)?;
            check_issuer(app, caller, &connection)?;
            check_resource(app, caller, &params)?;
            refresh(app, caller, connection, &grant, &refresh_token).await
        }
    }
}

/// Finds the presented code and its connection, if the code was issued to this client.
async fn find_code(
    app: &App,
    client: &PresentedClient,
    code: Option<Code>,
) -> Result<(Code, Connection, Grant), ApiError> {
    if let Some(code) = code
        && let Some(connection) = app.store.connection(code.id(), app.clock.now()).await?
        && let Some(grant) = connection.grant().cloned()
        && grant.code == code.fingerprint()
        && grant.client_id == client.client_id
    {
        return Ok((code, connection, grant));
    }
    // An unknown client gets `invalid_client`, a known one `invalid_grant` (RFC 6749 §5.2): SDKs register again after
    // the first, and authorize again after the second.
    clients::authenticate_alone(app, client).await?;
    Err(invalid_grant("the code is unknown, expired, or another client's").into())
}

/// Finds the presented refresh token and its connection, if the connection belongs to this client.
async fn find_refresh_token(
    app: &App,
    client: &PresentedClient,
    token: Option<RefreshToken>,
) -> Result<(RefreshToken, Connection, Grant), ApiError> {
    if let Some(token) = token
        && let Some(connection) = app.store.connection(token.id(), app.clock.now()).await?
        && let Some(grant) = connection.grant().cloned()
        && grant.client_id == client.client_id
    {
        return Ok((token, connection, grant));
    }
    clients::authenticate_alone(app, client).await?;
    Err(unknown_refresh_token())
}

fn authenticate(client: &PresentedClient, grant: &Grant) -> Result<(), OAuthError> {
    clients::authenticate(client, grant.auth_method, grant.client_secret.as_ref())
}

/// A code that is presented a second time ends the connection (RFC 6749 §4.1.2).
async fn check_not_redeemed(
    app: &App,
    caller: &Caller,
    connection: &Connection,
) -> Result<(), ApiError> {
    match connection.stage {
        Stage::Code => Ok(()),
        Stage::Live => Err(end_replayed_connection(app, caller, connection, "code").await),
    }
}

/// Refuses a connection that was created under a base URL that is no longer in use.
fn check_issuer(app: &App, caller: &Caller, connection: &Connection) -> Result<(), OAuthError> {
    if app
        .bases(caller)
        .any(|base| base.as_str() == connection.issuer)
    {
        Ok(())
    } else {
        Err(invalid_grant("the grant was issued under another base URL"))
    }
}

/// RFC 8707 §2.2
fn check_resource(app: &App, caller: &Caller, params: &Params) -> Result<(), OAuthError> {
    check_resources(params, app.bases(caller).collect::<Vec<_>>())
}

/// RFC 6749 §4.1.3; the parameter is optional (OAuth 2.1 §4.1.3).
fn check_redirect_uri(grant: &Grant, redirect_uri: Option<&str>) -> Result<(), OAuthError> {
    if token::same_redirect_uri(&grant.redirect_uri, redirect_uri) {
        Ok(())
    } else {
        Err(invalid_grant(
            "redirect_uri differs from the one of the authorization request",
        ))
    }
}

/// RFC 7636 §4.6
fn check_code_verifier(grant: &Grant, code_verifier: &str) -> Result<(), OAuthError> {
    if grant.code_challenge.verify(code_verifier) {
        Ok(())
    } else {
        Err(invalid_grant(
            "code_verifier does not match the code_challenge",
        ))
    }
}

/// Exchanges the code for the first tokens, after every check.
async fn redeem(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    grant: &Grant,
    code: &Code,
) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let access = AccessToken::generate(&connection.id, &app.randomness);
    let refresh = grant
        .refreshable
        .then(|| RefreshToken::generate(&connection.id, &app.randomness));
    let lifetimes = app.config.lifetimes;
    // A client without refresh tokens would have to ask you every day, so its access token lives as long as a refresh
    // token.
    let access_lifetime = if grant.refreshable {
        lifetimes.access_token
    } else {
        lifetimes.refresh_token
    };
    let refresh_fingerprint = refresh.as_ref().map(RefreshToken::fingerprint);
    let tokens = NewTokens {
        access: &access.fingerprint(),
        access_expires_at: now + access_lifetime,
        refresh: refresh_fingerprint.as_ref(),
        nonce: None,
        expires_at: now + lifetimes.refresh_token.max(access_lifetime),
        now,
    };
    let family = refresh.as_ref().map(RefreshToken::family);
    let redeemed = app
        .store
        .redeem_code(
            &connection.id,
            &code.fingerprint(),
            family.as_ref(),
            &tokens,
        )
        .await?;
    match redeemed {
        RedeemOutcome::Done => {}
        RedeemOutcome::Lost(Some(winner))
            if winner.stage == Stage::Live
                && winner
                    .grant()
                    .is_some_and(|winner| winner.code == grant.code) =>
        {
            return Err(end_replayed_connection(app, caller, connection, "code").await);
        }
        RedeemOutcome::Lost(_) => return Err(invalid_grant("the code is no longer valid").into()),
    }
    log_tokens(caller, connection, "issued");
    let refresh = refresh.map(|refresh| refresh.expose());
    Ok(token_response(
        connection,
        grant,
        access.expose(),
        access_lifetime,
        refresh.as_deref(),
    ))
}

async fn refresh(
    app: &App,
    caller: &Caller,
    mut connection: Connection,
    grant: &Grant,
    presented: &RefreshToken,
) -> Result<Response, ApiError> {
    let now = app.clock.now();
    for _ in 0..ROTATION_ATTEMPTS {
        let Some(state) = connection.refresh_state() else {
            break;
        };
        match state.classify(presented, now, app.config.lifetimes.refresh_grace) {
            RefreshTokenStatus::Current => {
                match rotate(app, &connection, grant, presented, now).await? {
                    Rotation::Done(response) => {
                        log_tokens(caller, &connection, "refreshed");
                        return Ok(response);
                    }
                    Rotation::Lost(Some(winner)) => connection = *winner,
                    Rotation::Lost(None) => break,
                }
            }
            RefreshTokenStatus::Repeat { counted } => {
                if counted
                    && !app
                        .store
                        .count_repeat(&connection, MAX_COUNTED_REPEATS)
                        .await?
                {
                    break;
                }
                log_tokens(caller, &connection, "refresh_repeated");
                return repeat(&connection, grant, presented, now)
                    .ok_or_else(unknown_refresh_token);
            }
            RefreshTokenStatus::Refused => break,
            RefreshTokenStatus::Replay => {
                return Err(
                    end_replayed_connection(app, caller, &connection, "refresh_token").await,
                );
            }
        }
    }
    Err(unknown_refresh_token())
}

/// The outcome of one attempt to rotate the refresh token.
enum Rotation {
    Done(Response),
    /// Another request changed the connection first. Contains the connection as it is now, or `None` if it was ended.
    Lost(Option<Box<Connection>>),
}

async fn rotate(
    app: &App,
    connection: &Connection,
    grant: &Grant,
    presented: &RefreshToken,
    now: u64,
) -> Result<Rotation, ApiError> {
    let nonce = Nonce::generate(&app.randomness);
    let (access, refresh) = presented.successors(&nonce, connection.generation + 1);
    let lifetimes = app.config.lifetimes;
    let next = NewTokens {
        access: &access.fingerprint(),
        access_expires_at: now + lifetimes.access_token,
        refresh: Some(&refresh.fingerprint()),
        nonce: Some(&nonce.to_text()),
        expires_at: now + lifetimes.refresh_token.max(lifetimes.access_token),
        now,
    };
    let mut seen = connection.clone();
    seen.client_extended_at = extend_client(app, connection, grant, now).await;
    let rotated = app
        .store
        .rotate_refresh_token(&seen, &presented.fingerprint(), &next)
        .await?;
    Ok(match rotated {
        RotationOutcome::Done => Rotation::Done(token_response(
            connection,
            grant,
            access.expose(),
            lifetimes.access_token,
            Some(&refresh.expose()),
        )),
        RotationOutcome::Lost(winner) => Rotation::Lost(winner),
    })
}

/// Extends the lifetime of the client's record to a year, at most every 30 days; returns when that was done last.
async fn extend_client(app: &App, connection: &Connection, grant: &Grant, now: u64) -> u64 {
    let extended_at = connection.client_extended_at;
    if now.saturating_sub(extended_at) < CLIENT_EXTENSION_INTERVAL_SECONDS {
        return extended_at;
    }
    let expires_at = now + CLIENT_LIFETIME_SECONDS;
    let extended = app
        .store
        .extend_client(&grant.client_id, expires_at, now)
        .await;
    if let Err(error) = extended {
        tracing::warn!(event = "unavailable", detail = %error, "the lifetime of the client could not be extended");
        // With the old time it is tried again at the next refresh.
        return extended_at;
    }
    now
}

/// Returns the same tokens again, with the rest of the access token's lifetime as `expires_in`.
fn repeat(
    connection: &Connection,
    grant: &Grant,
    presented: &RefreshToken,
    now: u64,
) -> Option<Response> {
    let nonce = Nonce::parse(connection.nonce.as_deref()?)?;
    let (access, refresh) = presented.successors(&nonce, connection.generation);
    let expires_in = connection.access_expires_at.saturating_sub(now);
    // If the derived token is not the stored one, another version wrote the record: no tokens are returned.
    (connection.refresh.as_ref() == Some(&refresh.fingerprint())).then(|| {
        token_response(
            connection,
            grant,
            access.expose(),
            expires_in,
            Some(&refresh.expose()),
        )
    })
}

/// A used code or refresh token was presented again, so somebody may have a copy: the connection ends (RFC 6749 §4.1.2,
/// RFC 9700 §4.14.2).
async fn end_replayed_connection(
    app: &App,
    caller: &Caller,
    connection: &Connection,
    what: &'static str,
) -> ApiError {
    if let Err(error) = app.store.end_connection(&connection.id).await {
        return error.into();
    }
    tracing::warn!(
        event = "replay_found",
        what,
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        address = caller.address_text(),
        "a used code or refresh token was presented again; the connection was ended"
    );
    invalid_grant("the grant was used before; the connection was ended").into()
}

fn unknown_refresh_token() -> ApiError {
    invalid_grant("the refresh token is unknown, expired, or another client's").into()
}

fn invalid_grant(description: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, description)
}

/// RFC 6749 §5.1
fn token_response(
    connection: &Connection,
    grant: &Grant,
    access_token: &str,
    expires_in: u64,
    refresh_token: Option<&str>,
) -> Response {
    let body = token::response_body(access_token, expires_in, refresh_token, &grant.scope);
    let mut response = response::json(StatusCode::OK, &body);
    response.extensions_mut().insert(RequestLogFields {
        connection: Some(connection.id.to_string()),
        client_id: Some(grant.client_id.clone()),
        connection_name: Some(connection.shown_name()),
        ..RequestLogFields::default()
    });
    response
}

fn log_tokens(caller: &Caller, connection: &Connection, event: &'static str) {
    tracing::info!(
        event,
        connection = connection.id.as_str(),
        client_id = connection.client_id(),
        address = caller.address_text(),
        "the client received tokens"
    );
}
