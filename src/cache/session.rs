//! Who we are to Redis, and in which database.
//!
//! The driver could say so itself while it connects. But it takes every error that comes then for a wrong password, and a server that is only full
//! (`max number of clients reached`) would not be waited for.

use redis::{Connection, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

use super::error::{Trouble, translate};
use crate::ground::error::{Error, ErrorKind};

/// Account and database of a connection.
#[derive(Debug, Clone)]
pub(super) struct Session {
    user: Option<String>,
    password: Option<SecretString>,
    pub(super) database: i64,
}

impl Session {
    /// What the URL says; `database` overrides its.
    pub(super) fn new(url: &RedisConnectionInfo, database: Option<i64>) -> Self {
        Session {
            user: url.username().map(str::to_owned),
            password: url.password().map(SecretString::from),
            database: database.unwrap_or_else(|| url.db()),
        }
    }

    /// Says it to the server.
    pub(super) fn begin(&self, connection: &mut Connection) -> Result<(), Trouble> {
        if let Some(password) = &self.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(self.user.as_deref()).arg(password.expose_secret());
            auth.exec(connection).map_err(|error| match error.code() {
                Some("WRONGPASS") => {
                    let message = "Redis rejects the user name or the password";
                    Trouble::Stop(Error::new(ErrorKind::RedisRefused, message))
                }
                _ => translate(&error),
            })?;
        }
        if self.database != 0 {
            redis::cmd("SELECT").arg(self.database).exec(connection).map_err(|error| translate(&error))?;
        }
        Ok(())
    }
}
