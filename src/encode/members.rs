//! The order of an object's members in JavaScript, and what happens to a key that comes twice.

use std::collections::HashMap;

/// The key is not an array index; the largest one is 4294967294.
const NO_INDEX: u32 = u32::MAX;

/// A member of an open object, by its place in the output.
#[derive(Clone, Copy)]
pub(super) struct Member {
    /// Where the key's opening quote stands.
    pub(super) start: usize,
    /// Where the colon stands.
    pub(super) colon: usize,
    /// The key as an array index, or [`NO_INDEX`].
    pub(super) index: u32,
}

/// The key as an array index (`0` to `4294967294`, without leading zeros), else [`NO_INDEX`].
pub(super) fn array_index(key: &[u8]) -> u32 {
    if key.is_empty() || key.len() > 10 || (key.len() > 1 && key.starts_with(b"0")) {
        return NO_INDEX;
    }
    let value = key.iter().try_fold(0u64, |value, &b| b.is_ascii_digit().then(|| value * 10 + u64::from(b & 15)));
    value.and_then(|value| u32::try_from(value).ok()).unwrap_or(NO_INDEX)
}

fn key_of<'o>(member: &Member, out: &'o [u8]) -> &'o [u8] {
    out.get(member.start..member.colon).unwrap_or_default()
}

/// Whether a key comes twice.
pub(super) fn has_twice(members: &[Member], out: &[u8], order: &mut Vec<u32>) -> bool {
    if members.len() <= 8 {
        return members.iter().enumerate().any(|(at, member)| {
            let key = key_of(member, out);
            members.iter().take(at).any(|other| key_of(other, out) == key)
        });
    }
    let key = |at: u32| members.get(at as usize).map(|member| key_of(member, out));
    order.clear();
    order.extend(0..members.len() as u32);
    order.sort_unstable_by_key(|&at| key(at));
    !order.is_sorted_by(|&a, &b| key(a) != key(b))
}

/// Writes the members of the object at the end of `out` in JavaScript's order: array indices first, ascending,
/// the others as they came; the last value of a key at its first place.
pub(super) fn rebuild(members: &[Member], out: &mut Vec<u8>) {
    let Some(start) = members.first().map(|member| member.start) else {
        return;
    };
    let old = out.split_off(start);
    let text = |from: usize, to: usize| old.get(from - start..to - start).unwrap_or_default();
    let mut places = HashMap::new();
    let mut chosen: Vec<(u32, &[u8], &[u8])> = Vec::with_capacity(members.len());
    for (at, member) in members.iter().enumerate() {
        let end = members.get(at + 1).map_or(start + old.len(), |next| next.start - 1);
        let key = text(member.start, member.colon);
        let value = text(member.colon, end);
        let place = *places.entry(key).or_insert(chosen.len());
        match chosen.get_mut(place) {
            Some(first) => first.2 = value,
            None => chosen.push((member.index, key, value)),
        }
    }
    chosen.sort_by_key(|&(index, ..)| index);
    for (at, (_, key, value)) in chosen.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
}
