//! One machine that runs `warm serve`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::world::World;

pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    /// A machine of this name, with a state of its own.
    pub(crate) fn start(world: &World, name: &str, listen: &str) -> Service {
        let (folder, log) = (world.folder.path.join(name), world.folder.path.join(format!("{name}.log")));
        fs::create_dir_all(&folder).unwrap();
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut program = world.program(&["serve"]);
        program.env("STATE_DIRECTORY", folder).env("WARM_SERVE__LISTEN", listen).env("WARM_LOG", "warn");
        let child = program.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Service { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "the service has ended:\n{}", self.last_words());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end; it has to, and well.
    pub(crate) fn end(mut self) {
        self.signal("TERM");
        let code = self.child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", self.last_words());
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(50)..].join("\n")
    }

    pub(crate) fn words_about(&self, what: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter(|line| line.contains(what)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended is left alone.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
