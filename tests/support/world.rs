//! What one test works with: a database, a Redis, a folder with configuration and jobs, and the program.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use redis::{Connection, FromRedisValue, ToRedisArgs};

use super::postgres::{self, Database, Postgres};
use super::redis::{self as redis_server, Redis};
use super::server::Folder;

/// A configuration for tests: one prefix, short time-outs for what never answers.
pub const CONFIG: &str = "jobs = \"jobs\"\n[ttl]\n\"t:\" = \"10m\"\n";

pub struct World {
    pub database: Database,
    pub redis: Redis,
    pub folder: Folder,
    environment: Vec<(String, String)>,
}

/// What a run of the program gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl World {
    /// An empty database in the shared cluster and an empty Redis.
    pub fn new() -> World {
        World::of(Postgres::shared().database(), Redis::start(""))
    }

    /// The given servers.
    pub fn of(database: Database, redis: Redis) -> World {
        redis.allow_all_keys();
        World::with_least_rights(database, redis)
    }

    /// The demo's database with the jobs and the configuration that the repository ships.
    pub fn platform() -> World {
        let world = World::with_least_rights(Postgres::shared().platform(), Redis::start(""));
        let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let config = fs::read_to_string(repository.join("config/warm.toml")).unwrap();
        world.config(&config.replace("\"../jobs\"", "\"jobs\""));
        for entry in fs::read_dir(repository.join("jobs")).unwrap() {
            let file = entry.unwrap().path();
            fs::copy(&file, world.folder.path.join("jobs").join(file.file_name().unwrap())).unwrap();
        }
        world
    }

    fn with_least_rights(database: Database, redis: Redis) -> World {
        let folder = Folder::new();
        fs::create_dir(folder.path.join("jobs")).unwrap();
        let mut world = World { database, redis, folder, environment: Vec::new() };
        world.set("DATABASE_URL", &world.database.url());
        world.set("REDIS_URL", &world.redis.url());
        world.set("STATE_DIRECTORY", &world.state().display().to_string());
        // Tests run side by side.
        world.set("WARM_SERVE__LISTEN", "none");
        world.config(CONFIG);
        world
    }

    /// The folder in which the program keeps its state.
    pub fn state(&self) -> PathBuf {
        self.folder.path.join("state")
    }

    /// Sets an environment variable of the program.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes an environment variable away.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != name);
    }

    /// Writes the configuration.
    pub fn config(&self, text: &str) {
        fs::write(self.folder.path.join("warm.toml"), text).unwrap();
    }

    /// Writes a job file.
    pub fn job(&self, name: &str, text: &str) {
        fs::write(self.folder.path.join(format!("jobs/{name}.toml")), text).unwrap();
    }

    /// Runs SQL as the superuser.
    pub fn sql(&self, text: &str) -> String {
        self.database.sql(text)
    }

    /// Sends one command to Redis as the default user.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        ask(&mut self.redis.connect(), words)
    }

    /// The string at a key.
    pub fn value(&self, key: &str) -> Option<String> {
        self.ask(&["GET", key])
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// The program, ready to run with the test's folder as the current one.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_warm"));
        self.prepare(&mut command, arguments);
        command
    }

    fn prepare(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(arguments)
            .current_dir(&self.folder.path)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("WARM_CONFIG", "warm.toml")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
    }

    /// Runs the program to its end. One that does not end is a failure.
    pub fn warm(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "120", env!("CARGO_BIN_EXE_warm")]);
        self.prepare(&mut command, arguments);
        Ran::of(command.output().unwrap())
    }

    /// Starts the program and does not wait.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        use std::os::unix::process::ExitStatusExt;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let status = output.status;
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
        let ran = Ran { code, out: text(output.stdout), err: text(output.stderr) };
        for secret in [postgres::PASSWORD, postgres::PASSWORD_IN_URL, redis_server::PASSWORD] {
            assert!(!ran.all().contains(secret), "a password is shown:\n{}", ran.all());
        }
        ran
    }

    /// Both outputs and the exit code.
    pub fn all(&self) -> String {
        format!("{}{}(exit {})\n", self.out, self.err, self.code)
    }

    /// The report of a run with `--json`.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.all()))
    }

    /// Fails the test if the exit code is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "\n{}", self.all());
        self
    }

    /// Fails the test if the text stands in neither output.
    #[track_caller]
    pub fn says(self, text: &str) -> Ran {
        assert!(self.out.contains(text) || self.err.contains(text), "`{text}` is not said:\n{}", self.all());
        self
    }
}

/// Sends one command.
pub fn ask<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    words.iter().for_each(|word| {
        command.arg(word.to_redis_args());
    });
    command.query(connection).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}
