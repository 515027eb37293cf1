//! `DATABASE_URL`, as applications have it.
//!
//! Applications built on Prisma put parameters into the URL that PostgreSQL's own tools do not know. They are honoured
//! where they mean something here, and accepted where they do not.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::encryption::Encryption;

/// Parameters of the driver itself, which are passed on to it.
const DRIVER: &[&str] = &["host", "hostaddr", "port", "dbname", "user", "password"];

/// Parameters of Prisma that ask for nothing that is not done anyway: statements never outlive their transaction, and the
/// time-outs are in `[postgres]`.
const GRANTED: &[&str] = &["pgbouncer", "statement_cache_size", "pool_timeout", "socket_timeout", "application_name"];

/// A URL that cannot be used. Its message never repeats the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError(pub String);

impl std::fmt::Display for UrlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

/// Where to connect to, and what the URL says about how.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) options: PgConnectOptions,
    /// `schema`: the search path.
    pub(super) schema: Option<String>,
    /// `connection_limit`: an upper bound for our own.
    pub connection_limit: Option<u32>,
    /// `connect_timeout`.
    pub connect_timeout: Option<Duration>,
    /// Parameters that nobody knows; they are ignored, and `warm check` says so.
    pub unknown: Vec<String>,
}

impl Target {
    /// Parses a URL. An empty one means the driver's defaults: the `PG…` variables, else the local socket.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = if text.is_empty() { "postgres://" } else { text };
        let mut url = match Url::parse(text) {
            // `postgres://user:password@/database?host=/run/postgresql`: to libpq, no host means the usual one.
            Err(url::ParseError::EmptyHost) => Url::parse(&text.replacen("@/", "@localhost/", 1)),
            parsed => parsed,
        }
        .map_err(|error| UrlError(format!("the PostgreSQL URL is malformed: {error}")))?;
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.set_query(None);
        let mut target = Target {
            options: PgConnectOptions::new(),
            schema: None,
            connection_limit: None,
            connect_timeout: None,
            unknown: Vec::new(),
        };
        let mut encryption = Encryption::of_environment();
        for (name, value) in pairs {
            if encryption.take(&name, &value)? {
                continue;
            }
            match name.as_str() {
                "schema" => target.schema = Some(value),
                "connection_limit" => target.connection_limit = Some(number(&name, &value)?),
                "connect_timeout" => {
                    target.connect_timeout = Some(Duration::from_secs(number(&name, &value)?)).filter(|t| !t.is_zero())
                }
                known if DRIVER.contains(&known) => {
                    url.query_pairs_mut().append_pair(&name, &value);
                }
                // It may choose other tables, so that it must not be passed over.
                "options" => {
                    let way_out = "name the schema with `schema=…`, or ALTER ROLE … SET for the account";
                    return Err(UrlError(format!("`options` in the PostgreSQL URL cannot be honoured: {way_out}")));
                }
                known if GRANTED.contains(&known) => {}
                _ => target.unknown.push(name),
            }
        }
        let options = PgConnectOptions::from_url(&url)
            .map_err(|error| UrlError(format!("the PostgreSQL URL is malformed: {error}")))?;
        // An unencoded `/` in a password ends the account's part too early, and the rest would be shown as the database.
        if options.get_database().is_some_and(|name| name.contains('@')) {
            return Err(UrlError("the PostgreSQL URL has an `@` in the database's name; percent-encode what is special in the password (`/` is %2F)".to_owned()));
        }
        let local = is_local(&options);
        target.options = encryption
            .apply(options, local)?
            .application_name("warm")
            // PgBouncer refuses this start-up parameter; PostgreSQL 12 and later print floats exactly without it.
            .extra_float_digits(None)
            .disable_statement_logging();
        Ok(target)
    }

    /// Where tables are looked for, if the URL says so.
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Whether the connection is encrypted, but with whoever answers.
    pub fn trusts_everybody(&self) -> bool {
        matches!(self.options.get_ssl_mode(), PgSslMode::Require)
    }

    /// Server and database for messages, without account and password.
    pub fn describe(&self) -> String {
        let host = match self.options.get_socket() {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        };
        format!("{host}/{}", self.database())
    }

    /// What tells one database from another, without account and password.
    pub fn identity(&self) -> String {
        let host = self.options.get_socket().map_or(self.options.get_host().into(), |path| path.to_string_lossy());
        let schema = self.schema.as_deref().unwrap_or_default();
        format!("{host}:{}/{}?schema={schema}", self.options.get_port(), self.database())
    }

    fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.options.get_username())
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, UrlError> {
    value.parse().map_err(|_| UrlError(format!("`{name}` in the PostgreSQL URL is not a whole number")))
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Target {
        Target::parse(url).expect(url)
    }

    #[test]
    fn prismas_parameters_are_honoured_or_accepted() {
        let target = parse(
            "postgresql://app:p%40ss@db.internal:6432/shop?schema=public&connection_limit=3&pgbouncer=true&pool_timeout=20&connect_timeout=7&sslaccept=strict&colour=red",
        );
        assert_eq!(target.schema.as_deref(), Some("public"));
        assert_eq!(target.connection_limit, Some(3));
        assert_eq!(target.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(target.unknown, ["colour"]);
        assert_eq!(target.describe(), "db.internal:6432/shop");
        assert_eq!(target.identity(), "db.internal:6432/shop?schema=public");
        assert_eq!(target.options.get_username(), "app");
    }

    #[test]
    fn nothing_falls_back_to_plain_text() {
        let mode = |url: &str| format!("{:?}", parse(url).options.get_ssl_mode());
        assert_eq!(mode("postgres://u@db.internal/x"), "VerifyFull");
        assert_eq!(mode("postgres://u@db.internal/x?sslmode=prefer"), "VerifyFull");
        assert_eq!(mode("postgres://u@db.internal/x?sslmode=require"), "Require");
        assert_eq!(mode("postgres://u@db.internal/x?sslmode=disable"), "Disable");
        assert_eq!(mode("postgres://u@localhost/x"), "Disable");
        assert_eq!(mode("postgres://u@127.0.0.1/x?sslmode=verify-full"), "VerifyFull");
        assert_eq!(mode("postgres://u@%2Frun%2Fpostgresql/x"), "Disable");
        assert_eq!(mode("postgres://u@/x?host=/run/postgresql"), "Disable");
        assert_eq!(mode("postgres://u:p@/x?host=/run/postgresql"), "Disable");
    }

    #[test]
    fn require_verifies_with_what_it_is_given() {
        let mode = |parameters: &str| {
            let target = Target::parse(&format!("postgres://u@127.0.0.1/x?{parameters}"));
            target.map(|target| format!("{:?}", target.options.get_ssl_mode())).map_err(|error| error.to_string())
        };
        let ca = "-----BEGIN CERTIFICATE-----";
        assert_eq!(mode(&format!("sslmode=require&sslrootcert={ca}")), Ok("VerifyCa".to_owned()));
        assert_eq!(mode(&format!("sslmode=require&sslcert={ca}&sslaccept=strict")), Ok("VerifyFull".to_owned()));
        assert_eq!(
            mode(&format!("sslmode=require&sslcert={ca}&sslaccept=accept_invalid_certs")),
            Ok("Require".to_owned())
        );
        assert_eq!(mode("sslmode=require"), Ok("Require".to_owned()));
        assert_eq!(
            mode(&format!("sslcert={ca}")),
            Ok("VerifyFull".to_owned()),
            "not in the clear, though it is this machine"
        );
        assert_eq!(mode("sslrootcert=system"), Ok("VerifyFull".to_owned()));
        assert!(mode("sslmode=require&sslrootcert=system").is_err());
        assert!(mode(&format!("sslcert={ca}&sslrootcert={ca}")).is_err());
        assert!(mode("sslidentity=client.p12").is_err());
    }

    #[test]
    fn errors_never_repeat_the_url() {
        for url in [
            "postgres://u:hunter2@h:port/x",
            "postgres://u:hunter2@h/x?sslmode=maybe",
            "postgres://u:hunter2@h/x?connection_limit=many",
            "postgres://u:12/hunter2@127.0.0.1:1/x",
            "postgres://u:hunter2@h/x?options=-csearch_path%3Dother",
        ] {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
