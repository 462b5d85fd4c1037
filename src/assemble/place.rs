//! Where in the store each layer lies: one behind the other, or as an old disk has them, so that
//! slabs which are equal stay equal at the same offset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a new disk keeps of an old one's layout (`--place-like`). It stands in the inputs record:
/// it decides bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Like {
    /// Partitions by their labels: bytes from the start of the disk.
    pub partitions: BTreeMap<String, u64>,
    /// Layers by their diffIDs.
    pub layers: BTreeMap<String, Place>,
}

/// Where a layer lies in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its first slab of 512 KiB, counted from the store's start.
    pub slab: u64,
    /// Slabs.
    pub slabs: u64,
}

impl Place {
    /// The slab after the last; None past the largest number.
    fn end(self) -> Option<u64> {
        self.slab.checked_add(self.slabs)
    }
}

/// A layer that needs a place.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its diffID.
    pub diff_id: &'a str,
    /// Slabs, at least 1.
    pub slabs: u64,
}

/// Places of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The first slab of each, in the order in which they came.
    pub slabs: Vec<u64>,
    /// The slab after the last one.
    pub end: u64,
    /// Slabs between them that none has.
    pub holes: u64,
}

/// Places `layers` from the slab `first` on. One that lies in `like`, as long as it is now, keeps its
/// place. Each of the others takes the smallest hole that is large enough, the lowest of equal ones,
/// or goes behind the last. When more than a third would be holes, or in want of `like`, each
/// goes behind the one before.
#[must_use]
pub fn place(layers: &[Layer<'_>], first: u64, like: &BTreeMap<String, Place>) -> Placed {
    let kept = around_kept(layers, first, like);
    if kept.holes <= (kept.end - first) / 3 {
        return kept;
    }
    around_kept(layers, first, &BTreeMap::new())
}

fn around_kept(layers: &[Layer<'_>], first: u64, like: &BTreeMap<String, Place>) -> Placed {
    let mut taken = Taken {
        first,
        stretches: BTreeMap::new(),
    };
    let keep = |layer: &Layer<'_>| {
        let old = like.get(layer.diff_id)?;
        (old.slabs == layer.slabs && taken.take(*old)).then_some(old.slab)
    };
    let kept: Vec<Option<u64>> = layers.iter().map(keep).collect();
    let place = |(layer, kept): (&Layer<'_>, Option<u64>)| {
        kept.unwrap_or_else(|| taken.take_best(layer.slabs))
    };
    let slabs = layers.iter().zip(kept).map(place).collect();
    let needed: u64 = layers.iter().map(|layer| layer.slabs).sum();
    let end = taken.end();
    Placed {
        slabs,
        end,
        holes: end - first - needed,
    }
}

/// What is taken of the slabs from `first` on.
struct Taken {
    first: u64,
    /// First slab → the one after the last; never overlapping.
    stretches: BTreeMap<u64, u64>,
}

impl Taken {
    fn end(&self) -> u64 {
        let last = self.stretches.last_key_value();
        last.map_or(self.first, |(_, end)| *end)
    }

    /// Takes these slabs, when all are free.
    fn take(&mut self, place: Place) -> bool {
        let Some(end) = place.end() else {
            return false;
        };
        let before = self.stretches.range(..end).next_back();
        let free = before.map_or(self.first, |(_, end)| *end);
        let is_free = free <= place.slab;
        if is_free {
            self.stretches.insert(place.slab, end);
        }
        is_free
    }

    /// Takes so many slabs in the smallest hole that has them, or behind all.
    fn take_best(&mut self, slabs: u64) -> u64 {
        let mut free = self.first;
        let mut best: Option<(u64, u64)> = None;
        for (start, end) in &self.stretches {
            let hole = (start - free, free);
            if hole.0 >= slabs {
                best = Some(best.map_or(hole, |best| best.min(hole)));
            }
            free = *end;
        }
        let slab = best.map_or(free, |(_, start)| start);
        self.stretches.insert(slab, slab.saturating_add(slabs));
        slab
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layers<'a>(list: &[(&'a str, u64)]) -> Vec<Layer<'a>> {
        let layer = |(diff_id, slabs): &(&'a str, u64)| Layer {
            diff_id,
            slabs: *slabs,
        };
        list.iter().map(layer).collect()
    }

    fn like(list: &[(&str, u64, u64)]) -> BTreeMap<String, Place> {
        let place = |(name, slab, slabs): &(&str, u64, u64)| {
            let (slab, slabs) = (*slab, *slabs);
            ((*name).to_owned(), Place { slab, slabs })
        };
        list.iter().map(place).collect()
    }

    fn placed(list: &[(&str, u64)], old: &[(&str, u64, u64)]) -> (Vec<u64>, u64) {
        let placed = place(&layers(list), 1, &like(old));
        (placed.slabs, placed.holes)
    }

    #[test]
    fn what_stays_keeps_its_place_and_the_rest_goes_around_it() {
        let new = [("a", 4), ("b", 3), ("c", 6)];
        assert_eq!(placed(&new, &[]), (vec![1, 5, 8], 0));
        // b is another layer now: as long, shorter, longer.
        let old = [("a", 1, 4), ("was b", 5, 3), ("c", 8, 6)];
        assert_eq!(placed(&new, &old), (vec![1, 5, 8], 0));
        assert_eq!(
            placed(&[("a", 4), ("b", 2), ("c", 6)], &old),
            (vec![1, 5, 8], 1)
        );
        assert_eq!(
            placed(&[("a", 4), ("b", 4), ("c", 6)], &old),
            (vec![1, 14, 8], 3)
        );
        // The smallest hole that has room; what was compressed otherwise does not stay.
        let old = [("c", 8, 6), ("a", 14, 3), ("d", 18, 9)];
        let new = [("a", 4), ("b", 1), ("c", 6), ("d", 9)];
        assert_eq!(placed(&new, &old), (vec![14, 1, 8, 18], 6));
    }

    #[test]
    fn too_many_holes_and_places_that_cannot_be_are_not_kept() {
        let new = [("a", 2), ("b", 2)];
        assert_eq!(placed(&new, &[("a", 3, 2), ("b", 5, 2)]), (vec![3, 5], 2));
        assert_eq!(placed(&new, &[("a", 4, 2), ("b", 6, 2)]), (vec![1, 3], 0));
        assert_eq!(placed(&new, &[("b", 0, 2)]), (vec![1, 3], 0));
        assert_eq!(placed(&new, &[("b", u64::MAX, 2)]), (vec![1, 3], 0));
        assert_eq!(placed(&new, &[("a", 2, 2), ("b", 3, 2)]), (vec![2, 4], 1));
        assert_eq!(placed(&[], &[]), (vec![], 0));
    }

    proptest! {
        #[test]
        fn places_never_overlap_and_are_where_they_were_the_next_time(
            lens in prop::collection::vec(1u64..9, 0..9),
            old in prop::collection::btree_map("[a-i]", (0u64..60, 1u64..9), 0..9),
        ) {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
            let layers: Vec<_> = names
                .iter()
                .zip(&lens)
                .map(|(diff_id, slabs)| Layer { diff_id, slabs: *slabs })
                .collect();
            let old = old.into_iter().map(|(name, (slab, slabs))| (name, Place { slab, slabs }));
            let placed = place(&layers, 1, &old.collect());
            let stretches = layers.iter().zip(&placed.slabs);
            let mut stretches: Vec<_> = stretches
                .map(|(layer, slab)| (*slab, slab + layer.slabs))
                .collect();
            stretches.sort_unstable();
            let mut free = 1;
            for (start, end) in stretches {
                prop_assert!(start >= free);
                free = end;
            }
            prop_assert_eq!(placed.end, free);
            prop_assert!(placed.holes * 3 < placed.end);
            let again = layers.iter().zip(&placed.slabs).map(|(layer, slab)| {
                let place = Place { slab: *slab, slabs: layer.slabs };
                (layer.diff_id.to_owned(), place)
            });
            prop_assert_eq!(place(&layers, 1, &again.collect()), placed);
        }
    }
}
