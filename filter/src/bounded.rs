//! A map that never grows beyond its capacity, with second-chance eviction.

use rustc_hash::FxHashMap;
use std::hash::Hash;

#[derive(Debug)]
struct Slot<K, V> {
    /// `None` once it was removed.
    entry: Option<(K, V)>,
    used: bool,
}

/// Its keys must be ones that no client can choose, such as marks: they are hashed without a secret.
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    slots: Vec<Slot<K, V>>,
    /// Numbers of slots.
    places: FxHashMap<K, usize>,
    /// The slot that is next considered for eviction.
    hand: usize,
}

impl<K: Copy + Eq + Hash, V> Bounded<K, V> {
    /// A capacity of 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, slots: Vec::new(), places: FxHashMap::default(), hand: 0 }
    }

    pub fn get(&mut self, key: &K) -> Option<&V> {
        let slot = self.slots.get_mut(*self.places.get(key)?)?;
        slot.used = true;
        slot.entry.as_ref().map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(place) = self.places.remove(key)
            && let Some(slot) = self.slots.get_mut(place)
        {
            *slot = Slot { entry: None, used: false };
        }
    }

    pub fn clear(&mut self) {
        self.slots.clear();
        self.places.clear();
        self.hand = 0;
    }

    pub fn insert(&mut self, key: K, value: V) {
        let known = self.places.get(&key).and_then(|place| self.slots.get_mut(*place));
        if let Some(slot) = known {
            slot.entry = Some((key, value));
            return;
        }
        let slot = Slot { entry: Some((key, value)), used: false };
        if self.slots.len() < self.capacity {
            self.places.insert(key, self.slots.len());
            self.slots.push(slot);
        } else if let Some((place, vacated)) = self.vacate() {
            *vacated = slot;
            self.places.insert(key, place);
        }
    }

    /// Empties the next slot that was not used since it was last considered. `None` without slots.
    fn vacate(&mut self) -> Option<(usize, &mut Slot<K, V>)> {
        let place = loop {
            let place = if self.hand < self.slots.len() { self.hand } else { 0 };
            self.hand = place.saturating_add(1);
            if !std::mem::take(&mut self.slots.get_mut(place)?.used) {
                break place;
            }
        };
        let slot = self.slots.get_mut(place)?;
        if let Some((key, _)) = slot.entry.take() {
            self.places.remove(&key);
        }
        Some((place, slot))
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
            assert!(map.slots.len() <= 8 && map.places.len() <= 8);
        }
    }

    #[test]
    fn what_is_removed_and_inserted_again_is_there_once_and_grows_nothing() {
        let mut map = Bounded::new(4);
        for round in 0..1000 {
            map.insert(1_u32, round);
            map.insert(2 + round % 7, round);
            map.remove(&1);
            assert!(map.get(&1).is_none());
            assert!(map.slots.len() <= 4 && map.places.len() <= 4);
        }
        map.insert(1, 1000);
        map.insert(1, 1001);
        assert_eq!(map.get(&1), Some(&1001));
    }

    #[test]
    fn when_all_are_used_the_oldest_goes() {
        let mut map = Bounded::new(3);
        for key in 0..3_u32 {
            map.insert(key, key);
            map.get(&key);
        }
        map.insert(3, 3);
        assert_eq!(
            [0, 1, 2, 3].map(|key| map.get(&key).copied()),
            [None, Some(1), Some(2), Some(3)]
        );
    }

    #[test]
    fn what_was_cleared_is_gone_and_there_is_room_again() {
        let mut map = Bounded::new(2);
        (0..5_u32).for_each(|key| map.insert(key, key));
        map.clear();
        assert!((0..5).all(|key| map.get(&key).is_none()));
        (5..7).for_each(|key| map.insert(key, key));
        assert_eq!([map.get(&5).copied(), map.get(&6).copied()], [Some(5), Some(6)]);
    }

    #[test]
    fn without_capacity_nothing_is_kept() {
        let mut map = Bounded::new(0);
        map.insert(1_u32, ());
        assert!(map.get(&1).is_none());
    }
}
