//! Which name was probably meant.

/// The known name that is nearest to `wanted`, if one is so near that it was probably meant.
pub fn nearest<'n>(wanted: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = wanted.to_lowercase();
    let most = wanted.chars().count() / 3;
    let by_distance = known.into_iter().map(|name| (distance(&wanted, &name.to_lowercase()), name));
    by_distance.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// How many characters to insert, delete, replace or swap with their neighbour. A word that is a part of the other name
/// (`jitter` of `ttl_jitter`) is one step away.
fn distance(a: &str, b: &str) -> usize {
    if b.split(['_', '-']).any(|part| part == a) {
        return 1;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Rows of the usual table: the one before last, the last, this one.
    let (mut older, mut old) = (Vec::new(), (0..=b.len()).collect::<Vec<usize>>());
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = old[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(old[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: usize = older[j - 2];
                best = best.min(swapped + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut old, row);
    }
    old[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let fields =
            ["query", "key", "value", "ttl", "ttl_jitter", "schedule", "retries", "for_each", "timeout", "mode"];
        for (wanted, meant) in [
            ("qeury", Some("query")),
            ("tll", Some("ttl")),
            ("TTL", Some("ttl")),
            ("foreach", Some("for_each")),
            ("shedule", Some("schedule")),
            ("time_out", Some("timeout")),
            ("jitter", Some("ttl_jitter")),
            ("keys", Some("key")),
            ("verify", None),
            ("overlap", None),
            ("nothing", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, fields), meant, "{wanted}");
        }
    }
}
