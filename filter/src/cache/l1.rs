//! The worker's own answers: a bounded map with second-chance eviction.

use super::Fingerprint;
use super::entry::Entry;
use std::collections::{HashMap, VecDeque};

#[derive(Debug)]
struct Slot {
    entry: Entry,
    used: bool,
}

#[derive(Debug)]
pub struct L1 {
    capacity: usize,
    slots: HashMap<Fingerprint, Slot>,
    /// Keys in the order of their insertion; removed keys stay until they are met.
    order: VecDeque<Fingerprint>,
}

impl L1 {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, slots: HashMap::new(), order: VecDeque::new() }
    }

    pub fn get(&mut self, key: &Fingerprint) -> Option<&Entry> {
        let slot = self.slots.get_mut(key)?;
        slot.used = true;
        Some(&slot.entry)
    }

    pub fn remove(&mut self, key: &Fingerprint) {
        self.slots.remove(key);
    }

    pub fn insert(&mut self, key: Fingerprint, entry: Entry) {
        if self.capacity == 0 {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.entry = entry;
            return;
        }
        // The queue may hold removed keys, and keys twice: it is bounded on its own.
        while self.slots.len() >= self.capacity
            || self.order.len() >= self.capacity.saturating_mul(2)
        {
            if !self.evict_one() {
                break;
            }
        }
        self.order.push_back(key);
        self.slots.insert(key, Slot { entry, used: false });
    }

    /// Drops the oldest entry that was not used since it was last considered.
    fn evict_one(&mut self) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        match self.slots.get_mut(&key) {
            Some(slot) if slot.used => {
                slot.used = false;
                self.order.push_back(key);
            }
            Some(_) => {
                self.slots.remove(&key);
            }
            None => {}
        }
        true
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    #[cfg(test)]
    pub fn queue_len(&self) -> usize {
        self.order.len()
    }
}
