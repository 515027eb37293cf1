//! Configuration and jobs in a folder, and nobody at the other end of the URLs: a program that asks a server is found out.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::server::Folder;
use crate::support::world::{CONFIG, Ran};
use crate::support::{postgres, redis};

/// A job without a mistake, but for what a test adds to it.
pub const GOOD: &str = "query = 'SELECT id FROM thing'\nkey = 't:{id}'\nvalue = 'row'\n";

/// A folder with `warm.toml` and `jobs/`, which is the current one of the program.
pub struct Files {
    pub folder: Folder,
    environment: Vec<(String, String)>,
    /// Where both URLs lead. Nobody accepts: a connection that was tried waits here to be found.
    listener: TcpListener,
}

impl Files {
    pub fn new() -> Files {
        let folder = Folder::new();
        fs::create_dir(folder.path.join("jobs")).unwrap();
        fs::set_permissions(folder.path.join("jobs"), fs::Permissions::from_mode(0o755)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut files = Files { folder, environment: Vec::new(), listener };
        files.set("DATABASE_URL", &format!("postgres://warm:{}@127.0.0.1:{port}/shop", postgres::PASSWORD_IN_URL));
        files.set("REDIS_URL", &format!("redis://warm:{}@127.0.0.1:{port}/0", redis::PASSWORD));
        files.write("warm.toml", CONFIG);
        files
    }

    /// Writes a file that everybody may read, whatever the umask; its folder has to be there.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// Sets a variable of the program.
    pub fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) {
        self.environment.retain(|(other, _)| other != name);
    }

    /// Runs the program to its end, with the configuration of the folder unless the environment names another.
    pub fn warm(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60", env!("CARGO_BIN_EXE_warm")]).args(arguments);
        self.run(command)
    }

    /// The same at a terminal, as `script` (util-linux) gives one.
    pub fn at_terminal(&self, arguments: &str) -> Ran {
        let mut command = Command::new("script");
        let words = format!("stty cols 150; {} {arguments}", env!("CARGO_BIN_EXE_warm"));
        command.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
        self.run(command)
    }

    fn run(&self, mut command: Command) -> Ran {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("WARM_CONFIG", "warm.toml").envs(self.environment.iter().cloned());
        let output = command.current_dir(&self.folder.path).stdin(Stdio::null()).output().unwrap();
        let mut ran = Ran::of(output);
        let folder = self.folder.path.display().to_string();
        (ran.out, ran.err) = (ran.out.replace(&folder, "FOLDER"), ran.err.replace(&folder, "FOLDER"));
        ran
    }

    /// What `warm --now` says before it refuses to start anything.
    #[track_caller]
    pub fn refused(&self) -> String {
        let ran = self.warm(&["--now"]).exits(2);
        assert_eq!(ran.out, "", "errors belong on stderr");
        assert!(self.untouched(), "a server was asked:\n{}", ran.err);
        ran.err
    }

    /// What `warm check --offline` says about something that is unwise only.
    #[track_caller]
    pub fn warned(&self) -> String {
        let ran = self.warm(&["check", "--offline"]).exits(0);
        assert_eq!(ran.err, "", "warnings are the answer, not an error");
        ran.out
    }

    /// Whether no connection was tried.
    pub fn untouched(&self) -> bool {
        self.listener.accept().is_err()
    }
}

/// What is said in several cases, for one snapshot.
pub struct Cases {
    pub files: Files,
    text: String,
}

impl Cases {
    pub fn new() -> Cases {
        Cases { files: Files::new(), text: String::new() }
    }

    /// A job file with a mistake.
    #[track_caller]
    pub fn job(&mut self, title: &str, text: impl AsRef<[u8]>) {
        self.files.write("jobs/job.toml", text);
        self.refused(title);
    }

    /// A good job with these lines added, one of them with a mistake.
    #[track_caller]
    pub fn line(&mut self, title: &str, lines: &str) {
        self.job(title, format!("{GOOD}{lines}\n"));
    }

    /// A configuration with a mistake, beside a good job.
    #[track_caller]
    pub fn config(&mut self, title: &str, text: impl AsRef<[u8]>) {
        self.files.write("jobs/job.toml", GOOD);
        self.files.write("warm.toml", text);
        self.refused(title);
    }

    /// A variable with a mistake, and for this case only.
    #[track_caller]
    pub fn variable(&mut self, name: &str, value: &str) {
        self.files.set(name, value);
        self.refused(&format!("{name}={value}"));
        self.files.unset(name);
    }

    /// Whatever stands in the folder now is refused.
    #[track_caller]
    pub fn refused(&mut self, title: &str) {
        let said = self.files.refused();
        self.add(title, &said);
    }

    /// Whatever stands in the folder now is accepted with a warning.
    #[track_caller]
    pub fn warned(&mut self, title: &str) {
        let said = self.files.warned();
        self.add(title, &said);
    }

    pub fn add(&mut self, title: &str, said: &str) {
        self.text += &format!("━━━ {title}\n{}\n\n", said.trim_end());
    }

    /// All that was said.
    pub fn text(self) -> String {
        self.text
    }

    /// Compares all that was said with the snapshot of this name.
    #[track_caller]
    pub fn compare(self, name: &str) {
        compare(name, &self.text);
    }
}

/// Compares a text with the snapshot of this name.
#[track_caller]
pub fn compare(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
