use std::sync::Arc;

use proptest::prelude::*;
use secrecy::SecretBox;

use super::*;
use crate::ground::sealing::{Compress, Compression, Encrypt, Key, Keyring, SECRET, Sealing};

fn key(id: &str, byte: u8) -> Key {
    Key::new(id, SecretBox::new(Box::new([byte; SECRET])))
}

fn ring(keys: impl IntoIterator<Item = Key>) -> Arc<Keyring> {
    Arc::new(Keyring::new(keys).expect("a key"))
}

fn sealing(with: Option<Compression>, above: usize, keys: Option<&Arc<Keyring>>) -> Sealing {
    let encrypt = keys.map_or(Encrypt::No, |keys| Encrypt::With(Arc::clone(keys)));
    Sealing { compress: with.map(|with| Compress { with, above }), encrypt }
}

/// What a new sealer makes of a value, behind bytes that have to stay.
fn sealed(sealing: &Sealing, key: &str, value: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut out = b"before".to_vec();
    out.extend_from_slice(value);
    let mut sealer = Sealer::new(sealing, "p:").expect("a sealer").expect("something to do");
    sealer.seal(key.as_bytes(), &mut out, 6)?;
    assert!(out.starts_with(b"before"));
    Ok(out.split_off(6))
}

fn every_way(keys: &Arc<Keyring>, above: usize) -> Vec<Sealing> {
    let formats = Compression::NAMES.map(|(_, format)| Some(format)).into_iter().chain([None]);
    let all = formats.flat_map(|with| [sealing(with, above, None), sealing(with, above, Some(keys))]);
    all.filter(|sealing| sealing.compress.is_some() || matches!(sealing.encrypt, Encrypt::With(_))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compressible and random bytes, short and longer than a block of LZ4.
    #[test]
    fn what_was_sealed_can_be_opened(
        part in proptest::collection::vec(any::<u8>(), 0..300), times in 0_usize..700, key in "[ -~]{1,40}", above in 0_usize..2000,
    ) {
        let value = part.repeat(times);
        let keys = ring([self::key("one", 1)]);
        for sealing in every_way(&keys, above) {
            match sealed(&sealing, &key, &value) {
                Ok(bytes) => {
                    let name = format!("p:{key}");
                    let opened = open(Some(&keys), name.as_bytes(), &bytes, value.len());
                    prop_assert_eq!(opened, Ok(value.clone()), "{:?}", sealing);
                }
                Err(error) => prop_assert!(error == SealError::Marked && is_marked(&value)),
            }
        }
    }

    /// Whatever stands in Redis: an answer, never a panic, and never more than the limit.
    #[test]
    fn garbage_is_refused(head in 0_usize..5, garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        let heads: [&[u8]; 5] = [b"\xd7wrm\x01", b"\xd7wrm\x01\x03one", &[0x28, 0xb5, 0x2f, 0xfd], &[0x04, 0x22, 0x4d, 0x18], &[0x1f, 0x8b, 8, 0]];
        let value = [heads[head], &garbage[..]].concat();
        if let Ok(opened) = open(Some(&ring([key("one", 1)])), b"k", &value, 100) {
            prop_assert!(opened.len() <= 100);
        }
    }
}

#[test]
fn the_same_value_gives_the_same_bytes_whatever_was_sealed_before_it() {
    let keys = ring([key("one", 1)]);
    let value = |n: usize| format!("[{}]", "{\"id\":12345,\"name\":\"somebody\"},".repeat(n)).into_bytes();
    for sealing in every_way(&keys, 0) {
        let mut sealer = Sealer::new(&sealing, "p:").expect("a sealer").expect("something to do");
        for n in [40, 3000, 1, 77, 40, 9000, 40, 3000] {
            let mut out = value(n);
            sealer.seal(b"k", &mut out, 0).expect("sealed");
            assert_eq!(Ok(out), sealed(&sealing, "k", &value(n)), "{sealing:?}");
        }
    }
}

#[test]
fn short_values_and_those_that_become_no_shorter_stay() {
    for (_, format) in Compression::NAMES {
        let zeros = vec![b'0'; 1000];
        let of = |value: &[u8], above| sealed(&sealing(Some(format), above, None), "k", value);
        assert_eq!(of(&zeros, 1000), Ok(zeros.clone()));
        assert!(of(&zeros, 999).is_ok_and(|bytes| compress::format_of(&bytes) == Some(format) && bytes.len() < 100));
        // Of pseudo-random text nothing can be spared.
        let noise: Vec<u8> =
            (0_u64..400).map(|n| (xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes()) as u8) | 0x80).collect();
        assert_eq!(of(&noise[..60], 0), Ok(noise[..60].to_vec()));
    }
}

#[test]
fn a_value_that_would_be_misread_is_refused() {
    let keys = ring([key("one", 1)]);
    for sealing in every_way(&keys, 1 << 20) {
        for value in [&b"\x04\"M\x18 text"[..], b"\x1f\x8b", &[0x28, 0xb5, 0x2f, 0xfd], b"\xd7wrm"] {
            assert_eq!(sealed(&sealing, "k", value), Err(SealError::Marked));
        }
        assert!(sealed(&sealing, "k", b"\x04\"M").is_ok());
    }
}

#[test]
fn an_encrypted_value_is_refused_at_another_key_with_another_secret_and_when_it_was_changed() {
    let keys = ring([key("one", 1)]);
    let bytes = sealed(&sealing(None, 0, Some(&keys)), "user:1", b"{\"id\":1}").expect("sealed");
    assert_eq!(bytes.len(), 4 + 1 + 1 + 3 + 12 + 8 + 16);
    assert_eq!(open(Some(&keys), b"p:user:1", &bytes, 100), Ok(b"{\"id\":1}".to_vec()));
    for name in [&b"p:user:2"[..], b"user:1", b""] {
        assert_eq!(open(Some(&keys), name, &bytes, 100), Err(OpenError::Refused));
    }
    assert_eq!(open(Some(&ring([key("one", 2)])), b"p:user:1", &bytes, 100), Err(OpenError::Refused));
    assert_eq!(
        open(Some(&ring([key("two", 1)])), b"p:user:1", &bytes, 100),
        Err(OpenError::UnknownKey("one".to_owned()))
    );
    assert_eq!(open(None, b"p:user:1", &bytes, 100), Err(OpenError::NoKeys));
    assert_eq!(open(Some(&keys), b"p:user:1", &bytes, 7), Err(OpenError::TooLarge));
    for at in 4..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(open(Some(&keys), b"p:user:1", &changed, 100).is_err(), "{at}");
        assert!(open(Some(&keys), b"p:user:1", &bytes[..at], 100).is_err(), "{at}");
    }
    let two = sealed(&sealing(None, 0, Some(&keys)), "user:2", b"{\"id\":1}").expect("sealed");
    assert_ne!(bytes[9..], two[9..], "equal values at two keys look different");
}

#[test]
fn after_a_rotation_the_new_key_writes_and_both_are_read() {
    let old = ring([key("old", 1)]);
    let both = ring([key("new", 2), key("old", 1)]);
    let of = |keys| sealed(&sealing(None, 0, Some(keys)), "k", b"value").expect("sealed");
    assert_eq!(open(Some(&both), b"p:k", &of(&old), 10), Ok(b"value".to_vec()));
    assert_eq!(open(Some(&old), b"p:k", &of(&both), 10), Err(OpenError::UnknownKey("new".to_owned())));
}

#[test]
fn what_would_grow_without_end_is_cut_off() {
    for (_, format) in Compression::NAMES {
        let bomb = sealed(&sealing(Some(format), 0, None), "k", &vec![b'0'; 8 << 20]).expect("sealed");
        assert!(bomb.len() < 64 << 10, "{format:?}: {}", bomb.len());
        assert_eq!(open(None, b"k", &bomb, 1 << 20), Err(OpenError::TooLarge), "{format:?}");
    }
}

#[test]
fn what_was_cut_short_or_has_something_behind_it_is_not_taken_for_whole() {
    let value = b"{\"id\":12345,\"name\":\"somebody\"},".repeat(3000);
    for (_, format) in Compression::NAMES {
        let bytes = sealed(&sealing(Some(format), 0, None), "k", &value).expect("sealed");
        assert_eq!(open(None, b"k", &bytes, 1 << 20).as_ref(), Ok(&value));
        let behind = [&bytes[..], b"\0"].concat();
        assert!(open(None, b"k", &behind, 1 << 20).is_err(), "{format:?}");
        assert!(open(None, b"k", &bytes.repeat(2), 1 << 20).is_err(), "{format:?}");
        for length in 4..bytes.len() {
            assert!(open(None, b"k", &bytes[..length], 1 << 20).is_err(), "{format:?}: {length} of {}", bytes.len());
        }
    }
}

#[test]
fn without_a_key_nothing_is_written_in_the_clear() {
    let sealing = Sealing { encrypt: Encrypt::WithoutKey, ..Sealing::default() };
    assert!(Sealer::new(&sealing, "").is_err_and(|error| error.message.contains("no key is configured")));
    assert!(Sealer::new(&Sealing::default(), "").is_ok_and(|sealer| sealer.is_none()));
}

/// So that no later version writes what the readers of this one cannot read, nor the same value in other bytes.
#[test]
fn the_bytes_are_those_of_the_documentation() {
    let keys = ring([key("2026-11", 0x2a)]);
    let bytes = sealed(&sealing(None, 0, Some(&keys)), "user:1", b"{\"id\":1}").expect("sealed");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(include_str!("../../docs/sealed-values.md").contains(&hex), "{hex}");
}
