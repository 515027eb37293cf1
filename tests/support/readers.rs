//! The readers of `examples/read-values`, installed beside what cargo builds, so that nothing lies around in the sources.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::npm::{example, run};

/// A reader: its program, and the first of its arguments.
pub struct Reader {
    pub name: &'static str,
    program: PathBuf,
    script: PathBuf,
}

/// Both readers, with their packages. The first test that wants them installs these.
pub fn readers() -> [Reader; 2] {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/read-values");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("read-values");
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    let node = example("read-values/node", |_| ()).join("read.mjs");
    [
        Reader { name: "node", program: "node".into(), script: node },
        python(&sources.join("python"), &home.join("python")),
    ]
}

fn python(sources: &Path, home: &Path) -> Reader {
    install(&sources.join("requirements.txt"), home, || {
        run(Command::new("python3").args(["-m", "venv"]).arg(home));
        run(Command::new(home.join("bin/pip"))
            .args(["install", "--quiet", "-r"])
            .arg(sources.join("requirements.txt")));
    });
    Reader { name: "python", program: home.join("bin/python"), script: sources.join("read.py") }
}

/// Installs what a file names, unless it has been.
fn install(wanted: &Path, home: &Path, how: impl FnOnce()) {
    let (wanted, done) = (fs::read(wanted).unwrap(), home.join("installed"));
    if fs::read(&done).ok().as_ref() == Some(&wanted) {
        return;
    }
    let _ = fs::remove_dir_all(home);
    fs::create_dir_all(home).unwrap();
    how();
    fs::write(done, wanted).unwrap();
}

impl Reader {
    /// The value at a key of the Redis at `url`; what is said on standard error if it is refused.
    pub fn read(&self, url: &str, keys: Option<&Path>, key: &str) -> Result<Vec<u8>, String> {
        self.run(keys, &[key], Some(url), b"")
    }

    /// The same, perhaps without a URL.
    pub fn ask(&self, url: Option<&str>, key: &str) -> Result<Vec<u8>, String> {
        self.run(None, &[key], url, b"")
    }

    /// The same of bytes that come from standard input.
    pub fn open(&self, keys: Option<&Path>, key: &str, value: &[u8]) -> Result<Vec<u8>, String> {
        self.run(keys, &["--stdin", key], None, value)
    }

    fn run(&self, keys: Option<&Path>, more: &[&str], url: Option<&str>, input: &[u8]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        command.arg(&self.script).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("REDIS_URL").args(more);
        keys.map(|keys| command.arg("--keys").arg(keys));
        url.map(|url| command.env("REDIS_URL", url));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let ran = child.wait_with_output().unwrap();
        match ran.status.code() {
            Some(0) => Ok(ran.stdout),
            _ => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
        }
    }
}
