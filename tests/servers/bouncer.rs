//! A PgBouncer, in transaction mode unless a test says otherwise, as hosting services put it before PostgreSQL: each transaction may run on another server connection.

use std::fs;

use crate::support::postgres::{ADMIN, ADMIN_PASSWORD, Database, PASSWORD, as_server_user, give_to_server};
use crate::support::server::{Folder, Server, free_port};

pub(crate) struct PgBouncer {
    pub(crate) port: u16,
    server: Server,
    _folder: Folder,
}

impl PgBouncer {
    /// A pooler with so many connections to each database of the server.
    pub(crate) fn before(database: &Database, pool_size: usize) -> PgBouncer {
        PgBouncer::by("transaction", database, pool_size)
    }

    /// The same, whose server connections are a client's for one session, transaction or statement.
    pub(crate) fn by(mode: &str, database: &Database, pool_size: usize) -> PgBouncer {
        let folder = Folder::new();
        let port = free_port();
        let path = folder.path.display();
        let config = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {path}/users\nadmin_users = {ADMIN}\nlogfile =\npool_mode = {mode}\n\
             default_pool_size = {pool_size}\nmax_client_conn = 100\n",
            database.host, database.port
        );
        fs::write(folder.path.join("pgbouncer.ini"), config).unwrap();
        fs::write(folder.path.join("users"), format!("\"warm\" \"{PASSWORD}\"\n\"{ADMIN}\" \"{ADMIN_PASSWORD}\"\n"))
            .unwrap();
        give_to_server(&folder.path);
        // Not in everybody's path.
        let program = ["/usr/sbin/pgbouncer"].into_iter().find(|path| fs::exists(path).unwrap()).unwrap_or("pgbouncer");
        let mut words = as_server_user(program);
        words.push(folder.path.join("pgbouncer.ini").display().to_string());
        let server = Server::start(&folder.path, "KILL", &words.iter().map(String::as_str).collect::<Vec<_>>());
        let bouncer = PgBouncer { port, server, _folder: folder };
        bouncer.server.wait_until_ready(|| bouncer.console().try_sql("SHOW VERSION").ok());
        bouncer
    }

    /// The pooler's own database, which answers questions about it.
    pub(crate) fn console(&self) -> Database {
        Database { name: "pgbouncer".to_owned(), host: "127.0.0.1".to_owned(), port: self.port }
    }
}
