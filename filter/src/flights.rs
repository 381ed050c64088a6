//! The calls that are under way, and who waits for them.

use crate::cache::{Fingerprint, Key};
use crate::host::{ContextId, Token};
use crate::lane::QuestionId;
use crate::policy_client::Method;
use rustc_hash::FxHashMap;
use std::collections::HashMap;

/// How an answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ticket {
    Call(Token),
    Question(QuestionId),
}

/// A call and the requests that wait for it.
#[derive(Debug)]
pub struct Flight {
    pub method: Method,
    pub waiters: Vec<ContextId>,
    /// Set where the answer may be shared and remembered.
    pub key: Option<Key>,
    pub not_after_ms: Option<u64>,
    pub started_ms: u64,
    /// What had been heard of when it was asked.
    pub revision: u64,
    /// The message, of a question: to be put again where the stream ends.
    pub message: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
pub struct Flights {
    flights: FxHashMap<Ticket, Flight>,
    by_key: HashMap<Fingerprint, Ticket>,
    /// By the issuer whose keys are asked for.
    by_issuer: HashMap<String, Ticket>,
    questions: usize,
}

impl Flights {
    pub fn contains(&self, ticket: Ticket) -> bool {
        self.flights.contains_key(&ticket)
    }

    /// How many questions are open on the stream.
    pub fn questions(&self) -> usize {
        self.questions
    }

    pub fn insert(&mut self, ticket: Ticket, flight: Flight) {
        if let Some(key) = flight.key {
            self.by_key.insert(key.far, ticket);
        }
        if matches!(ticket, Ticket::Question(_)) {
            self.questions = self.questions.saturating_add(1);
        }
        self.flights.insert(ticket, flight);
    }

    pub fn remove(&mut self, ticket: Ticket) -> Option<Flight> {
        let flight = self.flights.remove(&ticket)?;
        if let Some(key) = flight.key {
            // A newer flight may have taken its place.
            if self.by_key.get(&key.far) == Some(&ticket) {
                self.by_key.remove(&key.far);
            }
        }
        if matches!(ticket, Ticket::Question(_)) {
            self.questions = self.questions.saturating_sub(1);
        }
        Some(flight)
    }

    /// Lets a request wait for the answer that others wait for, if there is one under way that was
    /// asked since this revision was heard of: an older one may tell of rights that are gone.
    pub fn join(&mut self, key: &Key, revision: u64, waiter: ContextId) -> bool {
        let flight = self.by_key.get(&key.far).and_then(|ticket| self.flights.get_mut(ticket));
        let flight = flight.filter(|flight| flight.revision >= revision);
        flight.map(|flight| flight.waiters.push(waiter)).is_some()
    }

    /// The same for an issuer's keys.
    pub fn join_issuer(&mut self, issuer: &str, waiter: ContextId) -> bool {
        let flight = self.by_issuer.get(issuer).and_then(|ticket| self.flights.get_mut(ticket));
        flight.map(|flight| flight.waiters.push(waiter)).is_some()
    }

    pub fn asks_issuer(&mut self, issuer: &str, ticket: Ticket) {
        self.by_issuer.insert(issuer.to_owned(), ticket);
    }

    /// The issuer whose keys this call has asked for.
    pub fn take_issuer(&mut self, ticket: Ticket) -> Option<String> {
        let issuer = self.by_issuer.iter().find(|(_, other)| **other == ticket)?.0.clone();
        self.by_issuer.remove(&issuer);
        Some(issuer)
    }

    /// A request waits no more. Gives what nobody waits for and nothing else needs.
    pub fn forget(&mut self, waiter: ContextId) -> Vec<(Ticket, Flight)> {
        let mut abandoned = Vec::new();
        for (ticket, flight) in &mut self.flights {
            flight.waiters.retain(|other| *other != waiter);
            // What MLflow has done stays done: its record must arrive, whoever still listens. And
            // who asks for keys and goes must not make the next one ask again at once.
            let needed = matches!(flight.method, Method::Record | Method::Keys);
            if flight.waiters.is_empty() && !needed {
                abandoned.push(*ticket);
            }
        }
        abandoned.into_iter().filter_map(|it| Some((it, self.remove(it)?))).collect()
    }

    /// Takes the questions that have waited for so long, in ms.
    pub fn take_overdue(&mut self, now_ms: u64, wait_ms: u64) -> Vec<Flight> {
        self.take(|flight| now_ms.saturating_sub(flight.started_ms) >= wait_ms)
    }

    /// Takes the questions of a stream that has ended.
    pub fn take_questions(&mut self) -> Vec<Flight> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Flight) -> bool) -> Vec<Flight> {
        let is_meant = |ticket: &Ticket, flight: &Flight| {
            matches!(ticket, Ticket::Question(_)) && which(flight)
        };
        let taken: Vec<Ticket> = self
            .flights
            .iter()
            .filter_map(|(ticket, flight)| is_meant(ticket, flight).then_some(*ticket))
            .collect();
        taken.into_iter().filter_map(|ticket| self.remove(ticket)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(revision: u64, waiter: ContextId) -> Flight {
        Flight {
            method: Method::Authorize,
            waiters: vec![waiter],
            key: Some(Key::default()),
            not_after_ms: None,
            started_ms: 0,
            revision,
            message: None,
        }
    }

    #[test]
    fn nobody_joins_who_asked_before_a_change_that_was_heard_of_since() {
        let mut flights = Flights::default();
        let (old, new) = (Ticket::Call(Token(1)), Ticket::Call(Token(2)));
        flights.insert(old, flight(7, ContextId(1)));
        assert!(flights.join(&Key::default(), 7, ContextId(2)));
        assert!(!flights.join(&Key::default(), 8, ContextId(3)));
        flights.insert(new, flight(8, ContextId(3)));
        assert_eq!(flights.remove(old).unwrap().waiters, [ContextId(1), ContextId(2)]);
        assert!(flights.join(&Key::default(), 8, ContextId(4)), "the newer one is still there");
        assert_eq!(flights.remove(new).unwrap().waiters, [ContextId(3), ContextId(4)]);
    }
}
