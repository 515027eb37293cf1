//! Certificates for tests, made by the openssl program: an authority of the test's own, and what it signs.
//!
//! They are made anew by each test, so that none expires in the repository and no private key stands in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::server::Folder;

/// A certificate authority in a folder of its own.
pub(crate) struct Authority {
    folder: Folder,
}

/// A certificate and its private key, in PEM files.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}

/// What `openssl ca` wants to be told in a file.
const CA: &str = "[ca]\ndefault_ca = own\n[own]\ndatabase = index\nserial = serial\nnew_certs_dir = .\n\
    certificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n";

impl Authority {
    pub(crate) fn new() -> Authority {
        let authority = Authority { folder: Folder::new() };
        fs::write(authority.file("ca.conf"), CA).unwrap();
        fs::write(authority.file("index"), "").unwrap();
        fs::write(authority.file("serial"), "01\n").unwrap();
        let new_key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=test-authority";
        let extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
        authority.openssl(&format!("{new_key} {extensions} -keyout ca.key -out ca.pem"));
        authority
    }

    /// The authority's own certificate.
    pub(crate) fn pem(&self) -> String {
        self.file("ca.pem").display().to_string()
    }

    /// A certificate for the names, such as `DNS:localhost,IP:127.0.0.1`.
    pub(crate) fn sign(&self, names: &str) -> Certificate {
        self.sign_until(names, "20991231235959Z")
    }

    /// A certificate that has expired.
    pub(crate) fn sign_expired(&self, names: &str) -> Certificate {
        self.sign_until(names, "20201231235959Z")
    }

    fn sign_until(&self, names: &str, end: &str) -> Certificate {
        let extensions = format!("subjectAltName={names}\nbasicConstraints=critical,CA:FALSE\n");
        fs::write(self.file("extensions"), extensions).unwrap();
        self.openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=server -keyout server.key -out request",
        );
        let validity = format!("-startdate 20200101000000Z -enddate {end}");
        self.openssl(&format!(
            "ca -batch -notext -config ca.conf {validity} -extfile extensions -in request -out server.pem"
        ));
        Certificate { file: self.file("server.pem"), key: self.file("server.key") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    fn openssl(&self, arguments: &str) {
        let ran = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder.path).output();
        let ran = ran.expect("openssl is there");
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

impl Certificate {
    /// Copies both files; the server's user has to be able to read the key, and nobody else.
    pub(crate) fn copy_to(&self, folder: &Path) {
        use std::os::unix::fs::PermissionsExt;
        fs::copy(&self.file, folder.join("server.pem")).unwrap();
        fs::copy(&self.key, folder.join("server.key")).unwrap();
        fs::set_permissions(folder.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    }
}
