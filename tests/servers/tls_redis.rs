//! Encryption towards Redis: `rediss://` is encrypted and verified, or nothing is written.

use crate::certificates::{Authority, Certificate};
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::redis::{PASSWORD, Redis};
use crate::support::server::free_port;
use crate::support::world::{CONFIG, World};

const NAMES: &str = "DNS:localhost,IP:127.0.0.1";
const JOB: &str = "query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'";

/// A Redis whose only TCP port is encrypted.
struct Encrypted {
    world: World,
    authority: Authority,
    port: u16,
}

impl Encrypted {
    fn new(names: &str) -> Encrypted {
        let authority = Authority::new();
        let certificate = authority.sign(names);
        Encrypted::with(authority, &certificate)
    }

    fn with(authority: Authority, certificate: &Certificate) -> Encrypted {
        let port = free_port();
        let (file, key) = (certificate.file.display(), certificate.key.display());
        let redis = Redis::start(&format!(
            "port 0\ntls-port {port}\ntls-cert-file {file}\ntls-key-file {key}\ntls-auth-clients no\n"
        ));
        let mut world = World::of(Postgres::shared().database(), redis);
        world.job("job", JOB);
        world.set("WARM_REDIS__CA_FILE", &authority.pem());
        Encrypted { world, authority, port }
    }

    fn url(port: u16) -> String {
        format!("rediss://warm:{PASSWORD}@127.0.0.1:{port}/0")
    }

    /// The key was written through the encrypted port.
    fn works(&mut self) {
        self.world.set("REDIS_URL", &Encrypted::url(self.port));
        self.world.warm(&["--now"]).exits(0).says("wrote 1 key ");
        assert_eq!(self.world.value("t:x").as_deref(), Some(r#"[{"x":1}]"#));
        let _: () = self.world.ask(&["FLUSHALL"]);
    }

    /// Redis was not spoken to, for this reason; one try was made.
    fn refuses(&mut self, reason: &str) {
        let proxy = Proxy::before(self.port, &[]);
        self.world.set("REDIS_URL", &Encrypted::url(proxy.port));
        let ran = self.world.warm(&["--now"]).exits(4).says(reason);
        assert_eq!(proxy.accepted(), 1, "a certificate does not get better by asking again: {}", ran.all());
        assert_eq!(self.world.keys(), [""; 0]);
    }
}

#[test]
fn a_connection_is_encrypted_and_the_server_verified() {
    let mut redis = Encrypted::new(NAMES);
    redis.works();
    redis.world.unset("WARM_REDIS__CA_FILE");
    redis.refuses("invalid peer certificate: UnknownIssuer");
    // The authority that the machine trusts is as good as one in the configuration.
    let pem = redis.authority.pem();
    redis.world.set("SSL_CERT_FILE", &pem);
    redis.works();
    // One that is configured stands instead of the machine's, not beside them.
    let foreign = Authority::new();
    redis.world.set("WARM_REDIS__CA_FILE", &foreign.pem());
    redis.refuses("invalid peer certificate: ");
}

#[test]
fn the_authority_can_stand_in_the_configuration() {
    let mut redis = Encrypted::new(NAMES);
    redis.world.unset("WARM_REDIS__CA_FILE");
    // The path is relative to the file.
    std::fs::copy(redis.authority.pem(), redis.world.folder.path.join("ca.pem")).unwrap();
    redis.world.config(&format!("{CONFIG}[redis]\nca_file = 'ca.pem'"));
    redis.works();
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    Encrypted::new("DNS:cache.internal").refuses("certificate not valid for name \"127.0.0.1\"");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let certificate = authority.sign_expired(NAMES);
    Encrypted::with(authority, &certificate).refuses("certificate expired");
}

#[test]
fn a_server_without_encryption_is_refused_when_the_url_asks_for_it() {
    let mut world = World::new();
    world.job("job", JOB);
    world.set("REDIS_URL", &Encrypted::url(world.redis.port));
    world.set("WARM_REDIS__CONNECT_TIMEOUT", "2s");
    world.warm(&["--now"]).exits(4).says("no encrypted connection to Redis");
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn a_server_with_encryption_alone_is_not_spoken_to_in_the_clear() {
    let mut redis = Encrypted::new(NAMES);
    redis.world.unset("WARM_REDIS__CA_FILE");
    redis.world.set("WARM_REDIS__CONNECT_TIMEOUT", "2s");
    let url = redis.world.redis.tcp_url(redis.port);
    redis.world.set("REDIS_URL", &url);
    redis.world.warm(&["--now"]).exits(4).says("no connection to Redis");
    assert_eq!(redis.world.keys(), [""; 0]);
}

#[test]
fn verification_cannot_be_switched_off() {
    let mut redis = Encrypted::new(NAMES);
    let proxy = Proxy::before(redis.port, &[]);
    redis.world.set("REDIS_URL", &format!("{}#insecure", Encrypted::url(proxy.port)));
    for command in [&["--now"][..], &["check"], &["check", "--offline"]] {
        redis.world.warm(command).exits(2).says("`#insecure` in the Redis URL").says("ca_file");
    }
    assert_eq!(proxy.accepted(), 0);
}

#[test]
fn an_authority_that_cannot_be_used_is_refused_before_anything_is_asked() {
    let mut redis = Encrypted::new(NAMES);
    let proxy = Proxy::before(redis.port, &[]);
    let garbage = redis.world.folder.path.join("garbage.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    redis.world.set("REDIS_URL", &Encrypted::url(proxy.port));
    for (file, message) in [
        ("absent.pem", "absent.pem: No such file"),
        ("garbage.pem", "garbage.pem: there is no PEM certificate in this file"),
    ] {
        redis.world.set("WARM_REDIS__CA_FILE", file);
        for command in [&["--now"][..], &["check"], &["check", "--offline"]] {
            redis.world.warm(command).exits(2).says(message);
        }
    }
    let pem = redis.authority.pem();
    redis.world.set("WARM_REDIS__CA_FILE", &pem);
    let plain = redis.world.redis.tcp_url(proxy.port);
    redis.world.set("REDIS_URL", &plain);
    redis.world.warm(&["--now"]).exits(2).says("`ca_file` is for a URL that begins with rediss://");
    assert_eq!(proxy.accepted(), 0);
}

#[test]
fn a_server_that_wants_our_certificate_is_not_asked_again() {
    let mut redis = Encrypted::new(NAMES);
    let (port, pem) = (redis.port.to_string(), redis.authority.pem());
    let _: () = redis.world.ask(&["CONFIG", "SET", "tls-ca-cert-file", &pem, "tls-auth-clients", "yes"]);
    assert_eq!(redis.world.ask::<Vec<String>>(&["CONFIG", "GET", "tls-port"])[1], port);
    redis.refuses("received fatal alert: CertificateRequired");
}
