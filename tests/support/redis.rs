//! Private Redis servers.

use std::path::Path;

use redis::{Client, Connection};

use super::server::{Folder, Server, free_port};

/// The password of the account `warm` of `config/redis-acl.conf`. No output of `warm` may show it.
pub const PASSWORD: &str = "r3dis-s3cret";
const PASSWORD_SHA256: &str = "f67d4417d004569548c40b3a28788eef37ececa5b915c9daae86f1b33f922557";

/// A Redis server with the account of `config/redis-acl.conf`.
pub struct Redis {
    pub server: Server,
    pub port: u16,
    folder: Folder,
}

impl Redis {
    /// A server with further lines of configuration.
    pub fn start(lines: &str) -> Redis {
        let folder = Folder::new();
        let port = free_port();
        let acl = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/redis-acl.conf");
        let acl = std::fs::read_to_string(acl).unwrap().replace("SHA256-OF-THE-PASSWORD", PASSWORD_SHA256);
        let path = folder.path.display();
        let own = format!(
            "port {port}\nbind 127.0.0.1\nunixsocket {path}/socket\nunixsocketperm 777\ndir {path}\nsave \"\"\nappendonly no\n"
        );
        std::fs::write(folder.path.join("redis.conf"), own + &acl + "\n" + lines + "\n").unwrap();
        let server = launch(&folder.path);
        let redis = Redis { server, port, folder };
        redis.wait_until_ready();
        redis
    }

    /// Starts the server again after it was ended; it comes back empty, unless it was told to save.
    pub fn start_again(&mut self) {
        self.server = launch(&self.folder.path);
        self.wait_until_ready();
    }

    /// A connection as the default user, who may do everything.
    pub fn connect(&self) -> Connection {
        self.try_connect().expect("a connection to Redis")
    }

    fn try_connect(&self) -> Option<Connection> {
        let url = format!("unix://{}", self.socket());
        Client::open(url).unwrap().get_connection().ok()
    }

    /// Where the unix socket is.
    pub fn socket(&self) -> String {
        self.folder.path.join("socket").display().to_string()
    }

    /// The URL of the account `warm`, over the unix socket.
    pub fn url(&self) -> String {
        format!("unix://{}?user=warm&pass={PASSWORD}", self.socket())
    }

    /// The URL of the account `warm`, over TCP at the given port.
    pub fn tcp_url(&self, port: u16) -> String {
        format!("redis://warm:{PASSWORD}@127.0.0.1:{port}/0")
    }

    /// Lets the account `warm` use all keys: for jobs that are not the platform's.
    pub fn allow_all_keys(&self) {
        let allow = ::redis::cmd("ACL").arg("SETUSER").arg("warm").arg("~*").exec(&mut self.connect());
        allow.expect("the account is there");
    }

    fn wait_until_ready(&self) {
        self.server.wait_until_ready(|| {
            let mut connection = self.try_connect()?;
            redis::cmd("PING").exec(&mut connection).ok()
        });
    }
}

fn launch(folder: &Path) -> Server {
    let config = folder.join("redis.conf").display().to_string();
    Server::start(folder, "KILL", &["redis-server", &config])
}
