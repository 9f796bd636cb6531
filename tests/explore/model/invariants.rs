//! What must hold in every state, whatever the actors did and whichever of them crashed. Tokens are tried by probes:
//! requests to the real router, on a copy of the table.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_oauth_mcp_proxy::store::record::{Connection, Stage};
use serde_json::Value;

use super::{
    actor::Actors,
    dynamodb::{Item, Table},
    instance::{Event, PASSED, Pair, REFUSED_BY_LIMIT},
    scripts::{self, Beginning},
};

/// How long the previous refresh token stays valid: the default of `REFRESH_GRACE_SECONDS`.
const REFRESH_GRACE_SECONDS: u64 = 120;

/// A state, as the invariants see it.
pub struct View<'a> {
    pub table: &'a Table,
    pub now: u64,
    /// Seconds since the scenario began.
    pub waited: u64,
    /// What was answered, and to which actor.
    pub events: &'a [(usize, Event)],
    /// Whether an actor has begun that may end connections.
    pub reasons_to_end: bool,
    /// Requests and responses that were lost.
    pub faults: u8,
}

/// A request on a copy of the table.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Probe {
    Call(String),
    CallTool(String),
    Refresh(String),
}

pub struct Invariants {
    beginning: Arc<Beginning>,
    probes: HashMap<Probe, usize>,
    /// The status that a probe gets, by table and time.
    statuses: HashMap<(u64, u64, usize), u16>,
    /// Tables whose items are complete.
    complete: HashSet<u64>,
}

type Held = Result<(), String>;

fn must(holds: bool, violated: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(violated()) }
}

impl Invariants {
    pub fn new(beginning: Arc<Beginning>) -> Self {
        Self {
            beginning,
            probes: HashMap::new(),
            statuses: HashMap::new(),
            complete: HashSet::new(),
        }
    }

    /// Whether all of them hold.
    pub fn hold(&mut self, view: &View<'_>, actors: &mut Actors) -> Held {
        self.nothing_is_half_made(view.table)?;
        responses_are_those_of_the_protocol(view)?;
        let tokens = Tokens::of(&self.beginning, view.events)?;
        self.nothing_revoked_lives(view, &tokens, actors)?;
        self.one_grant_of_a_page_lives(view, &tokens, actors)?;
        self.no_call_passes_a_limit(view, &tokens, actors)?;
        if !view.reasons_to_end {
            refused_tokens_are_old(view, &tokens)?;
            self.no_connection_is_lost(view, &tokens, actors)?;
        }
        Ok(())
    }

    fn nothing_is_half_made(&mut self, table: &Table) -> Held {
        if self.complete.insert(table.digest()) {
            complete(table)?;
        }
        Ok(())
    }

    /// After a revocation was answered, no token of the grant is valid, and none becomes valid again.
    fn nothing_revoked_lives(
        &mut self,
        view: &View<'_>,
        tokens: &Tokens,
        actors: &mut Actors,
    ) -> Held {
        for (_, event) in view.events {
            let grant = match event {
                Event::Revoked(token, 200) if Tokens::is_refresh(token) => tokens.grant(token),
                // A superseded access token is revoked alone (docs/reference).
                Event::Revoked(token, 200) => {
                    let status = self.call(view, token, actors);
                    must(status == 401, || format!("revoked, but {status}: {token}"))?;
                    continue;
                }
                Event::EndedByOwner(200) => self.beginning.code.clone(),
                _ => continue,
            };
            for (access, refresh) in tokens.pairs_of(&grant) {
                let called = self.call(view, &access, actors);
                let refreshed = self.refresh(view, &refresh, actors);
                must(called == 401 && refreshed != 200, || {
                    format!("revoked ({event:?}), but lives: {access} {called} {refreshed}")
                })?;
            }
        }
        Ok(())
    }

    /// A page that was submitted several times leads to one connection at most.
    fn one_grant_of_a_page_lives(
        &mut self,
        view: &View<'_>,
        tokens: &Tokens,
        actors: &mut Actors,
    ) -> Held {
        let grants: BTreeSet<_> = tokens
            .pairs()
            .iter()
            .map(|(_, refresh)| tokens.grant(refresh))
            .collect();
        if grants.len() < 2 {
            return Ok(());
        }
        let mut living = BTreeSet::new();
        for (access, refresh) in tokens.pairs() {
            if self.call(view, &access, actors) != 401 {
                living.insert(tokens.grant(&refresh));
            }
        }
        must(living.len() <= 1, || format!("two grants live: {living:?}"))
    }

    /// After a limit was answered as set, no call of the connection passes it that begins then. And what one consent of a
    /// page led to has the limit that was chosen in that form, not in another one.
    fn no_call_passes_a_limit(
        &mut self,
        view: &View<'_>,
        tokens: &Tokens,
        actors: &mut Actors,
    ) -> Held {
        for (_, event) in view.events {
            let (grant, passes) = match event {
                Event::Limited(Some(303)) => (&self.beginning.code.clone(), false),
                Event::Consented(limit, Ok(code)) => (code, *limit == "everything"),
                _ => continue,
            };
            let expected = if passes { PASSED } else { REFUSED_BY_LIMIT };
            for (access, _) in tokens.pairs_of(grant) {
                let status = self.probe(view, Probe::CallTool(access), actors);
                must(matches!(status, 401) || status == expected, || {
                    format!("{event:?}, but a call gets {status}")
                })?;
            }
        }
        Ok(())
    }

    /// Whoever has the newest tokens can use them.
    fn no_connection_is_lost(
        &mut self,
        view: &View<'_>,
        tokens: &Tokens,
        actors: &mut Actors,
    ) -> Held {
        // A client that comes back with an old token after the grace period cannot be told from a thief.
        if view.waited >= REFRESH_GRACE_SECONDS {
            return Ok(());
        }
        let Some((access, refresh)) = tokens.newest() else {
            return Ok(());
        };
        let called = self.call(view, &access, actors);
        let refreshed = self.refresh(view, &refresh, actors);
        must(called == 405 && refreshed == 200, || {
            format!("lost: call {called}, refresh {refreshed}")
        })
    }

    fn call(&mut self, view: &View<'_>, access: &str, actors: &mut Actors) -> u16 {
        self.probe(view, Probe::Call(access.to_owned()), actors)
    }

    fn refresh(&mut self, view: &View<'_>, refresh: &str, actors: &mut Actors) -> u16 {
        self.probe(view, Probe::Refresh(refresh.to_owned()), actors)
    }

    fn probe(&mut self, view: &View<'_>, probe: Probe, actors: &mut Actors) -> u16 {
        let client = &self.beginning.client_id;
        let actor = *self.probes.entry(probe).or_insert_with_key(|probe| {
            actors.add(match probe {
                Probe::Call(token) => scripts::call(token.clone()),
                Probe::CallTool(token) => scripts::call_tool(token.clone()),
                Probe::Refresh(token) => scripts::refresh(client.clone(), token.clone(), 1),
            })
        });
        let key = (view.table.digest(), view.now, actor);
        if let Some(status) = self.statuses.get(&key) {
            return *status;
        }
        let end = actors.finish(actor, &mut view.table.clone(), view.now);
        let status = match &*actors.at(end).events {
            [Event::Called(_, status) | Event::Presented(_, Err((status, _)))] => *status,
            [Event::Presented(_, Ok(_))] => 200,
            other => panic!("{other:?}"),
        };
        self.statuses.insert(key, status);
        status
    }
}

/// Whether every item of a table is complete.
pub fn complete(table: &Table) -> Held {
    for ((pk, sk), item) in table.items() {
        must(item.contains_key("v"), || format!("{pk} {sk}: no version"))?;
        // One item for each table, the key of the cookies of known browsers, stays for ever.
        must(
            item.contains_key("expires_at") || pk == "key#browser",
            || format!("{pk} {sk}: stays for ever"),
        )?;
        if pk != "connection" {
            continue;
        }
        let item = item.iter().map(|(k, v)| (k.clone(), attribute(v)));
        let connection: Connection = serde_dynamo::from_item(item.collect::<HashMap<_, _>>())
            .map_err(|error| format!("{pk} {sk}: {error}"))?;
        let refreshable = connection.grant().is_some_and(|grant| grant.refreshable);
        let has_tokens = [
            connection.access.is_some(),
            connection.refresh.is_some(),
            connection.family.is_some(),
        ];
        let complete = match connection.stage {
            Stage::Code => has_tokens == [false; 3],
            Stage::Live => has_tokens == [true, refreshable, refreshable],
        };
        must(complete, || format!("half made: {connection:?}"))?;
    }
    Ok(())
}

/// No endpoint fails; and none is unavailable unless something was lost.
fn responses_are_those_of_the_protocol(view: &View<'_>) -> Held {
    for (_, event) in view.events {
        let (status, allowed): (u16, &[u16]) = match event {
            Event::Presented(_, Ok(_)) | Event::Limited(None) | Event::Consented(_, Ok(_)) => {
                continue;
            }
            Event::Presented(_, Err((status, _))) => (*status, &[400, 401]),
            Event::Revoked(_, status) => (*status, &[200, 400, 401]),
            // 303 without a code leads back to the page, which says why.
            Event::Consented(_, Err(status)) => (*status, &[200, 303, 400, 409, 429]),
            Event::Denied(status) => (*status, &[303, 400]),
            Event::EndedByOwner(status)
            | Event::Limited(Some(status))
            | Event::TriedToWiden(status) => (*status, &[303]),
            Event::Called(_, status) => (*status, &[401, 405]),
            Event::Answered { status, .. } => (*status, &[200]),
        };
        let holds = allowed.contains(&status) || (status == 503 && view.faults > 0);
        must(holds, || format!("{event:?}"))?;
    }
    Ok(())
}

/// Without a replay or a revocation a code is not refused, and a token only if two newer ones have been issued.
fn refused_tokens_are_old(view: &View<'_>, tokens: &Tokens) -> Held {
    if view.waited >= REFRESH_GRACE_SECONDS {
        return Ok(());
    }
    let mut items = view.table.items();
    let generation =
        items.find_map(|((pk, _), item)| (pk == "connection").then(|| generation(item)));
    for (_, event) in view.events {
        let Event::Presented(token, Err((status, error))) = event else {
            continue;
        };
        if *status == 503 {
            continue;
        }
        let old = Tokens::is_refresh(token)
            && generation.is_some_and(|newest| newest >= tokens.generation(token) + 2);
        must(old, || format!("refused: {token} {status} {error}"))?;
    }
    Ok(())
}

fn generation(item: &Item) -> u64 {
    let number = item.get("generation").and_then(|value| value["N"].as_str());
    number.map_or(0, |number| number.parse().unwrap())
}

/// Every token that was issued, and what it was issued for.
struct Tokens {
    /// Code or refresh token, and the one pair that it was exchanged for.
    successors: BTreeMap<String, Pair>,
    /// The newest pair at the beginning, and the code of its grant.
    first: Option<(String, Pair)>,
}

impl Tokens {
    /// Fails if two different pairs were issued for one code or token.
    fn of(beginning: &Beginning, events: &[(usize, Event)]) -> Result<Self, String> {
        let mut successors: BTreeMap<String, Pair> = beginning.successors.iter().cloned().collect();
        for (_, event) in events {
            let Event::Presented(presented, Ok(pair)) = event else {
                continue;
            };
            let other = successors.insert(presented.clone(), pair.clone());
            must(other.is_none_or(|other| other == *pair), || {
                format!("two pairs of successors: {presented}")
            })?;
        }
        let first = beginning.successors.last();
        Ok(Self {
            first: first.map(|(_, pair)| (beginning.code.clone(), pair.clone())),
            successors,
        })
    }

    fn is_refresh(token: &str) -> bool {
        token.starts_with("mcp_rt_")
    }

    /// The code that the token goes back to.
    fn grant(&self, token: &str) -> String {
        let mut token = token.to_owned();
        while let Some((presented, _)) = self
            .successors
            .iter()
            .find(|(_, (access, refresh))| *access == token || *refresh == token)
        {
            token.clone_from(presented);
        }
        token
    }

    /// How many rotations led to this refresh token.
    fn generation(&self, token: &str) -> u64 {
        let mut generation = 0;
        let mut token = token.to_owned();
        while let Some((presented, _)) = self
            .successors
            .iter()
            .find(|(_, (_, refresh))| *refresh == token)
        {
            token.clone_from(presented);
            generation += 1;
        }
        // The first pair is not a rotation.
        u64::saturating_sub(generation, 1)
    }

    fn pairs(&self) -> Vec<Pair> {
        self.successors.values().cloned().collect()
    }

    /// Those that a code led to.
    fn pairs_of(&self, grant: &str) -> Vec<Pair> {
        let first = self.successors.get(grant);
        std::iter::successors(first, |(_, refresh)| self.successors.get(refresh))
            .cloned()
            .collect()
    }

    /// The newest pair of the grant that the scenario began with, or of its only code.
    fn newest(&self) -> Option<Pair> {
        let mut newest = match &self.first {
            Some((_, pair)) => pair.clone(),
            None => self.successors.values().next()?.clone(),
        };
        while let Some(next) = self.successors.get(&newest.1) {
            newest = next.clone();
        }
        Some(newest)
    }
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match (&**kind, value) {
        ("S", Value::String(text)) => AttributeValue::S(text.clone()),
        ("N", Value::String(text)) => AttributeValue::N(text.clone()),
        ("BOOL", Value::Bool(flag)) => AttributeValue::Bool(*flag),
        ("NULL", _) => AttributeValue::Null(true),
        ("L", Value::Array(list)) => AttributeValue::L(list.iter().map(attribute).collect()),
        ("M", Value::Object(map)) => {
            AttributeValue::M(map.iter().map(|(k, v)| (k.clone(), attribute(v))).collect())
        }
        _ => panic!("not served: {kind}"),
    }
}
