//! What has changed, in this process: the recent changes, and when each scope last changed.
//!
//! Cached principals are checked against it on every use, so nothing has to be found and removed
//! when something changes, and an entry that is read while something changes cannot slip in.

use std::collections::{HashMap, VecDeque};

use crate::store::Change;

/// Changes that watchers can be served from memory.
const KEPT_CHANGES: usize = 4096;

/// Scopes whose last change is remembered. Beyond this all entries older than now are void: rare,
/// and only costs reads.
const KEPT_SCOPES: usize = 200_000;

/// The changes that this process has applied, up to `applied`.
#[derive(Debug)]
pub struct History {
    applied: u64,
    /// Consecutive revisions, ending with `applied`.
    recent: VecDeque<Change>,
    last_changed: HashMap<u64, u64>,
    /// The last revision that concerned everyone, or before which nothing is known.
    everyone: u64,
}

impl History {
    pub fn new(revision: u64) -> Self {
        Self {
            applied: revision,
            recent: VecDeque::new(),
            last_changed: HashMap::new(),
            everyone: revision,
        }
    }

    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Applies the next change; ignores those that are applied already.
    pub fn apply(&mut self, change: Change) {
        if change.revision <= self.applied {
            return;
        }
        if change.revision != self.applied + 1 {
            self.restart(change.revision);
            return;
        }
        self.applied = change.revision;
        let full = self.last_changed.len() + change.scopes.len() > KEPT_SCOPES;
        if change.everyone || full {
            self.everyone = change.revision;
            self.last_changed.clear();
        } else {
            for &scope in &change.scopes {
                self.last_changed.insert(scope, change.revision);
            }
        }
        self.recent.push_back(change);
        while self.recent.len() > KEPT_CHANGES {
            self.recent.pop_front();
        }
    }

    /// Forgets everything: what happened before the revision is unknown.
    pub fn restart(&mut self, revision: u64) {
        *self = Self::new(revision);
    }

    /// Whether something that was read as of `revision` and depends on the scopes still holds.
    pub fn holds(&self, revision: u64, scopes: &[u64]) -> bool {
        revision >= self.everyone
            && scopes
                .iter()
                .all(|scope| self.last_changed.get(scope).is_none_or(|&at| at <= revision))
    }

    /// Whether anything that concerns everyone, e.g. the settings, has changed since.
    pub fn holds_for_everyone(&self, revision: u64) -> bool {
        revision >= self.everyone
    }

    /// At most `limit` changes after the revision, in order; `None` when they are not known here.
    pub fn after(&self, revision: u64, limit: usize) -> Option<Vec<Change>> {
        if revision == self.applied {
            return Some(Vec::new());
        }
        let first = self.recent.front()?.revision;
        if revision > self.applied || revision + 1 < first {
            return None;
        }
        let skip = usize::try_from(revision + 1 - first).ok()?;
        Some(self.recent.iter().skip(skip).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, scopes: &[u64]) -> Change {
        Change { revision, scopes: scopes.to_vec(), everyone: false }
    }

    #[test]
    fn an_entry_is_void_once_one_of_its_scopes_has_changed_after_it_was_read() {
        let mut history = History::new(10);
        history.apply(change(11, &[1]));
        assert!(!history.holds(10, &[1]));
        assert!(history.holds(10, &[2]));
        assert!(history.holds(11, &[1]));
        history.apply(Change { revision: 12, scopes: vec![], everyone: true });
        assert!(!history.holds(11, &[2]));
        assert!(history.holds(12, &[1, 2]));
        assert!(!history.holds_for_everyone(11));
    }

    #[test]
    fn a_gap_voids_everything_older() {
        let mut history = History::new(10);
        history.apply(change(13, &[1]));
        assert_eq!(history.applied(), 13);
        assert!(!history.holds(12, &[2]));
        assert!(history.holds(13, &[2]));
        assert_eq!(history.after(10, 9), None);
    }

    #[test]
    fn changes_are_served_in_order_and_without_gaps_or_not_at_all() {
        let mut history = History::new(10);
        for revision in 11..=15 {
            history.apply(change(revision, &[revision]));
        }
        history.apply(change(12, &[99]));
        let revisions = |from, limit| -> Option<Vec<u64>> {
            Some(history.after(from, limit)?.iter().map(|change| change.revision).collect())
        };
        assert_eq!(revisions(12, 2), Some(vec![13, 14]));
        assert_eq!(revisions(10, 99), Some(vec![11, 12, 13, 14, 15]));
        assert_eq!(revisions(15, 9), Some(vec![]));
        assert_eq!(revisions(9, 9), None);
        assert_eq!(revisions(16, 9), None);
    }

    #[test]
    fn more_scopes_than_are_remembered_void_everything_rather_than_nothing() {
        let mut history = History::new(0);
        let many: Vec<u64> = (0..200_001).collect();
        history.apply(change(1, &many));
        assert!(!history.holds(0, &[5]));
        assert!(!history.holds(0, &[u64::MAX]));
        assert!(history.holds(1, &[5]));
    }
}
