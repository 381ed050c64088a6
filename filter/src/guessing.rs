//! What the policy server refuses for too many failures is refused here for a while, so that a flood
//! of wrong passwords is not a flood of questions.
//!
//! The server counts and judges. Its word is about a user and an address, and names the moment until
//! which it holds; for that long, what comes beyond a few questions a second is answered from here.
//! Two things are always asked: a credential that has been right at this worker, for the server lets
//! it pass whatever else is tried from its address; and the first few of each second, for it may know
//! more than this worker does. So whoever is not flooding meets the server, as without all this.

use crate::contract as pb;
use crate::host::Host;
use crate::recognizer::{Mark, Recognizer};
use crate::worker::Answered;
use pb::Outcome;
use pb::subject::Kind;
use std::net::IpAddr;

/// Per worker, and of each kind. What has lost its place to another is asked about.
const PLACES: usize = 1024;
/// However long the server says.
const LONGEST_MS: u64 = 10_000;
/// How long a right credential is known for one; as long as the server remembers it.
const RIGHT_MS: u64 = 600_000;
/// Questions about one user and address that are asked all the same.
const ASKED_A_SECOND: u32 = 20;
const SECOND_MS: u64 = 1_000;
/// The policy server counts failures of its tokens apart from those of the user who is named.
const TOKEN_PREFIX: &str = "mlg_";

/// What is known until some moment, and how often it was passed over in one second.
#[derive(Debug, Clone, Copy)]
struct Known {
    until_ms: u64,
    second_ms: u64,
    asked: u32,
}

/// Each mark has one place, where the last one that came stays: a mark is nobody's choice.
#[derive(Debug, Default)]
struct Table(Vec<Option<(Mark, Known)>>);

impl Table {
    fn get(&self, mark: Mark) -> Option<Known> {
        let (owner, known) = (*self.0.get(mark.place(PLACES))?)?;
        (owner == mark).then_some(known)
    }

    fn insert(&mut self, mark: Mark, known: Known) {
        if self.0.is_empty() {
            self.0.resize(PLACES, None);
        }
        if let Some(place) = self.0.get_mut(mark.place(PLACES)) {
            *place = Some((mark, known));
        }
    }
}

/// A refusal that nobody was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub retry_after_ms: u32,
    /// For how many refusals the log has one line; `None` where another's stands for this one.
    pub stands_for: Option<u32>,
}

#[derive(Debug, Default)]
pub struct Guessing {
    recognizer: Recognizer,
    /// By user and network.
    held: Table,
    /// By user and password: that it was right.
    right: Table,
    /// When the last hold ends: before the first one and after the last one, nothing is looked up.
    last_until_ms: u64,
    unlogged: u32,
    logged_ms: u64,
}

impl Guessing {
    /// Whether an attempt is refused without a question.
    #[inline(never)]
    pub fn refuses<H: Host>(&mut self, host: &H, who: &pb::Subject) -> Option<Refused> {
        let now_ms = host.now_ms();
        if now_ms >= self.last_until_ms {
            return None;
        }
        let basic = password(who)?;
        let pair = self.pair(host, basic)?;
        let mut hold = self.held.get(pair)?;
        let left_ms = hold.until_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
        let credential = self.credential(host, basic)?;
        if self.right.get(credential).is_some_and(|right| now_ms < right.until_ms) {
            return None;
        }
        if now_ms.saturating_sub(hold.second_ms) >= SECOND_MS {
            (hold.second_ms, hold.asked) = (now_ms, 0);
        }
        if hold.asked < ASKED_A_SECOND {
            hold.asked = hold.asked.saturating_add(1);
            self.held.insert(pair, hold);
            return None;
        }
        let retry_after_ms = u32::try_from(left_ms).unwrap_or(u32::MAX);
        Some(Refused { retry_after_ms, stands_for: self.log(now_ms) })
    }

    /// One line a second.
    fn log(&mut self, now_ms: u64) -> Option<u32> {
        self.unlogged = self.unlogged.saturating_add(1);
        if now_ms.saturating_sub(self.logged_ms) < SECOND_MS {
            return None;
        }
        self.logged_ms = now_ms;
        Some(std::mem::take(&mut self.unlogged))
    }

    /// What the policy server has said to somebody.
    #[inline(never)]
    pub fn heard<H: Host>(&mut self, host: &H, who: &pb::Subject, answered: &Answered) {
        let Some(basic) = password(who) else { return };
        let now_ms = host.now_ms();
        match said(answered) {
            Said::Nothing => {}
            Said::Right => {
                if let Some(credential) = self.credential(host, basic) {
                    let until_ms = now_ms.saturating_add(RIGHT_MS);
                    self.right.insert(credential, Known { until_ms, second_ms: 0, asked: 0 });
                }
            }
            Said::TooMany { wait_ms } => {
                let Some(pair) = self.pair(host, basic) else { return };
                let until_ms = now_ms.saturating_add(wait_ms.min(LONGEST_MS));
                let fresh = Known { until_ms, second_ms: now_ms, asked: 0 };
                // What was asked in this second counts on: the answer is to one of them.
                let known = self.held.get(pair).map_or(fresh, |old| Known { until_ms, ..old });
                self.held.insert(pair, known);
                self.last_until_ms = self.last_until_ms.max(until_ms);
            }
        }
    }

    fn pair<H: Host>(&mut self, host: &H, basic: &pb::BasicCredential) -> Option<Mark> {
        self.mark(host, &basic.username, &network(&client_address(host)))
    }

    fn credential<H: Host>(&mut self, host: &H, basic: &pb::BasicCredential) -> Option<Mark> {
        self.mark(host, &basic.username, basic.password.as_bytes())
    }

    #[inline(never)]
    fn mark<H: Host>(&mut self, host: &H, user: &str, rest: &[u8]) -> Option<Mark> {
        let mut bytes = user.as_bytes().to_vec();
        // No text has this byte.
        bytes.push(0xff);
        bytes.extend_from_slice(rest);
        self.recognizer.mark(host, &bytes)
    }
}

/// What an answer says of a password.
enum Said {
    Nothing,
    Right,
    TooMany { wait_ms: u64 },
}

fn said(answered: &Answered) -> Said {
    match answered {
        Answered::Authorized(answer) => match answer.outcome() {
            Outcome::Throttled => Said::TooMany { wait_ms: answer.retry_after_ms.into() },
            Outcome::Unauthenticated | Outcome::Unavailable | Outcome::Unspecified => Said::Nothing,
            Outcome::Allowed | Outcome::Denied | Outcome::NotFound | Outcome::BadWorkspace => {
                if answer.principal.is_some() {
                    Said::Right
                } else {
                    Said::Nothing
                }
            }
        },
        // Only whoever was recognised is answered so.
        Answered::Administered(answer) if (200..300).contains(&answer.status) => Said::Right,
        // How long it holds is for people to read; they are asked again after a moment.
        Answered::Administered(answer) if answer.status == 429 => {
            Said::TooMany { wait_ms: SECOND_MS }
        }
        _ => Said::Nothing,
    }
}

/// A credential whose failures are counted by its user.
fn password(who: &pb::Subject) -> Option<&pb::BasicCredential> {
    match &who.kind {
        Some(Kind::Basic(basic)) if !basic.password.starts_with(TOKEN_PREFIX) => Some(basic),
        _ => None,
    }
}

/// An address as the policy server counts by it: of IPv6, the subscriber's /64. What is no address is
/// nobody's: it then counts by the user alone.
fn network(address: &str) -> [u8; 16] {
    let bits = match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => u128::from(v4.to_bits()),
        Ok(IpAddr::V6(v6)) => v6.to_bits() & !u128::from(u64::MAX),
        Err(_) => 0,
    };
    bits.to_be_bytes()
}

/// The client's as Envoy knows it: the peer's, or what a trusted proxy has said.
#[inline(never)]
pub fn client_address<H: Host>(host: &H) -> String {
    let address = host.property(&["source", "address"]).unwrap_or_default();
    without_port(&String::from_utf8_lossy(&address)).to_owned()
}

/// `10.0.0.1:80` and `[::1]:80` without their ports.
fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests;
