//! The search: every order of the actors' calls, with lost requests, lost responses and passing time. An actor that is not
//! scheduled any more has crashed, so crashes need no step of their own: the invariants hold in every state.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use sha2::{Digest as _, Sha256};

use super::{
    actor::{Actors, Position, Reply, Script},
    dynamodb::Table,
    instance::Event,
    invariants::{Invariants, View},
};

/// What is explored.
pub struct Scenario {
    pub name: &'static str,
    /// The table before the first step, and the time.
    pub table: Table,
    pub now: u64,
    pub actors: Vec<Actor>,
    /// Seconds by which the clock advances, one after the other, at any moment.
    pub pauses: Vec<u64>,
    /// How many requests or responses may be lost.
    pub faults: u8,
}

/// One of the actors.
pub struct Actor {
    pub name: &'static str,
    pub script: Script,
    /// Whether a connection may end once it has begun.
    pub may_end_connections: bool,
}

/// A state of the whole system.
#[derive(Clone)]
struct State {
    table: Table,
    now: u64,
    pauses_taken: usize,
    faults_left: u8,
    /// `None` for an actor that has not begun.
    positions: Vec<Option<Position>>,
}

impl State {
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.table.digest().hash(&mut hasher);
        (self.pauses_taken, self.faults_left).hash(&mut hasher);
        self.positions.hash(&mut hasher);
        hasher.finish()
    }
}

/// What can happen next.
#[derive(Clone, Copy)]
enum Step {
    /// The actor's call is carried out and answered.
    Answered(usize),
    /// It does not arrive.
    RequestLost(usize),
    /// It is carried out, but the response does not arrive.
    ResponseLost(usize),
    /// The clock advances.
    Pause(u64),
}

/// How much was explored.
#[derive(Default)]
pub struct Explored {
    /// Different orders of steps, from the first step to the last.
    pub interleavings: u128,
    pub states: usize,
    /// Steps of the longest interleaving.
    pub longest: usize,
    /// How often real code ran up to its next call.
    pub runs: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} interleavings of up to {} steps, {} states, {} runs of the real code",
            self.interleavings, self.longest, self.states, self.runs
        )
    }
}

pub struct Search {
    scenario: Scenario,
    actors: Actors,
    invariants: Invariants,
    /// Per state: how many interleavings begin there, and the steps of the longest one.
    seen: HashMap<u64, (u128, usize)>,
    path: Vec<String>,
}

impl Search {
    pub fn new(scenario: Scenario, mut actors: Actors, invariants: Invariants) -> Self {
        // The numbers of the actors are their places in the scenario.
        for (place, actor) in scenario.actors.iter().enumerate() {
            assert_eq!(actors.add(actor.script.clone()), place);
        }
        Self {
            scenario,
            actors,
            invariants,
            seen: HashMap::new(),
            path: Vec::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        self.scenario.name
    }

    fn begin(&self) -> State {
        State {
            table: self.scenario.table.clone(),
            now: self.scenario.now,
            pauses_taken: 0,
            faults_left: self.scenario.faults,
            positions: vec![None; self.scenario.actors.len()],
        }
    }

    /// Every interleaving.
    pub fn exhaustively(&mut self) -> Explored {
        let (interleavings, longest) = self.explore(&self.begin());
        Explored {
            interleavings,
            longest,
            ..self.explored()
        }
    }

    /// This many random interleavings; those that were taken twice are counted once.
    pub fn at_random(&mut self, seed: u64, walks: u64) -> Explored {
        let mut taken = HashSet::new();
        let mut longest = 0;
        for walk in 0..walks {
            self.path.clear();
            let mut state = self.begin();
            for number in 0_u64.. {
                if self.seen.insert(state.key(), (0, 0)).is_none() {
                    self.check(&state);
                }
                let steps = self.steps(&mut state.clone());
                if steps.is_empty() {
                    break;
                }
                let random = Sha256::digest([seed, walk, number].map(u64::to_be_bytes).concat());
                let random = u64::from_be_bytes(random[..8].try_into().unwrap());
                let chosen = steps[usize::try_from(random % steps.len() as u64).unwrap()];
                state = self.take(&state, chosen);
            }
            longest = longest.max(self.path.len());
            taken.insert(self.path.clone());
        }
        self.path.clear();
        Explored {
            interleavings: taken.len() as u128,
            longest,
            ..self.explored()
        }
    }

    fn explored(&self) -> Explored {
        Explored {
            states: self.seen.len(),
            runs: self.actors.runs(),
            ..Explored::default()
        }
    }

    fn explore(&mut self, state: &State) -> (u128, usize) {
        let key = state.key();
        if let Some(known) = self.seen.get(&key) {
            return *known;
        }
        self.check(state);
        let (mut interleavings, mut longest) = (0_u128, 0);
        let steps = self.steps(&mut state.clone());
        for step in &steps {
            let next = self.take(state, *step);
            let (more, length) = self.explore(&next);
            self.path.pop();
            interleavings = interleavings.saturating_add(more);
            longest = longest.max(length + 1);
        }
        if steps.is_empty() {
            interleavings = 1;
        }
        self.seen.insert(key, (interleavings, longest));
        (interleavings, longest)
    }

    fn steps(&mut self, state: &mut State) -> Vec<Step> {
        let mut steps = Vec::new();
        for actor in 0..state.positions.len() {
            let position = self.position(state, actor);
            let Some(call) = &self.actors.at(position).next else {
                continue;
            };
            steps.push(Step::Answered(actor));
            if state.faults_left > 0 {
                steps.push(Step::RequestLost(actor));
                // It makes no difference where a read is lost.
                if call.writes() {
                    steps.push(Step::ResponseLost(actor));
                }
            }
        }
        if let Some(pause) = self.scenario.pauses.get(state.pauses_taken) {
            // When every actor has ended, time changes nothing any more.
            if !steps.is_empty() {
                steps.push(Step::Pause(*pause));
            }
        }
        steps
    }

    fn position(&mut self, state: &State, actor: usize) -> Position {
        match state.positions[actor] {
            Some(position) => position,
            None => self.actors.begin(actor, state.now),
        }
    }

    fn take(&mut self, state: &State, step: Step) -> State {
        let mut next = state.clone();
        let (actor, carried_out, answered) = match step {
            Step::Answered(actor) => (actor, true, true),
            Step::ResponseLost(actor) => (actor, true, false),
            Step::RequestLost(actor) => (actor, false, false),
            Step::Pause(seconds) => {
                next.now += seconds;
                next.pauses_taken += 1;
                self.path.push(format!("{seconds} seconds pass"));
                return next;
            }
        };
        let position = self.position(state, actor);
        let call = self.actors.at(position).next.clone().unwrap();
        let response = carried_out.then(|| self.actors.execute(&call, &mut next.table));
        next.faults_left -= u8::from(!answered);
        let what = match (carried_out, answered) {
            (true, true) => "",
            (true, false) => ", response lost",
            _ => ", request lost",
        };
        let name = self.scenario.actors[actor].name;
        self.path.push(format!("{name}: {}{what}", call.operation));
        let reply = Reply {
            now: state.now,
            response: response.filter(|_| answered),
        };
        next.positions[actor] = Some(self.actors.resume(position, reply));
        next
    }

    fn check(&mut self, state: &State) {
        let mut events: Vec<(usize, Event)> = Vec::new();
        let mut reasons_to_end = false;
        for (actor, position) in state.positions.iter().enumerate() {
            let Some(position) = position else { continue };
            reasons_to_end |= self.scenario.actors[actor].may_end_connections;
            let known = self.actors.at(*position);
            events.extend(known.events.iter().map(|event| (actor, event.clone())));
        }
        let view = View {
            table: &state.table,
            now: state.now,
            waited: state.now - self.scenario.now,
            events: &events,
            reasons_to_end,
            faults: self.scenario.faults - state.faults_left,
        };
        if let Err(violated) = self.invariants.hold(&view, &mut self.actors) {
            panic!(
                "{}: {violated}\nafter:\n  {}\nwith {events:#?}",
                self.scenario.name,
                self.path.join("\n  ")
            );
        }
    }
}
