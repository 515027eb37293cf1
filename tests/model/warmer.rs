//! The protocol of one key, step by step.
//!
//! ```text
//! read ─► write if absent, provisionally ─────────────► read again ─► the same: full lifetime, if it still is that write
//!              │ taken                                      ▲  └────► another: replace it, if it still is that write ─► read again
//!              ▼                                            │
//!            look ─► equal ─────────────────────────────────┼─► the same: full lifetime
//!              │                                            └─► another: begin anew with it
//!              └───► different ─► read again ─► swap what was read in, if nobody else has written ─► read again
//! ```
//!
//! Before it reads again, a warmer waits for transactions that were open when it wrote (the barrier), and for a standby to have replayed
//! what was committed then. If nothing was committed since the last read, it need not read: the same comes out, so that
//! the model only knows the order of these.

use crate::state::{End, Entry, Scenario, State, Step, Value};

/// How often a row is read before its key is left to die.
const READS: u8 = 4;

/// What the protocol makes sure of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The first write is for absent keys only.
    OnlyIfAbsent,
    /// What is written does not live long before it is confirmed.
    Provisional,
    /// A key that is there is looked at.
    Look,
    /// What was written is read again.
    SecondRead,
    /// Only the write that is known is confirmed.
    TokenToExtend,
    /// The same by its value, for keys that may be updated in place.
    ValueToExtend,
    /// Only the write that is known is replaced by what was read again.
    TokenToReplace,
    /// The same for another value that was found: it could have gone and come back …
    TokenToSwap,
    /// … or have changed without a change of the token.
    ValueToSwap,
    /// The row is read again before another value is swapped.
    ReadBeforeSwap,
    /// A swapped value is confirmed, too.
    Confirm,
    /// Transactions are waited for.
    Barrier,
    /// Also when nothing was committed.
    WaitBeforeShortcut,
    /// The standby is waited for.
    Replayed,
    /// And for the commits of the transactions that were waited for.
    ReplayedAfterBarrier,
    /// A write that is sent again has another token.
    TokenOfItsOwn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Read,
    Write,
    Look,
    ReadAgain,
    Settle,
    Done,
}

/// Who has made the write that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Ours,
    Equal,
    Different,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Warmer {
    at: At,
    /// The row as it was read, and as it was read last.
    row: Value,
    again: Value,
    /// The write that was known at that moment: its token and its value.
    beside: (u8, Value),
    /// How many commits that moment had seen.
    snapshot: u8,
    known: Known,
    /// Its token and its value.
    write: (u8, Value),
    /// The transaction that was open and the commits that there were when the key was written or looked at.
    open: u8,
    commits: u8,
    reads: u8,
    /// The token of a write without an answer.
    sent: Option<u8>,
}

impl Warmer {
    pub fn ready() -> Warmer {
        Warmer {
            at: At::Read,
            row: 0,
            again: 0,
            beside: (0, 0),
            snapshot: 0,
            known: Known::Ours,
            write: (0, 0),
            open: 0,
            commits: 0,
            reads: 0,
            sent: None,
        }
    }

    /// The tokens that it remembers.
    pub fn tokens(&mut self) -> impl Iterator<Item = &mut u8> {
        [&mut self.write.0, &mut self.beside.0].into_iter().chain(&mut self.sent)
    }

    pub fn done() -> Warmer {
        Warmer { at: At::Done, ..Warmer::ready() }
    }
}

/// What the warmer of this number can do next.
pub fn steps(state: &State, number: usize, scenario: &Scenario, omitted: &[Check], steps: &mut Vec<Step>) {
    let mut turn = Turn { state: *state, me: state.warmers[number], scenario, omitted, end: None };
    if turn.me.at == At::Write && scenario.late_writes && turn.me.sent.is_none() {
        let mut lost = Turn { ..turn };
        let what = lost.lose();
        steps.push(lost.over(number, what));
    }
    let what = match turn.me.at {
        At::Read => turn.read(),
        At::Write => turn.write(),
        At::Look => turn.look(),
        At::ReadAgain => turn.read_again(),
        At::Settle => turn.settle(),
        At::Done => None,
    };
    if what.is_some() {
        steps.push(turn.over(number, what));
    }
}

/// One step of one warmer.
struct Turn<'s> {
    state: State,
    me: Warmer,
    scenario: &'s Scenario,
    omitted: &'s [Check],
    end: Option<End>,
}

type What = Option<(&'static str, Value)>;

impl Turn<'_> {
    fn checks(&self, check: Check) -> bool {
        !self.omitted.contains(&check)
    }

    fn over(mut self, number: usize, what: What) -> Step {
        // One that is done is like any other that is.
        self.state.warmers[number] = if self.me.at == At::Done { Warmer::done() } else { self.me };
        let (what, value) = what.unwrap_or(("does nothing with", self.me.row));
        (("warmer", what, value), self.state, self.end)
    }

    /// A snapshot, of the standby if there is one.
    fn snapshot(&mut self) -> Value {
        self.me.snapshot = if self.scenario.standby { self.state.replayed } else { self.state.commits };
        self.me.beside = if self.me.at == At::ReadAgain { self.me.write } else { self.held() };
        self.me.reads += 1;
        self.state.rows[usize::from(self.me.snapshot)]
    }

    /// Token and value of the key.
    fn held(&self) -> (u8, Value) {
        self.state.key.map_or((0, 0), |entry| (entry.token, entry.value))
    }

    /// Whether the key still holds what was found, as far as the two checks tell.
    fn holds_what_was_found(&self) -> bool {
        let (token, value) = self.held();
        (token == self.me.write.0 || !self.checks(Check::TokenToSwap))
            && (value == self.me.write.1 || !self.checks(Check::ValueToSwap))
    }

    fn read(&mut self) -> What {
        self.me.row = self.snapshot();
        self.me.at = if self.me.row == 0 { At::Done } else { At::Write };
        Some(("reads", self.me.row))
    }

    fn write(&mut self) -> What {
        if self.state.key.is_none() || !self.checks(Check::OnlyIfAbsent) {
            return self.put(self.me.row, !self.checks(Check::Provisional), "writes");
        }
        self.me.at = if self.checks(Check::Look) { At::Look } else { At::Done };
        Some(("finds the key taken by", self.state.key.map_or(0, |entry| entry.value)))
    }

    /// The answer to a write does not come: it is sent again, and may arrive itself at any later time.
    fn lose(&mut self) -> What {
        let token = self.state.token();
        self.me.sent = Some(token);
        let full = !self.checks(Check::Provisional);
        self.state.late = Some(Entry { value: self.me.row, full, token, by_application: false });
        Some(("has no answer to its write of", self.me.row))
    }

    /// Writes without asking: whoever calls has asked.
    fn put(&mut self, value: Value, full: bool, what: &'static str) -> What {
        let current = self.state.row();
        let fresh = |entry: &Entry| {
            entry.by_application && entry.value == current && (entry.token, entry.value) != self.me.beside
        };
        if value != current && self.state.key.as_ref().is_some_and(fresh) {
            self.end = Some(End::Overwritten);
        }
        let again = self.me.sent.filter(|_| !self.checks(Check::TokenOfItsOwn));
        let token = again.unwrap_or_else(|| self.state.token());
        self.state.key = Some(Entry { value, full, token, by_application: false });
        self.me.row = value;
        self.know(Known::Ours);
        Some((what, value))
    }

    /// What is known from now on, and what has to be waited for before it is judged.
    fn know(&mut self, known: Known) {
        (self.me.known, self.me.write) = (known, self.held());
        (self.me.open, self.me.commits) = (self.state.open, self.state.commits);
        let swap_unread = known == Known::Different && !self.checks(Check::ReadBeforeSwap);
        let unread = swap_unread || !self.checks(Check::SecondRead);
        self.me.again = self.me.row;
        self.me.at = match (unread, self.me.reads < READS) {
            (true, _) => At::Settle,
            (false, true) => At::ReadAgain,
            (false, false) => At::Done,
        };
    }

    fn look(&mut self) -> What {
        match self.state.key {
            None => return self.put(self.me.row, !self.checks(Check::Provisional), "writes after all"),
            Some(entry) if entry.value == self.me.row => self.know(Known::Equal),
            Some(_) => self.know(Known::Different),
        }
        Some(("looks and has", self.me.row))
    }

    fn read_again(&mut self) -> What {
        if self.me.open != 0 && self.me.open == self.state.open && self.checks(Check::Barrier) {
            return self.shortcut();
        }
        if self.me.open != 0 && self.scenario.standby && self.checks(Check::ReplayedAfterBarrier) {
            (self.me.open, self.me.commits) = (0, self.state.commits);
            return Some(("has waited for the change of", self.me.row));
        }
        if self.scenario.standby && self.state.replayed < self.me.commits && self.checks(Check::Replayed) {
            return self.shortcut();
        }
        self.me.again = self.snapshot();
        self.me.at = At::Settle;
        Some(("reads again", self.me.again))
    }

    /// What must not be done before everything was waited for.
    fn shortcut(&mut self) -> What {
        let snapshot = if self.scenario.standby { self.state.replayed } else { self.state.commits };
        let same = self.me.snapshot == snapshot && !self.checks(Check::WaitBeforeShortcut);
        self.me.at = At::Settle;
        same.then_some(("sees no commit since it read", self.me.row))
    }

    fn settle(&mut self) -> What {
        self.me.at = At::Done;
        let done = match (self.me.known, self.me.again == self.me.row) {
            (Known::Ours | Known::Equal, true) => self.confirm(),
            (Known::Ours, false) => self.replace(),
            (Known::Equal, false) => self.begin_anew(),
            (Known::Different, _) => self.swap(),
        };
        done.or(Some(("leaves the key with its", self.me.row)))
    }

    fn confirm(&mut self) -> What {
        let (checks, compares) = (self.checks(Check::TokenToExtend), self.checks(Check::ValueToExtend));
        let entry = self.state.key.as_mut().filter(|entry| entry.token == self.me.write.0 || !checks)?;
        if compares && entry.value != self.me.row {
            return None;
        }
        entry.full = true;
        self.end = Some(End::Confirmed);
        Some(("confirms", self.me.row))
    }

    /// The key held another value; the row may still be what it was, or not. In the latter case only keys that are kept alive are replaced: others are left as
    /// they are, which is what crashing here does.
    fn swap(&mut self) -> What {
        if self.me.again == 0 || !self.holds_what_was_found() {
            return None;
        }
        let confirm = self.checks(Check::Confirm);
        let what = self.put(self.me.again, !confirm, "swaps in");
        if !confirm {
            self.me.at = At::Done;
        }
        what
    }

    /// The key held the same value, and the row is another now.
    fn begin_anew(&mut self) -> What {
        if self.me.again == 0 {
            return None;
        }
        self.me.row = self.me.again;
        self.me.at = At::Write;
        Some(("begins anew with", self.me.row))
    }

    /// The row is another now.
    fn replace(&mut self) -> What {
        if self.held().0 != self.me.write.0 && self.checks(Check::TokenToReplace) {
            return None;
        }
        if self.me.again != 0 {
            return self.put(self.me.again, false, "replaces its value by");
        }
        // The row is gone, and so is what we have written of it. Another's value is his to delete.
        let ours = self.held() == self.me.write;
        self.state.key = self.state.key.filter(|_| !ours);
        ours.then_some(("takes back", self.me.row))
    }
}
