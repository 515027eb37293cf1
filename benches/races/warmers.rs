//! Those who fill the application's cache while it works.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use redis::{Connection, ExistenceCheck, SetExpiry, SetOptions};

use crate::app::Mode;
use crate::items::{Items, QUERY, Rows, key};
use crate::plan::Plan;
use crate::stage::TTL;
use crate::support::world::{Ran, World};

/// What a job says about an application that deletes before it commits, in a line of its own.
const BEFORE_COMMIT: &str = "invalidates = 'before-commit'\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody: the application alone.
    Control,
    /// What everybody does.
    SetEx,
    SetNx,
    /// The same as a script.
    Node,
    Warm,
    /// Absent keys only.
    WarmMissing,
}

/// One who fills the cache with all rows, again and again.
pub trait Warmer {
    /// Once, from the reading of the rows to the last answer of Redis.
    fn pass(&mut self, rows: &Rows);
}

impl Strategy {
    pub const ALL: [Strategy; 6] =
        [Strategy::Control, Strategy::SetEx, Strategy::SetNx, Strategy::Node, Strategy::Warm, Strategy::WarmMissing];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::Control => "application alone",
            Strategy::SetEx => "plain `SET EX`",
            Strategy::SetNx => "`SET NX`",
            Strategy::Node => "Node script",
            Strategy::Warm => "**warm**",
            Strategy::WarmMissing => "**warm --missing**",
        }
    }

    /// Whether it has to leave nothing stale.
    pub fn is_right(self) -> bool {
        matches!(self, Strategy::Control | Strategy::Warm | Strategy::WarmMissing)
    }

    pub fn warmer<'w>(self, world: &'w World, plan: &Plan, mode: Mode) -> Box<dyn Warmer + 'w> {
        let plain = |check| Plain { items: Items::of(&world.database), redis: world.redis.connect(), check };
        match self {
            Strategy::Control => Box::new(Nobody),
            Strategy::SetEx => Box::new(plain(None)),
            Strategy::SetNx => Box::new(plain(Some(ExistenceCheck::NX))),
            Strategy::Node => Box::new(Node::start(world, plan)),
            Strategy::Warm => Box::new(Program { world, mode, arguments: &["--now"] }),
            Strategy::WarmMissing => Box::new(Program { world, mode, arguments: &["--now", "--missing"] }),
        }
    }
}

struct Nobody;

impl Warmer for Nobody {
    fn pass(&mut self, _: &Rows) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Plain {
    items: Items,
    redis: Connection,
    check: Option<ExistenceCheck>,
}

impl Warmer for Plain {
    fn pass(&mut self, rows: &Rows) {
        let mut options = SetOptions::default().with_expiration(SetExpiry::EX(TTL));
        if let Some(check) = self.check {
            options = options.conditional_set(check);
        }
        let mut pipe = redis::pipe();
        for (id, payload) in self.items.read(rows) {
            pipe.set_options(key(id), payload, options.clone()).ignore();
        }
        pipe.exec(&mut self.redis).unwrap();
    }
}

/// Makes a pass for each line that it is sent, and answers with another.
struct Node {
    process: Child,
    lines: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    fn start(world: &World, plan: &Plan) -> Node {
        let mut process = Command::new("node")
            .args(&plan.node)
            .env("DATABASE_URL", world.database.admin_url())
            .env("REDIS_SOCKET", world.redis.socket())
            .env("QUERY", QUERY)
            .env("TTL", TTL.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is there");
        let (lines, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Node { process, lines, answers }
    }
}

impl Warmer for Node {
    fn pass(&mut self, rows: &Rows) {
        writeln!(self.lines, "{} {}", rows.start, rows.end).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "the Node script has failed");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `warm --now` as a process of its own each time, as cron would start it.
struct Program<'w> {
    world: &'w World,
    mode: Mode,
    arguments: &'static [&'static str],
}

impl Warmer for Program<'_> {
    fn pass(&mut self, rows: &Rows) {
        let query = QUERY.replace("$1", &rows.start.to_string()).replace("$2", &rows.end.to_string());
        let extra = if self.mode == Mode::DeleteBefore { BEFORE_COMMIT } else { "" };
        let job = format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'column:payload'\nttl = '{TTL}s'\n{extra}");
        self.world.job("items", &job);
        let ran = Ran::of(self.world.program(self.arguments).output().unwrap());
        assert_eq!(ran.code, 0, "\n{}", ran.all());
    }
}
