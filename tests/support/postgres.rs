//! Private PostgreSQL clusters.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::server::{Folder, Server, free_port, is_root};

/// The superuser, with whom tests prepare what `warm` then reads.
pub const ADMIN: &str = "admin";
pub const ADMIN_PASSWORD: &str = "admin-secret";
/// The password of the account `warm` of `config/postgres-role.sql`. No output of `warm` may show it.
pub const PASSWORD: &str = "pg-s3cret:/@word";
/// The same in a URL.
pub const PASSWORD_IN_URL: &str = "pg-s3cret%3A%2F%40word";

/// A cluster. Its databases live as long as it does.
pub struct Postgres {
    pub server: Server,
    pub port: u16,
    folder: Folder,
    arguments: Vec<String>,
    databases: AtomicUsize,
}

/// A database of one test.
#[derive(Clone)]
pub struct Database {
    pub name: String,
    pub host: String,
    pub port: u16,
}

impl Postgres {
    /// The cluster that the tests of this binary share. A test that stops or reconfigures it needs one of its own.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start(&[]))
    }

    /// A cluster with further settings (`name=value`), with the role `warm` and empty databases.
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_with(settings, |_| ())
    }

    /// The same; `prepare` may put files into the data folder before the server starts.
    pub fn start_with(settings: &[&str], prepare: impl FnOnce(&Path)) -> Postgres {
        let folder = Folder::new();
        let data = folder.path.join("data");
        let password = folder.path.join("password");
        std::fs::write(&password, ADMIN_PASSWORD).unwrap();
        give_to_server(&folder.path);
        let made = server_command("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"])
            .args(["--username", ADMIN])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        prepare(&data);
        Postgres::serve(folder, settings)
    }

    /// A standby of this cluster, with further settings. It replays what was committed at once, or after `recovery_min_apply_delay`.
    pub fn standby(&self, settings: &[&str]) -> Postgres {
        let folder = Folder::new();
        give_to_server(&folder.path);
        let copied = server_command("pg_basebackup")
            .args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "--username", ADMIN])
            .args(["--host", &self.folder.path.display().to_string(), "--port", &self.port.to_string()])
            .arg(format!("--pgdata={}", folder.path.join("data").display()))
            .env("PGPASSWORD", ADMIN_PASSWORD)
            .output()
            .expect("pg_basebackup runs");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        Postgres::serve(folder, settings)
    }

    /// Starts the server on the data in the folder.
    fn serve(folder: Folder, settings: &[&str]) -> Postgres {
        let data = folder.path.join("data");
        let port = free_port();
        let mut arguments: Vec<String> = server_words("postgres");
        arguments.extend(["-D".to_owned(), data.display().to_string()]);
        let own = [
            format!("port={port}"),
            format!("unix_socket_directories={}", folder.path.display()),
            "listen_addresses=127.0.0.1".to_owned(),
            "fsync=off".to_owned(),
            "shared_buffers=32MB".to_owned(),
            "max_connections=60".to_owned(),
        ];
        for setting in own.iter().map(String::as_str).chain(settings.iter().copied()) {
            arguments.extend(["-c".to_owned(), setting.to_owned()]);
        }
        let server = launch(&folder.path, &arguments);
        let postgres = Postgres { server, port, folder, arguments, databases: AtomicUsize::new(0) };
        postgres.wait_until_ready();
        postgres
    }

    /// A new, empty database in which the role `warm` may read every table.
    pub fn database(&self) -> Database {
        self.once(&self.blank(), |blank| {
            let role = format!("CREATE ROLE warm LOGIN PASSWORD '{PASSWORD}'");
            blank.sql(&format!("DO $$ BEGIN {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"));
            blank.sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO warm");
        })
    }

    /// A new database with the tables and a part of the data of the demo, in which `warm` has the rights of
    /// `config/postgres-role.sql` and no others.
    pub fn platform(&self) -> Database {
        let template = Database { name: "platform".to_owned(), ..self.blank() };
        self.once(&template, |platform| {
            let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
            platform.psql(&["-q", "-f", &file("demo/schema.sql").display().to_string()]);
            platform.psql(&["-q", "-f", &file("demo/data.sql").display().to_string()]);
            let password = format!("password={PASSWORD}");
            platform.psql(&["-q", "-v", &password, "-f", &file("config/postgres-role.sql").display().to_string()]);
        })
    }

    /// A copy of the template, which is made the first time that anybody asks for it.
    fn once(&self, template: &Database, make: impl FnOnce(&Database)) -> Database {
        // One at a time: a template cannot be copied while somebody is connected to it, and roles belong to all databases.
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let admin = self.named("postgres");
        let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{}'", template.name);
        if admin.sql(&exists).is_empty() {
            admin.sql(&format!("CREATE DATABASE {}", template.name));
            make(template);
        }
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        admin.sql(&format!("CREATE DATABASE {name} TEMPLATE {}", template.name));
        self.named(&name)
    }

    fn blank(&self) -> Database {
        self.named("blank")
    }

    /// The database of this name.
    pub fn named(&self, name: &str) -> Database {
        Database { name: name.to_owned(), host: self.folder.path.display().to_string(), port: self.port }
    }

    /// Starts the server again after it was ended.
    pub fn start_again(&mut self) {
        self.server = launch(&self.folder.path, &self.arguments);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        self.server.wait_until_ready(|| self.named("postgres").try_sql("SELECT 1").ok());
    }
}

impl Database {
    /// The URL of the account `warm`, over the unix socket.
    pub fn url(&self) -> String {
        format!("postgres://warm:{PASSWORD_IN_URL}@/{}?host={}&port={}", self.name, self.host, self.port)
    }

    /// The URL of the superuser.
    pub fn admin_url(&self) -> String {
        format!("postgres://{ADMIN}:{ADMIN_PASSWORD}@localhost/{}?host={}&port={}", self.name, self.host, self.port)
    }

    /// The URL of the account `warm`, over TCP at the given port.
    pub fn tcp_url(&self, port: u16) -> String {
        format!("postgres://warm:{PASSWORD_IN_URL}@127.0.0.1:{port}/{}", self.name)
    }

    /// Runs SQL as the superuser; the answer in psql's unaligned form.
    pub fn sql(&self, text: &str) -> String {
        self.try_sql(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        self.try_psql(&["-c", text])
    }

    /// Runs psql as the superuser.
    pub fn psql(&self, arguments: &[&str]) -> String {
        self.try_psql(arguments).unwrap_or_else(|error| panic!("psql {arguments:?}: {error}"))
    }

    /// A session of the superuser that stays open.
    pub fn session(&self) -> Session {
        Database::session_of(&self.admin_url())
    }

    /// A session of an account that stays open.
    pub fn session_of(url: &str) -> Session {
        let mut psql = Command::new("psql")
            .args(["-X", "-At", "-q", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql is there");
        let answers = BufReader::new(psql.stdout.take().expect("it is piped"));
        Session { psql, answers }
    }

    fn try_psql(&self, arguments: &[&str]) -> Result<String, String> {
        let ran = Command::new("psql")
            .args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-h", &self.host, "-p", &self.port.to_string()])
            .args(["-U", ADMIN, "-d", &self.name])
            .args(arguments)
            .env("PGPASSWORD", ADMIN_PASSWORD)
            .output()
            .expect("psql is there");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if ran.status.success() { Ok(text(ran.stdout)) } else { Err(text(ran.stderr)) }
    }
}

/// A psql that is spoken to.
pub struct Session {
    psql: Child,
    answers: BufReader<ChildStdout>,
}

impl Session {
    /// Runs SQL and waits until it is done; what it gives.
    pub fn say(&mut self, text: &str) -> String {
        const END: &str = "--end\n";
        let input = self.psql.stdin.as_mut().expect("it is piped");
        write!(input, "{text}\n\\echo {END}").and_then(|()| input.flush()).expect("psql listens");
        let mut answer = String::new();
        while !answer.ends_with(END) {
            assert_ne!(self.answers.read_line(&mut answer).expect("psql answers"), 0, "psql has ended: {text}");
        }
        answer.trim_end_matches(END).trim_end().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.psql.stdin.take());
        let _ = self.psql.wait();
    }
}

fn launch(folder: &Path, arguments: &[String]) -> Server {
    // SIGQUIT: the immediate shutdown.
    Server::start(folder, "QUIT", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Makes the server's user the owner.
pub fn give_to_server(path: &Path) {
    if is_root() {
        let given = Command::new("chown").args(["-R", "postgres"]).arg(path).status().unwrap();
        assert!(given.success(), "the user postgres exists");
    }
}

fn server_command(program: &str) -> Command {
    let words = server_words(program);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// The words of a command that refuses to run as root: then it is the user `postgres` who runs it.
pub fn as_server_user(program: &str) -> Vec<String> {
    if !is_root() {
        return vec![program.to_owned()];
    }
    ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", program].map(str::to_owned).to_vec()
}

/// The words of a command of PostgreSQL's server side.
fn server_words(program: &str) -> Vec<String> {
    as_server_user(&programs().join(program).display().to_string())
}

/// The folder of `initdb` and `postgres`. Debian keeps them out of the path, one folder for each version: the newest one.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin"))).filter(|(_, bin)| bin.join("initdb").exists())
        })
        .collect();
    found.sort();
    let in_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).find(|folder| folder.join("initdb").exists()));
    found.pop().map(|(_, bin)| bin).or(in_path).expect("PostgreSQL is installed: scripts/test does it")
}
