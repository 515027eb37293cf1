//! What a URL says about encryption, in the words of libpq and in those of Prisma.
//!
//! There is no fall-back to plain text: what cannot be had as it is asked for is an error. Files are looked at before anything starts, since a
//! missing one is a mistake in the configuration and no fault of the server.

use std::fs;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::url::UrlError;

/// The beginning of a certificate in PEM form, the only one that is understood.
const PEM: &str = "-----BEGIN CERTIFICATE-----";

/// The parameters about encryption, as they stand in the URL.
#[derive(Debug, Default)]
pub(super) struct Encryption {
    mode: Option<String>,
    /// `sslrootcert`: the authority that signed the server's certificate.
    root: Option<String>,
    /// `sslcert`: with `sslkey` our own certificate; without, Prisma's name for `sslrootcert`.
    certificate: Option<String>,
    key: Option<String>,
    /// `sslaccept` of Prisma.
    accept: Option<String>,
}

impl Encryption {
    /// What the environment says, as it does to libpq; the URL overrides it.
    pub(super) fn of_environment() -> Self {
        Encryption { mode: std::env::var("PGSSLMODE").ok(), ..Encryption::default() }
    }

    /// Takes a parameter of the URL; `false` if it is not about encryption.
    ///
    /// # Errors
    /// For one that asks for something that cannot be done.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool, UrlError> {
        let field = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.certificate,
            "sslkey" => &mut self.key,
            "sslaccept" => &mut self.accept,
            "sslidentity" | "sslpassword" => {
                return Err(UrlError(format!(
                    "`{name}` in the PostgreSQL URL is about a PKCS#12 file, which cannot be read here; \
                     `openssl pkcs12 -in FILE -noenc` turns it into PEM for sslcert and sslkey"
                )));
            }
            _ => return Ok(false),
        };
        *field = Some(value.to_owned());
        Ok(true)
    }

    /// Puts all of it into the driver's options; `local` servers are those on this machine.
    ///
    /// # Errors
    /// For words and files that cannot be used.
    pub(super) fn apply(mut self, mut options: PgConnectOptions, local: bool) -> Result<PgConnectOptions, UrlError> {
        match (self.certificate.take(), self.key.take()) {
            (Some(certificate), Some(key)) => {
                look_at("sslcert", &certificate, PEM)?;
                look_at("sslkey", &key, "-----BEGIN ")?;
                options = if is_pem(&certificate) {
                    options.ssl_client_cert_from_pem(certificate)
                } else {
                    options.ssl_client_cert(certificate)
                };
                options = if is_pem(&key) { options.ssl_client_key_from_pem(key) } else { options.ssl_client_key(key) };
            }
            (Some(_), None) if self.root.is_some() => {
                return Err(UrlError("`sslcert` in the PostgreSQL URL comes without `sslkey`".to_owned()));
            }
            (Some(authority), None) => {
                look_at("sslcert", &authority, PEM)?;
                self.root = Some(authority);
            }
            (None, Some(_)) => {
                return Err(UrlError("`sslkey` in the PostgreSQL URL comes without `sslcert`".to_owned()));
            }
            (None, None) => {}
        }
        let mode = self.mode(local)?;
        if let Some(root) = self.root.filter(|root| root != "system") {
            look_at("sslrootcert", &root, PEM)?;
            options =
                if is_pem(&root) { options.ssl_root_cert_from_pem(root.into()) } else { options.ssl_root_cert(root) };
        }
        Ok(options.ssl_mode(mode))
    }

    /// What `sslmode` means here. Where nothing, or only a preference, is said, a server on this machine is spoken to in the clear and any other one with
    /// its certificate verified. `require` verifies what it is given something to verify with, as in libpq and Prisma.
    fn mode(&self, local: bool) -> Result<PgSslMode, UrlError> {
        let strict = match self.accept.as_deref() {
            None | Some("accept_invalid_certs") => false,
            Some("strict") => true,
            Some(other) => {
                return Err(UrlError(format!("sslaccept `{other}` is unknown; it is strict or accept_invalid_certs")));
            }
        };
        let system = self.root.as_deref() == Some("system");
        match self.mode.as_deref() {
            Some(weak @ ("require" | "verify-ca")) if system => Err(UrlError(format!(
                "sslmode `{weak}` trusts every server that has a certificate of a public authority; with sslrootcert=system use verify-full"
            ))),
            None | Some("prefer" | "allow") if local && self.root.is_none() && !strict => Ok(PgSslMode::Disable),
            None | Some("prefer" | "allow" | "verify-full") => Ok(PgSslMode::VerifyFull),
            Some("disable") => Ok(PgSslMode::Disable),
            Some("require") if strict => Ok(PgSslMode::VerifyFull),
            Some("require") if self.root.is_some() && self.accept.is_none() => Ok(PgSslMode::VerifyCa),
            Some("require") => Ok(PgSslMode::Require),
            Some("verify-ca") => Ok(PgSslMode::VerifyCa),
            Some(other) => Err(UrlError(format!(
                "sslmode `{other}` is unknown; it is one of disable, require, verify-ca, verify-full (prefer and allow are read as verify-full, and as disable on this machine)"
            ))),
        }
    }
}

/// Certificates and keys may stand in the URL itself.
fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN")
}

/// Whether the file of a parameter is there and has in it what it is named for.
fn look_at(parameter: &str, file: &str, mark: &str) -> Result<(), UrlError> {
    if is_pem(file) {
        return Ok(());
    }
    let fail = |what: &dyn std::fmt::Display| UrlError(format!("`{parameter}` in the PostgreSQL URL: {file}: {what}"));
    // Anything else may never end.
    if !fs::metadata(file).map_err(|error| fail(&error))?.is_file() {
        return Err(fail(&"this is not a regular file"));
    }
    let text = fs::read(file).map_err(|error| fail(&error))?;
    if String::from_utf8_lossy(&text).contains(mark) {
        return Ok(());
    }
    let wanted = if mark == PEM { "certificate" } else { "key" };
    Err(fail(&format_args!("there is no PEM {wanted} in this file")))
}
