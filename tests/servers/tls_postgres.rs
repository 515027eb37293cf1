//! Encryption towards PostgreSQL: what the URL asks for is what happens, or nothing does.
//!
//! The servers here refuse whoever comes in the clear, so that a run that succeeds was encrypted; and the job asks PostgreSQL itself.

use crate::certificates::Authority;
use crate::support::postgres::{Postgres, give_to_server};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::world::{Ran, World};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";
const ENCRYPTED: &str =
    "query = 'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()'\nkey = 't:ssl'\nvalue = 'rows'";
/// On the unix socket the tests prepare their data.
const HBA: &str = "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n";

/// A server that talks to nobody in the clear, an authority that signed its certificate, and a job that asks whether it is encrypted.
struct Encrypted {
    world: World,
    authority: Authority,
    // Ends after the world that uses it.
    server: Postgres,
}

impl Encrypted {
    /// The server's certificate is for these names.
    fn new(names: &str) -> Encrypted {
        let authority = Authority::new();
        let certificate = authority.sign(names);
        Encrypted::with(authority, certificate)
    }

    fn with(authority: Authority, certificate: crate::certificates::Certificate) -> Encrypted {
        let settings = ["ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key"];
        let server = Postgres::start_with(&settings, |data| {
            certificate.copy_to(data);
            std::fs::write(data.join("pg_hba.conf"), HBA).unwrap();
            give_to_server(data);
        });
        let world = World::of(server.database(), Redis::start(""));
        world.job("encrypted", ENCRYPTED);
        Encrypted { world, authority, server }
    }

    /// Runs with these parameters in the URL; `{CA}` stands for the authority's file.
    fn run(&mut self, parameters: &str) -> Ran {
        self.command(parameters, &["--now"])
    }

    fn command(&mut self, parameters: &str, arguments: &[&str]) -> Ran {
        let url = self.world.database.tcp_url(self.server.port);
        self.world.set("DATABASE_URL", &format!("{url}?{}", parameters.replace("{CA}", &self.authority.pem())));
        self.world.warm(arguments)
    }

    /// The run was encrypted, and wrote its key.
    fn works(&mut self, parameters: &str) {
        let ran = self.run(parameters).exits(0);
        assert_eq!(self.world.value("t:ssl").as_deref(), Some(r#"[{"ssl":true}]"#), "{parameters}: {}", ran.all());
        let _: () = self.world.ask(&["FLUSHALL"]);
    }

    /// PostgreSQL was not spoken to, for this reason; one try was made.
    fn refuses(&mut self, parameters: &str, reason: &str) {
        let proxy = Proxy::before(self.server.port, &[]);
        let url = self.world.database.tcp_url(proxy.port);
        self.world.set("DATABASE_URL", &format!("{url}?{}", parameters.replace("{CA}", &self.authority.pem())));
        let ran = self.world.warm(&["--now"]).exits(3).says(reason);
        assert_eq!(proxy.accepted(), 1, "a certificate does not get better by asking again: {}", ran.all());
        assert_eq!(self.world.keys(), [""; 0]);
    }
}

#[test]
fn a_connection_is_encrypted_and_the_server_verified() {
    let mut server = Encrypted::new(NAMES);
    server.works("sslmode=verify-full&sslrootcert={CA}");
    server.works("sslmode=verify-ca&sslrootcert={CA}");
    server.refuses("sslmode=verify-full", "invalid peer certificate: UnknownIssuer");
    server.refuses("sslmode=verify-ca", "invalid peer certificate: UnknownIssuer");
    let foreign = Authority::new();
    server.refuses(&format!("sslmode=verify-full&sslrootcert={}", foreign.pem()), "invalid peer certificate: ");
    // The authority that the machine trusts is as good as one in the URL.
    let pem = server.authority.pem();
    server.world.set("SSL_CERT_FILE", &pem);
    server.works("sslmode=verify-full");
}

#[test]
fn a_server_that_wants_encryption_is_not_told_the_password_in_the_clear() {
    let mut server = Encrypted::new(NAMES);
    server.run("sslmode=disable").exits(3).says("no pg_hba.conf entry").says("no encryption");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let mut server = Encrypted::new("DNS:db.internal");
    server.refuses("sslmode=verify-full&sslrootcert={CA}", "certificate not valid for name \"127.0.0.1\"");
    server.works("sslmode=verify-ca&sslrootcert={CA}");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let certificate = authority.sign_expired(NAMES);
    let mut server = Encrypted::with(authority, certificate);
    server.refuses("sslmode=verify-full&sslrootcert={CA}", "certificate expired");
    server.refuses("sslmode=verify-ca&sslrootcert={CA}", "certificate expired");
}

#[test]
fn a_server_without_encryption_is_refused_when_the_url_asks_for_it() {
    let mut world = World::new();
    world.job("encrypted", ENCRYPTED);
    for mode in ["require", "verify-ca", "verify-full"] {
        let proxy = Proxy::before(world.database.port, &[]);
        world.set("DATABASE_URL", &format!("{}?sslmode={mode}", world.database.tcp_url(proxy.port)));
        world.warm(&["--now"]).exits(3).says("server does not support TLS");
        assert_eq!((proxy.accepted(), world.keys().len()), (1, 0), "{mode}");
    }
}

#[test]
fn encryption_without_verification_works_and_is_warned_about() {
    let mut server = Encrypted::new("DNS:db.internal");
    server.works("sslmode=require");
    let warning = "`sslmode=require` encrypts, but does not look at PostgreSQL's certificate";
    server.command("sslmode=require", &["check"]).exits(0).says(warning);
    for parameters in ["sslmode=verify-ca&sslrootcert={CA}", "sslmode=require&sslrootcert={CA}"] {
        let ran = server.command(parameters, &["check"]).exits(0);
        assert!(!ran.all().contains("does not look at"), "{}", ran.all());
    }
}

#[test]
fn a_root_certificate_beside_require_is_not_ignored() {
    // To libpq, `require` with a root certificate means verify-ca.
    let mut server = Encrypted::new("DNS:db.internal");
    server.works("sslmode=require&sslrootcert={CA}");
    server.works("sslmode=require&sslcert={CA}");
    let foreign = Authority::new();
    server.refuses(&format!("sslmode=require&sslrootcert={}", foreign.pem()), "invalid peer certificate: ");
    server.refuses(&format!("sslmode=require&sslcert={}", foreign.pem()), "invalid peer certificate: ");
}

#[test]
fn prismas_names_for_encryption_are_understood() {
    let mut server = Encrypted::new(NAMES);
    // What Prisma calls `sslcert` is the server's authority.
    server.works("sslmode=verify-full&sslcert={CA}");
    server.works("sslmode=require&sslcert={CA}&sslaccept=strict");
    let mut other = Encrypted::new("DNS:db.internal");
    other.works("sslmode=require&sslcert={CA}&sslaccept=accept_invalid_certs");
    other.refuses("sslmode=require&sslcert={CA}&sslaccept=strict", "certificate not valid for name");
}

#[test]
fn an_account_can_be_known_by_its_certificate() {
    let authority = Authority::new();
    let certificate = authority.sign(NAMES);
    let settings = ["ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key", "ssl_ca_file=ca.pem"];
    let server = Postgres::start_with(&settings, |data| {
        certificate.copy_to(data);
        std::fs::copy(authority.pem(), data.join("ca.pem")).unwrap();
        let hba = format!("{HBA}hostssl all all 127.0.0.1/32 cert map=m\n")
            .replace("127.0.0.1/32 scram-sha-256", "127.0.0.2/32 trust");
        std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
        std::fs::write(data.join("pg_ident.conf"), "m server warm\n").unwrap();
        give_to_server(data);
    });
    let mut world = World::of(server.database(), Redis::start(""));
    world.job("encrypted", ENCRYPTED);
    let url = format!(
        "postgres://warm@127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={}",
        server.port,
        world.database.name,
        authority.pem()
    );
    world.set("DATABASE_URL", &url);
    world.warm(&["--now"]).exits(3).says("certificate");
    let own = format!("{url}&sslcert={}&sslkey={}", certificate.file.display(), certificate.key.display());
    world.set("DATABASE_URL", &own);
    world.warm(&["--now"]).exits(0).says("wrote 1 key ");
}

#[test]
fn what_cannot_be_honoured_is_refused_before_anything_is_asked() {
    let mut world = World::new();
    world.job("encrypted", ENCRYPTED);
    let garbage = world.folder.path.join("garbage.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    let proxy = Proxy::before(world.database.port, &[]);
    let garbage = garbage.display();
    for (parameters, message) in [
        ("sslidentity=client.p12".to_owned(), "`sslidentity` in the PostgreSQL URL"),
        ("sslpassword=hunter2".to_owned(), "`sslpassword` in the PostgreSQL URL"),
        ("sslmode=maybe".to_owned(), "sslmode `maybe` is unknown"),
        ("sslaccept=maybe".to_owned(), "sslaccept `maybe` is unknown"),
        ("sslkey=client.key".to_owned(), "`sslkey` in the PostgreSQL URL comes without `sslcert`"),
        (
            "sslmode=verify-full&sslrootcert=absent.pem".to_owned(),
            "`sslrootcert` in the PostgreSQL URL: absent.pem: No such file",
        ),
        (
            "sslmode=verify-full&sslcert=absent.pem".to_owned(),
            "`sslcert` in the PostgreSQL URL: absent.pem: No such file",
        ),
        (format!("sslmode=verify-full&sslrootcert={garbage}"), "garbage.pem: there is no PEM certificate in this file"),
    ] {
        world.set("DATABASE_URL", &format!("{}?{parameters}", world.database.tcp_url(proxy.port)));
        for command in [&["--now"][..], &["check"], &["check", "--offline"]] {
            let ran = world.warm(command).exits(2).says(message);
            assert!(!ran.all().contains("hunter2"), "{}", ran.all());
        }
    }
    assert_eq!(proxy.accepted(), 0);
}
