//! A server process in a folder of its own.
//!
//! A guard process stands between the test and the server. It waits for the end of its standard input, which comes when the
//! test closes it or dies, even by `kill -9`; then it ends the server and removes the folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// The arguments: folder, signal that ends the server at once, command. A server that was stopped is woken up to hear it.
const GUARD: &str = r#"
trap '' INT TERM HUP
folder=$1 end=$2
shift 2
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
cat >/dev/null
exec 2>/dev/null
kill -CONT "$server"
kill -"$end" "$server"
wait "$server"
"#;

/// How long a server may take to come up or go down.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    guard: Child,
    lifeline: Option<ChildStdin>,
    pub pid: u32,
    log: PathBuf,
}

impl Server {
    /// Starts a server that writes its log to `folder/log`.
    pub fn start(folder: &Path, end: &str, command: &[&str]) -> Server {
        let mut guard = Command::new("bash")
            .args(["-c", GUARD, "guard"])
            .arg(folder)
            .arg(end)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash is there");
        let lifeline = guard.stdin.take();
        let mut line = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().expect("the guard tells the server's process");
        Server { guard, lifeline, pid, log: folder.join("log") }
    }

    /// Sends a signal, such as `STOP` or `KILL`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid.to_string()]).status().unwrap();
        assert!(sent.success(), "kill -{signal} {}", self.pid);
    }

    /// Asks until the server answers, as long as it lives.
    ///
    /// # Panics
    /// When it has ended, or does not answer in time; with its last words.
    pub fn wait_until_ready<T>(&self, mut ask: impl FnMut() -> Option<T>) {
        let start = Instant::now();
        while ask().is_none() {
            let gone = !Path::new(&format!("/proc/{}", self.pid)).exists();
            if gone || start.elapsed() > PATIENCE {
                panic!("the server does not start:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the server and waits until it is gone.
    pub fn end(&mut self) {
        drop(self.lifeline.take());
        self.guard.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder that every user may enter, removed when the test ends or dies.
pub struct Folder {
    pub path: PathBuf,
    guard: Child,
}

impl Folder {
    pub fn new() -> Folder {
        let path = tempfile::Builder::new().prefix("warm-test-").tempdir().unwrap().keep();
        open_to_all(&path);
        // A server that is just ending may still write: until it is gone.
        let script =
            r#"trap "" INT TERM HUP; cat >/dev/null; for _ in {1..100}; do rm -rf "$1" && exit; sleep 0.05; done"#;
        let guard =
            Command::new("bash").args(["-c", script, "guard"]).arg(&path).stdin(Stdio::piped()).spawn().unwrap();
        Folder { path, guard }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().unwrap();
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A TCP port of this machine that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until the answer comes.
///
/// # Panics
/// When it does not come in time.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the tests run as root, as which PostgreSQL does not start.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}
