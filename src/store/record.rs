//! The schema: every item of the one table, field by field.
//!
//! Connections have `pk = "connection", sk = <id>`. They are written only after a right PIN, so listing them is one query
//! that never reads what strangers wrote. Everything else has `pk = "<kind>#<id>", sk = "-"`, except what is listed: tool
//! calls, and the tries of each day. `key#browser`, the key of the cookies of known browsers, is the only item that stays
//! for ever. `expires_at` is the TTL attribute; it is also checked in code, because DynamoDB deletes expired items late.
//! `attempt` is the id of the last conditional write: the SDK repeats a write whose response was lost. All times are unix
//! seconds. `v` is the schema version: version N reads items of N-1, because both run during a deployment.

use serde::{Deserialize, Serialize};

use crate::{
    connection_name::ConnectionName,
    credential::{AccessToken, Code, ConnectionId, Fingerprint, IssuedToken, SealingKey},
    limit::Limit,
    oauth::{
        client_auth::AuthMethod, pkce::CodeChallenge, redirect_uri::RedirectUri,
        token::RefreshState,
    },
    page,
};

/// The schema version that this program writes.
pub const SCHEMA_VERSION: u64 = 1;

/// How long a code can be redeemed (RFC 6749 §4.1.2: at most ten minutes).
pub const CODE_LIFETIME_SECONDS: u64 = 300;

/// The lifetimes that a token created by hand can have.
pub const MANUAL_TOKEN_DAYS: [u64; 4] = [7, 30, 90, 365];

/// The `expires_at` of a client that is not in the table: defined in the secret, or described by a document.
pub const NEVER_EXPIRES: u64 = u64::MAX;

/// A registered client: `client#<client_id>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Client {
    /// The client id.
    pub client_id: String,
    /// The name that it registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The redirect URIs that it may use.
    pub redirect_uris: Vec<RedirectUri>,
    /// How it authenticates.
    pub auth_method: AuthMethod,
    /// Fingerprint of its secret, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Fingerprint>,
    /// Whether it gets refresh tokens.
    pub refresh: bool,
    /// The host of its client-id document: verified, unlike the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_host: Option<String>,
    /// A day after registration until its first grant, then a year, extended while it is used.
    pub expires_at: u64,
}

/// The last valid copy of a client-id document: `document#<URL>`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredDocument {
    /// The document as fetched; it is checked again at every use.
    pub body: String,
    /// `ETag`, for the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`, for the next fetch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Until when it is used without a request to its origin.
    pub fresh_until: u64,
    /// Until when it is used while its origin fails.
    pub expires_at: u64,
}

/// The authorization request for which a consent page is shown: `pending#<page id>`. The limits on what clients send keep
/// the item within 4 KB, which are four write units.
///
/// No `Debug`: it contains the client's state.
#[derive(Clone, Serialize, Deserialize)]
pub struct PendingConsent {
    /// Fingerprint of the cookie of the browser that opened the page.
    pub browser: Fingerprint,
    /// The id that the connection will get.
    pub connection: ConnectionId,
    /// The id of the requesting client, which is read again when the form is sent: its metadata would make the item
    /// several times as large, and strangers cause this write.
    pub client_id: String,
    /// The validated redirect URI.
    pub redirect_uri: RedirectUri,
    /// The client's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The issuer at which the client made the request.
    pub issuer: String,
    /// The challenge.
    pub code_challenge: CodeChallenge,
    /// The scope that will be granted.
    pub scope: String,
    /// Ten minutes after the page was shown.
    pub expires_at: u64,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The code has been issued but not redeemed.
    Code,
    /// Tokens have been issued.
    Live,
}

/// A connection: one client, authorized once, or a token that the owner created by hand. It contains everything that
/// `/token`, `/revoke` and the MCP endpoint need, so that they read one item.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connection {
    /// The id, which is the sort key.
    #[serde(rename = "sk")]
    pub id: ConnectionId,
    /// How it came about.
    #[serde(flatten)]
    pub kind: ConnectionKind,
    /// Its stage.
    pub stage: Stage,
    /// The name that the owner gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ConnectionName>,
    /// What it may do. A record of the first version has no limit.
    #[serde(default)]
    pub limit: Limit,
    /// The issuer at which the owner consented: tokens are valid only as long as it is a base URL of this server.
    pub issuer: String,
    /// The key that seals the message URLs of an HTTP+SSE upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SealingKey>,
    /// The current access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Fingerprint>,
    /// When that expires.
    #[serde(default)]
    pub access_expires_at: u64,
    /// The access token before the last rotation: valid until it expires or until the next rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_previous: Option<Fingerprint>,
    /// When that expires.
    #[serde(default)]
    pub access_previous_expires_at: u64,
    /// Fingerprint of the family, the common part of the refresh tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Fingerprint>,
    /// The current refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Fingerprint>,
    /// The refresh token before the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_previous: Option<Fingerprint>,
    /// The time of the last rotation.
    #[serde(default)]
    pub rotated_at: u64,
    /// The salt of the last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
    /// The number of rotations.
    #[serde(default)]
    pub generation: u64,
    /// Repeats of the last rotation that were counted.
    #[serde(default)]
    pub repeats: u64,
    /// When consent was given, or the token was created.
    pub created_at: u64,
    /// When it was last used, to the hour.
    pub last_used_at: u64,
    /// The IP address from which consent was given, or the token was created.
    pub address: String,
    /// When the client's own record was last extended.
    #[serde(default)]
    pub client_extended_at: u64,
    /// When the code expires; after its redemption, when the connection expires unless it is used. Of a token created by
    /// hand, when that expires.
    pub expires_at: u64,
}

/// How a connection came about. Its fields are fields of the item; only the item of a token created by hand has `kind`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ConnectionKind {
    /// The owner created its token on the connections page: no client, no code, no refresh token.
    Manual,
    /// The owner authorized a client.
    #[serde(untagged)]
    Oauth(Box<Grant>),
}

/// What the owner granted to a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The id of the client.
    pub client_id: String,
    /// The client's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The client's verified host, for the connections page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_host: Option<String>,
    /// How the client must authenticate.
    pub auth_method: AuthMethod,
    /// Fingerprint of the client's secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Fingerprint>,
    /// The redirect URI to which the code was sent.
    pub redirect_uri: RedirectUri,
    /// The granted scope.
    pub scope: String,
    /// The challenge, for redeeming the code.
    pub code_challenge: CodeChallenge,
    /// The code. It stays after redemption, so that a replay is recognised.
    pub code: Fingerprint,
    /// Whether it gets refresh tokens.
    pub refreshable: bool,
}

impl Connection {
    /// The connection that begins when the right PIN is entered on the consent page: in stage `code`, without tokens.
    #[must_use]
    pub fn begin(
        pending: &PendingConsent,
        client: &Client,
        (name, limit): (Option<ConnectionName>, Limit),
        code: &Code,
        sealing_key: SealingKey,
        address: String,
        now: u64,
    ) -> Self {
        let grant = Grant {
            client_id: client.client_id.clone(),
            client_name: client.client_name.clone(),
            verified_host: client.verified_host.clone(),
            auth_method: client.auth_method,
            client_secret: client.secret.clone(),
            redirect_uri: pending.redirect_uri.clone(),
            scope: pending.scope.clone(),
            code_challenge: pending.code_challenge.clone(),
            code: code.fingerprint(),
            refreshable: client.refresh,
        };
        Self {
            name,
            limit,
            sealing_key: Some(sealing_key),
            address,
            client_extended_at: now,
            ..Self::empty(
                pending.connection.clone(),
                ConnectionKind::Oauth(Box::new(grant)),
                pending.issuer.clone(),
                now,
                now + CODE_LIFETIME_SECONDS,
            )
        }
    }

    /// The connection of a token that the owner creates by hand: live, until the token expires.
    #[must_use]
    pub fn manual(
        token: &AccessToken,
        name: Option<ConnectionName>,
        limit: Limit,
        issuer: String,
        sealing_key: SealingKey,
        address: String,
        (now, expires_at): (u64, u64),
    ) -> Self {
        Self {
            stage: Stage::Live,
            name,
            limit,
            sealing_key: Some(sealing_key),
            access: Some(token.fingerprint()),
            access_expires_at: expires_at,
            address,
            ..Self::empty(
                token.id().clone(),
                ConnectionKind::Manual,
                issuer,
                now,
                expires_at,
            )
        }
    }

    fn empty(
        id: ConnectionId,
        kind: ConnectionKind,
        issuer: String,
        now: u64,
        expires_at: u64,
    ) -> Self {
        Self {
            id,
            kind,
            stage: Stage::Code,
            name: None,
            limit: Limit::Everything,
            issuer,
            sealing_key: None,
            access: None,
            access_expires_at: 0,
            access_previous: None,
            access_previous_expires_at: 0,
            family: None,
            refresh: None,
            refresh_previous: None,
            rotated_at: 0,
            nonce: None,
            generation: 0,
            repeats: 0,
            created_at: now,
            last_used_at: now,
            address: String::new(),
            client_extended_at: 0,
            expires_at,
        }
    }

    /// What was granted to its client; `None` for a token created by hand.
    #[must_use]
    pub fn grant(&self) -> Option<&Grant> {
        match &self.kind {
            ConnectionKind::Oauth(grant) => Some(grant),
            ConnectionKind::Manual => None,
        }
    }

    /// The id of its client, if it has one.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.grant().map(|grant| grant.client_id.as_str())
    }

    /// The name under which people know it: the one that the owner gave it, else that of its client. Safe to show and to
    /// log.
    #[must_use]
    pub fn shown_name(&self) -> String {
        if let Some(name) = &self.name {
            return name.as_str().to_owned();
        }
        match &self.kind {
            ConnectionKind::Oauth(grant) => page::client_name(grant.client_name.as_deref()),
            ConnectionKind::Manual => "Unnamed token".to_owned(),
        }
    }

    /// The state of its refresh tokens; `None` when it has none.
    #[must_use]
    pub fn refresh_state(&self) -> Option<RefreshState> {
        Some(RefreshState {
            family: self.family.clone()?,
            current: self.refresh.clone()?,
            previous: self.refresh_previous.clone(),
            rotated_at: self.rotated_at,
            repeats: self.repeats,
        })
    }

    /// What revoking this token ends; `None` when the token does not belong to this connection. Every refresh token of the
    /// family ends the connection, even a superseded one: otherwise a concurrent refresh would survive the revocation.
    #[must_use]
    pub fn revocation(&self, token: &IssuedToken) -> Option<Revocation> {
        match token {
            IssuedToken::Access(token) => {
                let token = Some(token.fingerprint());
                if token == self.access {
                    Some(Revocation::Connection)
                } else if token == self.access_previous {
                    token.map(Revocation::PreviousAccessToken)
                } else {
                    None
                }
            }
            IssuedToken::Refresh(token) => {
                (self.family == Some(token.family())).then_some(Revocation::Connection)
            }
        }
    }

    /// When the presented access token expires; `None` when it does not belong to this connection.
    #[must_use]
    pub fn access_token_expires_at(&self, presented: &Fingerprint) -> Option<u64> {
        if self.access.as_ref() == Some(presented) {
            Some(self.access_expires_at)
        } else if self.access_previous.as_ref() == Some(presented) {
            Some(self.access_previous_expires_at)
        } else {
            None
        }
    }
}

/// What the revocation of a token ends (RFC 7009 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The connection with all its tokens.
    Connection,
    /// Only this superseded access token.
    PreviousAccessToken(Fingerprint),
}

/// One `tools/call`: `activity#<connection>`, with the time and a random part as the sort key. Never arguments or
/// results. Those of a connection that was ended expire by themselves; nothing lists them any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The name of the tool.
    pub tool: String,
    /// When the call began.
    pub at: u64,
    /// How it ended.
    pub outcome: ActivityOutcome,
    /// Milliseconds from the call to the end of its response.
    pub ms: u64,
}

/// How a `tools/call` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityOutcome {
    /// The tool returned a result.
    Ok,
    /// The tool reported an error: `isError`, or a JSON-RPC error.
    ToolError,
    /// The connection's limit forbids the tool: the call did not reach the upstream.
    Refused,
    /// The upstream gave no response to pass on, or refused the call.
    UpstreamError,
}

/// A session of the connections page: `session#<fingerprint of its cookie>`.
///
/// No `Debug`: it contains a secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The value that every form of the page must send.
    pub csrf: String,
    /// Fifteen minutes after the sign-in.
    pub expires_at: u64,
}
