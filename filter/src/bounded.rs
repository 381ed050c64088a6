//! A map that never grows beyond its capacity, with second-chance eviction.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::hash::Hash;

#[derive(Debug)]
struct Slot<V> {
    value: V,
    used: bool,
}

/// Its keys must be ones that no client can choose, such as marks: they are hashed without a secret.
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    slots: FxHashMap<K, Slot<V>>,
    /// Keys in the order of their insertion; removed keys stay until they are met.
    order: VecDeque<K>,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// A capacity of 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, slots: FxHashMap::default(), order: VecDeque::new() }
    }

    pub fn get(&mut self, key: &K) -> Option<&V> {
        let slot = self.slots.get_mut(key)?;
        slot.used = true;
        Some(&slot.value)
    }

    pub fn remove(&mut self, key: &K) {
        self.slots.remove(key);
    }

    pub fn clear(&mut self) {
        self.slots.clear();
        self.order.clear();
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.capacity == 0 {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.value = value;
            return;
        }
        // The queue may hold removed keys, and keys twice: it is bounded on its own.
        let queue = self.capacity.saturating_mul(2);
        while self.slots.len() >= self.capacity || self.order.len() >= queue {
            if !self.evict_one() {
                break;
            }
        }
        self.order.push_back(key);
        self.slots.insert(key, Slot { value, used: false });
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_grows_nothing_and_what_is_used_stays() {
        let mut map = Bounded::new(8);
        map.insert(0_u32, "hot");
        for key in 1..10_000 {
            assert_eq!(map.get(&0), Some(&"hot"), "at {key}");
            map.insert(key, "cold");
            assert!(map.slots.len() <= 8 && map.order.len() <= 16);
        }
    }

    #[test]
    fn removing_and_inserting_again_does_not_grow_the_queue() {
        let mut map = Bounded::new(4);
        for _ in 0..1000 {
            map.insert(1_u32, ());
            map.remove(&1);
        }
        assert!(map.order.len() <= 8);
        map.insert(1, ());
        assert!(map.get(&1).is_some());
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let mut map = Bounded::new(0);
        map.insert(1_u32, ());
        assert!(map.get(&1).is_none());
    }
}
