//! Every order in which one write of ours and the application's changes can happen, by exhaustion: servers and clocks left out.
//!
//! ```text
//! state    one row, its key, and what may happen to them without us: the application, expiry, a late write, a lagging standby
//! warmer   the protocol of one key, step by step, from which single checks can be left out
//! explore  all orders of these steps, and the shortest one that ends badly
//! ```
//!
//! Two things must not happen, in any order, wherever we crash and however long we are stopped:
//!
//! - **Stale**: the application has done all it had to do, and the key holds another value than the row, for its full lifetime. (A provisional
//!   value may be outdated: it dies soon.)
//! - **Overwritten**: the application has written the current value, and we replace it by one that was read before.
//!
//! The explorer is trusted because it finds what is wrong with plain writes, and with the protocol when any one of its checks is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod explore;
mod state;
mod warmer;

use explore::{Found, explore};
use state::{Act, End, Mode, Scenario, Start};
use warmer::Check::{self, *};

/// One or two changes; 0 is the end of the row, 1 what it held in the beginning.
const CHANGES: &[&[u8]] = &[&[2], &[0], &[2, 3], &[2, 1], &[0, 2], &[2, 0]];

/// All combinations that the application and the cache can present, small ones first.
fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for mode in Mode::ALL {
        for start in [Start::Cold, Start::Warm] {
            for fills in [false, true] {
                for changes in CHANGES {
                    let one = Scenario { start, script: Act::script(mode, changes, fills), ..Scenario::default() };
                    all.push(Scenario { late_writes: true, ..one.clone() });
                    all.push(Scenario { one_expiry: true, ..one.clone() });
                    all.push(Scenario { standby: true, ..one.clone() });
                    if changes.len() == 1 && !fills {
                        all.push(Scenario { warmers: 2, ..one });
                    }
                }
            }
        }
    }
    all.sort_by_key(|scenario| (scenario.warmers, scenario.script.len(), scenario.late_writes));
    all
}

/// The first of these ends that is reached, else the number of states. Strings are confirmed by the token alone.
fn without(omitted: &[Check], ends: &[End]) -> Result<usize, Found> {
    let omitted = &[omitted, &[ValueToExtend]].concat();
    scenarios().iter().map(|scenario| explore(scenario, omitted, ends)).sum()
}

const BOTH: &[End] = &[End::Stale, End::Overwritten];

#[test]
fn no_order_of_events_does_harm() {
    let states = without(&[], BOTH).unwrap_or_else(|found| panic!("{found}"));
    assert!(states > 100_000, "only {states} states: the exploration has become small");
}

/// An application that updates keys in place, after it has committed. What it has updated while we replace what we have written may be overwritten until the next
/// look, for some milliseconds; nothing outdated stays. What is confirmed without a look at its value is right as well, as long as an update says what the new
/// value is, and not what to add to the old one.
#[test]
fn updates_in_place_leave_nothing_outdated() {
    for omitted in [&[][..], &[ValueToExtend]] {
        let mut states = 0;
        for start in [Start::Cold, Start::Warm] {
            for changes in CHANGES {
                let script = Act::script(Mode::UpdateAfter, changes, true);
                let one = Scenario { start, script, ..Scenario::default() };
                for scenario in [Scenario { late_writes: true, ..one.clone() }, Scenario { standby: true, ..one }] {
                    let found = explore(&scenario, omitted, &[End::Stale]);
                    states += found.unwrap_or_else(|found| panic!("{omitted:?}: {found}"));
                }
            }
        }
        assert!(states > 1000, "{states}");
    }
}

#[test]
fn one_look_at_a_write_would_do_against_stale_keys() {
    let states = without(&[TokenToSwap], &[End::Stale]);
    states.unwrap_or_else(|found| panic!("{found}"));
}

#[test]
fn an_undisturbed_write_is_confirmed() {
    for start in [Start::Cold, Start::Warm] {
        let scenario = Scenario { start, ..Scenario::default() };
        let found = explore(&scenario, &[], &[End::Confirmed]).unwrap_err();
        assert!(found.to_string().ends_with("confirms 1"), "{found}");
    }
}

#[test]
fn the_application_alone_does_itself_no_harm() {
    for scenario in scenarios() {
        let alone = Scenario { warmers: 0, ..scenario };
        explore(&alone, &[], BOTH).unwrap_or_else(|found| panic!("{found}"));
    }
}

#[test]
fn plain_writes_are_found_out() {
    let set_ex = without(&[OnlyIfAbsent, Provisional, SecondRead], &[End::Stale]).unwrap_err();
    assert_eq!(
        set_ex.to_string(),
        "stale: warmer reads 1, application commits 2, application deletes the key, warmer writes 1"
    );
    let set_nx = without(&[Look, Provisional, SecondRead], &[End::Stale]).unwrap_err();
    assert_eq!(set_nx.to_string(), set_ex.to_string());
}

#[test]
fn no_check_can_be_left_out() {
    for (check, end) in [
        (OnlyIfAbsent, End::Overwritten),
        (Provisional, End::Stale),
        (SecondRead, End::Stale),
        (TokenToExtend, End::Stale),
        (TokenToReplace, End::Overwritten),
        (TokenToSwap, End::Overwritten),
        (ValueToSwap, End::Overwritten),
        (ReadBeforeSwap, End::Overwritten),
        (Confirm, End::Stale),
        (Barrier, End::Stale),
        (WaitBeforeShortcut, End::Stale),
        (Replayed, End::Stale),
        (ReplayedAfterBarrier, End::Stale),
        (TokenOfItsOwn, End::Stale),
    ] {
        let found = without(&[check], &[end]).expect_err(&format!("{check:?} is not needed"));
        println!("{check:?}\n  {found}");
    }
}
