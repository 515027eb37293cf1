//! The command line.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::{self, Failure, nearest};
use crate::ground::clock::parse_length;
use crate::ground::{exit, pause};
use crate::observe::init_log;

/// Keeps a Redis cache filled from PostgreSQL.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None, subcommand_precedence_over_arg = true, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    now: Now,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all well · 1 a job failed, or diff found drift · 2 configuration or usage · 3 PostgreSQL unreachable or refused · \
4 Redis unreachable or refused · 5 stopped by a guard · 6 another instance runs the job · 128+n signal n

Environment: DATABASE_URL, REDIS_URL, WARM_CONFIG, WARM_LOG (off, error, warn, info, debug, trace), WARM_LOG_FORMAT (text, json, journald); every setting of warm.toml as WARM_TABLE__FIELD";

const AFTER_SERVE: &str = "\
It has no report: with --json only what keeps it from starting goes to standard output. What it does is logged on standard error: WARM_LOG is info if it is not set, \
and WARM_LOG_FORMAT=json makes it JSON.";

const AFTER_STATUS: &str = "\
Exit codes: 4 Redis is away, or else 3 PostgreSQL is, or else 2 a job file is wrong, or else 1 a job's last run failed or it is stale (max_age), or warm serve is stuck; 0 all well. \
That warm serve does not run is no failure: jobs may be run by warm --due.";

const AFTER_STATS: &str = "\
A key counts as read if it was touched after it was written; what that cannot see is told in docs/stats.md. Nothing is read by GET, and no key is touched.

Exit codes: 0 all well, whatever the figures are · 1 a target is missed, with --check only · 2 configuration or usage · 4 Redis unreachable or refused";

const AFTER_FILL: &str = "\
Exit codes: 0 each key holds now what it should · 1 one of them does not: no row makes it, or it was left alone · 2 one belongs to no job, and none was filled · else as for a run";

const AFTER_SHOW: &str = "\
Exit codes: 0 cache and database agree, also that there is nothing · 1 they do not, or nobody can tell (the job's query leaves rows out, and there is no fill_query) · 2 the key belongs to no job · \
else as for a run";

const AFTER_DIFF: &str = "\
Exit codes: 0 cache and database agree · 1 they do not · as for a run, if a job cannot be compared. Nothing is changed without --repair, which deletes nothing, and leaves alone what has another \
type or never dies.";
const AFTER_CHANGES: &str = "\
Tables, and the channel (triggers) or the slot (a publication, logical replication), are those of [changes] in the configuration; warm serve follows them. The account of DATABASE_URL only reads: \
it may look, and who owns the tables installs, with DATABASE_URL set for this once, or with the statements that --print shows.

Exit codes: 0 all is there, or removed · 1 something is missing or outdated · 2 configuration or usage · 3 PostgreSQL unreachable or refused";

const AFTER_LEARN: &str = "\
Redis has to tell of misses: notify-keyspace-events with the letters Em, which this command never sets. It changes nothing, and asks PostgreSQL nothing. A signal ends it earlier, with what it has.

Exit codes: 0 what there was has been heard · 2 configuration or usage · 4 Redis unreachable or refused, or it tells nobody of misses · 128+n signal n";
const AFTER_INVALIDATE: &str = "\
With --stdin each line is NAME param=value… (values without blanks), or an object such as {\"ticket\": {\"id\": 1, \"userId\": \"a b\"}}. All lines are read before anything is deleted, \
and all patterns share one pass over the keys.

Exit codes: 0 all well · 2 configuration, usage or a line that is wrong; nothing was deleted · 4 Redis unreachable or refused, 5 it takes no writes since it cannot save; keys may be left";

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file [default: $WARM_CONFIG, else config/warm.toml, else /etc/warm/warm.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Report as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
}

/// `warm --now`.
#[derive(Debug, Clone, Args)]
pub struct Now {
    /// Run jobs once, at once, in order of priority
    #[arg(long)]
    now: bool,
    /// Run what has come due since its last run, once, and end: for a timer or cron
    #[arg(long, conflicts_with_all = ["now", "jobs"])]
    due: bool,
    /// Write absent keys only
    #[arg(long, requires = "now")]
    pub missing: bool,
    /// Show what would be written; write nothing
    #[arg(long, requires = "now")]
    pub dry_run: bool,
    /// Publish, this once, what the job's guard stops (look at the data first)
    #[arg(long, requires_all = ["now", "jobs"])]
    pub accept: bool,
    /// The jobs to run [default: all]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read everything, ask both servers, say what is wrong or unwise; change nothing
    Check {
        /// Without servers
        #[arg(long)]
        offline: bool,
        /// The jobs to check; all files are read all the same [default: all]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
    },
    /// Run jobs on their schedules, in the foreground: for a systemd service
    #[command(after_help = AFTER_SERVE)]
    Serve,
    /// List the jobs with schedule, next run and keys
    List(List),
    /// Show how jobs, service and servers are; change nothing
    #[command(after_help = AFTER_STATUS)]
    Status {
        /// The jobs to show [default: all]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
    },
    /// Show what Redis does for the application, and which warmed keys are read; change nothing
    #[command(after_help = AFTER_STATS)]
    Stats(Stats),
    /// Compare cache and database: keys that are missing, stale, too many, or made in another way
    #[command(after_help = AFTER_DIFF)]
    Diff(Diff),
    /// Fill single keys, each from its job
    #[command(after_help = AFTER_FILL)]
    Fill(Fill),
    /// Show where one key stands in the cache and in the database; change nothing
    #[command(after_help = AFTER_SHOW)]
    Show(Show),
    /// Watch for a while what is missed in Redis; say what would be worth warming
    #[command(after_help = AFTER_LEARN)]
    Learn(Learn),
    /// Delete what a change has made stale: the keys of a set in the configuration
    #[command(after_help = AFTER_INVALIDATE)]
    Invalidate(Invalidate),
    /// What lets the database tell what has changed: triggers, or a replication slot
    #[command(after_help = AFTER_CHANGES)]
    Changes {
        #[command(subcommand)]
        action: Changes,
    },
    /// Let jobs begin no run by themselves on this machine, for a while
    Pause(Pause),
    /// Let paused jobs go on
    Resume {
        /// The jobs that go on [default: all]
        #[arg(value_name = "JOB")]
        jobs: Vec<String>,
    },
}

/// `warm changes`.
#[derive(Debug, Clone, Subcommand)]
pub enum Changes {
    /// Install what is missing or outdated, and remove what is not configured any more
    Install {
        /// Show the statements, for psql; ask nobody, and change nothing
        #[arg(long)]
        print: bool,
    },
    /// Remove all of it
    Remove {
        /// Show the statements, for psql; ask nobody, and change nothing
        #[arg(long)]
        print: bool,
    },
    /// Show what is there, and what is wrong with it; change nothing
    Status,
}

/// `warm invalidate`.
#[derive(Debug, Clone, Args)]
pub struct Invalidate {
    /// Show what would be deleted; delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Read what has changed from standard input, a line for each change
    #[arg(long, conflicts_with = "name")]
    pub stdin: bool,
    /// The set, as the configuration names it [without: list the sets]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The values of its parameters
    #[arg(value_name = "PARAM=VALUE")]
    pub values: Vec<String>,
}

/// `warm pause`.
#[derive(Debug, Clone, Args)]
pub struct Pause {
    /// For how long, written 30m or 1h 30m (1s … 30d) [default: 1h]
    #[arg(long = "for", value_name = "TIME", value_parser = length, conflicts_with = "until")]
    pub length: Option<Duration>,
    /// Until this moment, written 2027-03-27T00:00:00Z (30 days from now at the latest)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<DateTime<Utc>>,
    /// The jobs to pause [default: all that there are now]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `warm stats`.
#[derive(Debug, Clone, Args)]
pub struct Stats {
    /// Watch for so long, and show the hit ratio of that time, written 10s or 5m (1s … 1h)
    #[arg(long, value_name = "TIME", value_parser = while_watching)]
    pub watch: Option<Duration>,
    /// End with exit code 1 if a target is missed (one that is unknown is not)
    #[arg(long)]
    pub check: bool,
    /// The jobs whose keys are looked at [default: all]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `warm diff`.
#[derive(Debug, Clone, Args)]
pub struct Diff {
    /// Compare only about this share of the keys, such as 5%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub sample: Option<f64>,
    /// Write what is missing or has another value, and compare again
    #[arg(long)]
    pub repair: bool,
    /// The jobs whose keys are compared [default: all]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `warm fill`.
#[derive(Debug, Clone, Args)]
pub struct Fill {
    /// Leave keys alone that are there
    #[arg(long)]
    pub missing: bool,
    /// The keys, with or without key_prefix
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
}

/// `warm show`.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// Show also how PostgreSQL would find the key's rows (EXPLAIN)
    #[arg(long)]
    pub plan: bool,
    /// The key, with or without key_prefix
    #[arg(value_name = "KEY")]
    pub key: String,
}

/// `warm learn`.
#[derive(Debug, Clone, Args)]
pub struct Learn {
    /// For how long, written 30m or 1h 30m (1s … 30d)
    #[arg(long = "for", value_name = "TIME", value_parser = length, default_value = "60s")]
    pub length: Duration,
    /// How many keys of each job are shown (1 … 1000)
    #[arg(long, value_name = "N", value_parser = times, default_value = "20")]
    pub top: usize,
    /// The jobs whose keys are watched [default: all]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

/// `warm list`.
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Show instead when each job is due the next N times (1 … 1000), in its time zone
    #[arg(long, value_name = "N", value_parser = times)]
    pub next: Option<usize>,
    /// Look from this moment on, written 2027-03-27T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<DateTime<Utc>>,
}

fn times(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|times| (1..=1000).contains(times)).ok_or("it is a number from 1 to 1000")
}

fn share(text: &str) -> Result<f64, &'static str> {
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let good = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    good.map(|percent| percent / 100.0).ok_or("it is a share above 0% and up to 100%, such as `5%`")
}

fn length(text: &str) -> Result<Duration, &'static str> {
    let bounds = pause::SHORTEST..=pause::LONGEST;
    parse_length(text)
        .filter(|length| bounds.contains(length))
        .ok_or("it is a length of time from 1s to 30d, such as `30m` or `1h 30m`")
}

fn while_watching(text: &str) -> Result<Duration, &'static str> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3600);
    parse_length(text)
        .filter(|length| bounds.contains(length))
        .ok_or("it is a length of time from 1s to 1h, such as `10s` or `5m`")
}

fn moment(text: &str) -> Result<DateTime<Utc>, &'static str> {
    text.parse().map_err(|_| "a moment is written 2027-03-27T00:00:00Z, or with its offset, 2027-03-27T01:00:00+01:00")
}

/// The whole command line, for what is made from it: man pages and completions (`examples/pages.rs`).
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    let json = cli.common.json;
    // Who runs it in the foreground wants to see that it lives.
    let level = if matches!(cli.command, Some(Command::Serve)) { "info" } else { "warn" };
    if let Err(message) = init_log(level, |name| std::env::var(name).ok()) {
        return failed(&Failure::usage(message), json);
    }
    let result = match cli.command {
        Some(_) if cli.now.now || cli.now.due => {
            Err(Failure::usage("--now and --due run jobs; they do not go together with another command"))
        }
        Some(Command::Check { offline, jobs }) => commands::check::run(&cli.common, offline, &jobs),
        Some(Command::Serve) => commands::serve::run(&cli.common),
        Some(Command::List(list)) => commands::list::run(&cli.common, &list),
        Some(Command::Status { jobs }) => commands::status::run(&cli.common, &jobs),
        Some(Command::Stats(stats)) => commands::stats::run(&cli.common, &stats),
        Some(Command::Diff(diff)) => commands::diff::run(&cli.common, &diff),
        Some(Command::Fill(fill)) => commands::fill::run(&cli.common, &fill),
        Some(Command::Show(show)) => commands::show::run(&cli.common, &show),
        Some(Command::Learn(learn)) => commands::learn::run(&cli.common, &learn),
        Some(Command::Invalidate(invalidate)) => commands::invalidate::run(&cli.common, &invalidate),
        Some(Command::Changes { action }) => commands::changes::run(&cli.common, &action),
        Some(Command::Pause(pause)) => commands::pause::pause(&cli.common, &pause),
        Some(Command::Resume { jobs }) => commands::pause::resume(&cli.common, &jobs),
        None if cli.now.due => commands::due::run(&cli.common),
        None if cli.now.now => commands::now::run(&cli.common, &cli.now),
        None => Err(no_command(cli.now.jobs.first())),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failed(&failure, json),
    }
}

/// Help, version, or a command line that cannot be parsed.
fn not_understood(error: &clap::Error) -> ExitCode {
    // Help and version go to stdout and are no error. Nothing can be said to a closed terminal.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::from(exit::OK);
    }
    // What was parsed until then is not told.
    if std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json") {
        print_json(&Failure::usage(in_short(&error.render().to_string())));
    }
    ExitCode::from(exit::CONFIG)
}

/// The first paragraph of the parser's text, which says what is wrong, and its tip if there is one.
fn in_short(text: &str) -> String {
    let mut paragraphs = text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    let tip = tip.map(|tip| format!("; {tip}")).unwrap_or_default();
    format!("{}{tip}", message.trim_start_matches("error: "))
}

/// The way out for a word that is no command, or for no word at all.
fn no_command(word: Option<&String>) -> Failure {
    let Some(word) = word else {
        return Failure::usage("no command; `warm --now` runs jobs, `warm --help` shows the rest");
    };
    let cli = Cli::command();
    Failure::usage(match nearest(word, cli.get_subcommands().map(clap::Command::get_name)) {
        Some(near) => format!("`{word}` is no command; did you mean `warm {near}`?"),
        None => format!(
            "`{word}` is no command; `warm --now {word}` runs the job of that name, `warm --help` shows the commands"
        ),
    })
}

fn failed(failure: &Failure, json: bool) -> ExitCode {
    if json {
        print_json(failure);
    }
    // Nobody can be told that nobody can be told.
    let _ = writeln!(std::io::stderr(), "{}", failure.render(std::io::stderr().is_terminal()));
    ExitCode::from(failure.code)
}

/// A program reads standard output; people, and a unit's log, have standard error.
fn print_json(failure: &Failure) {
    let _ = writeln!(std::io::stdout(), "{:#}", failure.value());
}
