//! Allocates free memory in whole pages.

use std::ops::Range;

/// Bytes of a page of x86.
pub(super) const PAGE: u64 = 4096;
/// Memory below this belongs to real mode, its interrupts and old video cards.
const FIRST: u64 = 1 << 20;
/// The end of what a 32-bit address can reach.
const LAST: u64 = 1 << 32;

/// Rounds bytes up to whole pages.
pub(super) fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// Free memory, in ranges of whole pages from low to high.
#[derive(Clone, Debug)]
pub(super) struct Places(Vec<Range<u64>>);

impl Places {
    /// Starts with usable memory.
    pub(super) fn new(usable: impl IntoIterator<Item = Range<u64>>) -> Self {
        let whole = usable
            .into_iter()
            .map(|range| pages(range.start).max(FIRST)..(range.end / PAGE * PAGE).min(LAST));
        let mut places: Vec<_> = whole.filter(|range| range.start < range.end).collect();
        places.sort_by_key(|range| range.start);
        Self(places)
    }

    /// Takes a place that begins at `start`, if all of it is free.
    pub(super) fn take_at(&mut self, start: u64, size: u64) -> Option<Range<u64>> {
        let wanted = start..start.checked_add(pages(size))?;
        let free =
            self.0.iter().any(|range| range.start <= wanted.start && wanted.end <= range.end);
        free.then(|| self.take(wanted))
    }

    /// Takes the lowest place that begins at a multiple of `alignment`.
    pub(super) fn take_lowest(&mut self, size: u64, alignment: u64) -> Option<Range<u64>> {
        let alignment = alignment.max(PAGE);
        let starts: Vec<_> =
            self.0.iter().map(|range| range.start.next_multiple_of(alignment)).collect();
        starts.into_iter().find_map(|start| self.take_at(start, size))
    }

    /// Takes the highest place that ends at or before `below`.
    pub(super) fn take_highest(&mut self, size: u64, below: u64) -> Option<Range<u64>> {
        let ends: Vec<_> =
            self.0.iter().rev().map(|range| range.end.min(below / PAGE * PAGE)).collect();
        ends.into_iter().find_map(|end| self.take_at(end.checked_sub(pages(size))?, size))
    }

    fn take(&mut self, taken: Range<u64>) -> Range<u64> {
        let rest = |range: Range<u64>| {
            if taken.start < range.start || taken.end > range.end {
                return vec![range];
            }
            vec![range.start..taken.start, taken.end..range.end]
        };
        let rest = std::mem::take(&mut self.0).into_iter().flat_map(rest);
        self.0 = rest.filter(|range| range.start < range.end).collect();
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_whole_pages_of_free_memory() {
        let mut places = Places::new([0..0x9_fc00, 0x10_0000..0x100_1800]);
        assert_eq!(places.take_at(0x10_0000, 1), Some(0x10_0000..0x10_1000));
        assert_eq!(places.take_at(0x10_0000, 1), None, "it is taken");
        assert_eq!(places.take_lowest(0x1000, 0x20_0000), Some(0x20_0000..0x20_1000));
        assert_eq!(places.take_highest(0x1001, u64::MAX), Some(0xff_f000..0x100_1000));
        assert_eq!(places.take_highest(0x1000, 0x20_1800), Some(0x1f_f000..0x20_0000));
        assert_eq!(places.take_highest(16 << 20, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn nothing_is_given_out_twice(
            sizes in proptest::collection::vec((1_u64..0x8000, any::<bool>()), 1..20),
        ) {
            let mut places = Places::new([0x10_0000..0x14_0000, 0x20_0000..0x28_0000]);
            let mut taken: Vec<Range<u64>> = Vec::new();
            for (size, low) in sizes {
                let place = if low {
                    places.take_lowest(size, PAGE)
                } else {
                    places.take_highest(size, u64::MAX)
                };
                let Some(place) = place else { continue };
                prop_assert!(place.end - place.start >= size);
                prop_assert!(taken.iter().all(|one| one.end <= place.start || place.end <= one.start));
                taken.push(place);
            }
        }
    }
}
