//! The values that are being given: never more bytes at once than are good for the machine, however many ask and do not take their answers.
//!
//! A value that is given to many is in memory once, and counts once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes at once. One that is larger than that is given when it is alone.
const MOST: usize = 64 << 20;

/// What is being given.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Values>>);

#[derive(Debug, Default)]
struct Values {
    bytes: usize,
    /// In how many answers each value is, by where it is in memory.
    answers: HashMap<usize, usize>,
}

/// A value in an answer, until that is written or given up.
#[derive(Debug)]
pub(super) struct Giving {
    value: Arc<[u8]>,
    of: InFlight,
}

impl InFlight {
    /// Gives a value, if there is room for it.
    pub(super) fn give(&self, value: &Arc<[u8]>) -> Option<Giving> {
        let mut values = self.values();
        let sum = values.bytes + value.len();
        let is_first = values.bytes == 0;
        match values.answers.entry(address(value)) {
            Entry::Occupied(mut known) => *known.get_mut() += 1,
            Entry::Vacant(_) if sum > MOST && !is_first => return None,
            Entry::Vacant(new) => {
                new.insert(1);
                values.bytes = sum;
            }
        }
        Some(Giving { value: Arc::clone(value), of: self.clone() })
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Giving {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        let mut values = self.of.values();
        if let Entry::Occupied(mut known) = values.answers.entry(address(&self.value)) {
            *known.get_mut() -= 1;
            if *known.get() == 0 {
                known.remove();
                values.bytes -= self.value.len();
            }
        }
    }
}

/// Nothing else is there as long as it is being given.
fn address(value: &Arc<[u8]>) -> usize {
    Arc::as_ptr(value).cast::<u8>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_values_share_the_room_and_one_value_takes_it_once() {
        let in_flight = InFlight::default();
        let value = |bytes: usize| -> Arc<[u8]> { Arc::from(vec![0; bytes]) };
        let (large, small) = (value(MOST - 10), value(11));
        let all: Vec<_> = (0..100).map(|_| in_flight.give(&large).expect("it is the same")).collect();
        assert!(in_flight.give(&small).is_none());
        let fits = in_flight.give(&value(10)).expect("there is room");
        drop(all);
        let small = in_flight.give(&small).expect("there is room again");
        assert!(in_flight.give(&value(MOST)).is_none());
        drop((fits, small));
        let whole = in_flight.give(&value(MOST + 1)).expect("it is alone");
        assert!(in_flight.give(&value(1)).is_none());
        drop(whole);
        let values = in_flight.values();
        assert_eq!((values.bytes, values.answers.len()), (0, 0));
    }
}
