//! One row, its key, and what may happen to them without us.

use crate::warmer::Warmer;

/// A value of the row; 0 is a row that is gone.
pub type Value = u8;

/// What the explorer can look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Confirmed,
    Stale,
    Overwritten,
}

/// How the application invalidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    DeleteAfter,
    WriteAfter,
    DeleteBefore,
    /// It changes what is there, whose life goes on: as with a field of a hash.
    UpdateAfter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Cold,
    Warm,
}

/// A step of the application, which takes one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Begin,
    Commit(Value),
    Delete,
    Write,
    Update,
    /// A reader looks for the key …
    Read,
    /// … and fills it after a miss.
    Fill,
}

/// What is explored.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub start: Start,
    pub script: Vec<Act>,
    pub warmers: usize,
    /// A write without an answer may be sent again, and arrive after that.
    pub late_writes: bool,
    /// We read from a standby, which replays commits later.
    pub standby: bool,
    /// All keys that the application writes expire at the same moment.
    pub one_expiry: bool,
}

/// The key's value. The moment at which it expires tells one write from another: its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    pub value: Value,
    pub full: bool,
    pub token: u8,
    pub by_application: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    /// The row after each commit.
    pub rows: [Value; 3],
    pub commits: u8,
    pub replayed: u8,
    pub key: Option<Entry>,
    /// A write on its way that nobody waits for any more.
    pub late: Option<Entry>,
    pub warmers: [Warmer; 2],
    pub tokens: u8,
    /// The transaction that is open; 0 is none.
    pub open: u8,
    begun: u8,
    next_act: u8,
    missed: bool,
}

/// What happened: who did what, with which value.
pub type Event = (&'static str, &'static str, Value);

/// A step: what happened, where it led to, and what it was the end of.
pub type Step = (Event, State, Option<End>);

impl Default for Scenario {
    fn default() -> Scenario {
        let nothing = (false, false, false);
        let (late_writes, standby, one_expiry) = nothing;
        Scenario { start: Start::Cold, script: Vec::new(), warmers: 1, late_writes, standby, one_expiry }
    }
}

impl Mode {
    /// Those that strings know.
    pub const ALL: [Mode; 3] = [Mode::DeleteAfter, Mode::WriteAfter, Mode::DeleteBefore];
}

impl Act {
    /// What the application does to change the row so, with a reader at the end if it `fills`.
    pub fn script(mode: Mode, changes: &[Value], fills: bool) -> Vec<Act> {
        let change = |value: &Value| match mode {
            Mode::DeleteAfter => vec![Act::Commit(*value), Act::Delete],
            Mode::WriteAfter => vec![Act::Commit(*value), Act::Write],
            Mode::UpdateAfter => vec![Act::Commit(*value), Act::Update],
            Mode::DeleteBefore => vec![Act::Begin, Act::Delete, Act::Commit(*value)],
        };
        let mut script: Vec<Act> = changes.iter().flat_map(change).collect();
        if fills {
            script.extend([Act::Read, Act::Fill]);
        }
        script
    }
}

impl State {
    pub fn first(scenario: &Scenario) -> State {
        let entry = Entry { value: 1, full: true, token: 0, by_application: true };
        State {
            rows: [1, 0, 0],
            commits: 0,
            replayed: 0,
            key: (scenario.start == Start::Warm).then_some(entry),
            late: None,
            warmers: [0, 1].map(|number| if number < scenario.warmers { Warmer::ready() } else { Warmer::done() }),
            tokens: 0,
            open: 0,
            begun: 0,
            next_act: 0,
            missed: false,
        }
    }

    /// The row as the primary has it.
    pub fn row(&self) -> Value {
        self.rows[usize::from(self.commits)]
    }

    /// A token that no write has.
    pub fn token(&mut self) -> u8 {
        self.tokens += 1;
        self.tokens
    }

    /// The same state with its tokens numbered in the order in which they stand in it: only whether two are equal matters.
    pub fn canonical(mut self) -> State {
        let (mut names, mut tokens) = ([0; 16], 0);
        let mut name = |token: &mut u8| {
            let known = &mut names[usize::from(*token)];
            if *token != 0 && *known == 0 {
                tokens += 1;
                *known = tokens;
            }
            *token = *known;
        };
        [&mut self.key, &mut self.late].into_iter().flatten().for_each(|entry| name(&mut entry.token));
        self.warmers.iter_mut().flat_map(Warmer::tokens).for_each(name);
        self.tokens = tokens;
        self
    }

    /// The application has come to rest and an outdated value lives on. Wherever a warmer is then, it might have crashed there.
    pub fn is_stale(&self, scenario: &Scenario) -> bool {
        let at_rest = usize::from(self.next_act) == scenario.script.len();
        at_rest && self.key.is_some_and(|entry| entry.full && entry.value != self.row())
    }

    /// What can happen next without us.
    pub fn steps(&self, scenario: &Scenario, steps: &mut Vec<Step>) {
        if let Some(act) = scenario.script.get(usize::from(self.next_act)) {
            let mut next = *self;
            next.next_act += 1;
            let event = next.act(*act, scenario);
            steps.push((event, next, None));
        }
        if let Some(entry) = self.key {
            steps.push((("key", "expires with", entry.value), State { key: None, ..*self }, None));
        }
        if let Some(entry) = self.late {
            let key = self.key.or(self.late);
            steps.push((("late write", "arrives with", entry.value), State { key, late: None, ..*self }, None));
        }
        if scenario.standby && self.replayed < self.commits {
            let replayed = self.replayed + 1;
            let row = self.rows[usize::from(replayed)];
            steps.push((("standby", "replays", row), State { replayed, ..*self }, None));
        }
    }

    fn act(&mut self, act: Act, scenario: &Scenario) -> Event {
        let row = self.row();
        let what = match act {
            Act::Begin => {
                self.begun += 1;
                self.open = self.begun;
                "begins to change"
            }
            Act::Commit(value) => {
                self.open = 0;
                self.commits += 1;
                self.rows[usize::from(self.commits)] = value;
                return ("application", "commits", value);
            }
            Act::Write | Act::Fill if row != 0 && (act == Act::Write || self.missed) => {
                let token = if scenario.one_expiry { 0 } else { self.token() };
                self.key = Some(Entry { value: row, full: true, token, by_application: true });
                "writes"
            }
            Act::Update if row != 0 => match &mut self.key {
                Some(entry) => {
                    (entry.value, entry.by_application) = (row, true);
                    "updates the key in place to"
                }
                None => "has nothing to update to",
            },
            Act::Delete | Act::Write | Act::Update => {
                self.key = None;
                return ("application", "deletes the key", 0);
            }
            Act::Read => {
                self.missed = self.key.is_none();
                "reads the key of"
            }
            Act::Fill => "needs not fill",
        };
        ("application", what, row)
    }
}
