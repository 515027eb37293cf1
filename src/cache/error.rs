//! Translates Redis' errors into kinds, by the code that begins every error reply.

use std::error::Error as StdError;
use std::sync::Arc;

use redis::RedisError;

use crate::ground::encryption::encryption_is_refused;
use crate::ground::error::{Error, ErrorKind};

/// What to do about an error reply to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server asks for patience: the same command may succeed in a moment.
    Wait(Error),
    /// Another connection is needed: this server, or this connection, will not do it.
    Reconnect(Error),
    /// Nothing but a change by the operator helps.
    Stop(Error),
}

/// Judges an error reply by its code (`code`, such as `OOM`) and the text after it.
pub(super) fn judge(code: &str, detail: &str) -> Trouble {
    let error = |kind| Error::new(kind, format!("Redis: {code} {detail}"));
    match code {
        "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "NOREPLICAS" => {
            Trouble::Wait(error(ErrorKind::RedisUnreachable))
        }
        "READONLY" | "MASTERDOWN" | "NOSCRIPT" => Trouble::Reconnect(error(ErrorKind::RedisUnreachable)),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Trouble::Stop(error(ErrorKind::RedisRefused)),
        "OOM" | "MISCONF" => Trouble::Stop(error(ErrorKind::RedisFull)),
        "ERR" if detail.contains("max number of clients") => Trouble::Wait(error(ErrorKind::RedisUnreachable)),
        _ => Trouble::Stop(error(ErrorKind::RedisRefused)),
    }
}

/// Judges an error of the driver. The driver puts no password into its errors.
pub(super) fn translate(error: &RedisError) -> Trouble {
    if let Some(code) = error.code() {
        return judge(code, error.detail().unwrap_or_default());
    }
    match error.kind() {
        redis::ErrorKind::InvalidClientConfig => Trouble::Stop(Error::new(ErrorKind::RedisRefused, error.to_string())),
        _ if is_refusal(error) => {
            let hint = "`ca_file` in [redis] names the authority to trust";
            let hint = if error.to_string().contains("UnknownIssuer") { format!(" ({hint})") } else { String::new() };
            let message = format!("no encrypted connection to Redis: {error}{hint}");
            Trouble::Stop(Error::new(ErrorKind::RedisRefused, message))
        }
        _ if error.is_timeout() => {
            Trouble::Reconnect(Error::new(ErrorKind::RedisUnreachable, "Redis did not answer in time"))
        }
        _ if error.is_io_error() => Trouble::Reconnect(Error::new(
            ErrorKind::RedisUnreachable,
            format!("the connection to Redis broke: {error}"),
        )),
        _ => {
            Trouble::Reconnect(Error::new(ErrorKind::RedisReply, format!("Redis' answer was not understood: {error}")))
        }
    }
}

/// Whether encryption failed in a way that lasts.
fn is_refusal(error: &RedisError) -> bool {
    // The driver keeps what it was told in an `Arc`.
    let kept = error.source().and_then(|source| source.downcast_ref::<Arc<dyn StdError + Send + Sync>>());
    kept.and_then(|error| error.downcast_ref()).is_some_and(encryption_is_refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide() {
        assert!(matches!(judge("LOADING", "Redis is loading"), Trouble::Wait(_)));
        assert!(matches!(judge("READONLY", "You can't write"), Trouble::Reconnect(_)));
        assert!(matches!(judge("OOM", "command not allowed"), Trouble::Stop(Error { kind: ErrorKind::RedisFull, .. })));
        assert!(matches!(judge("NOPERM", "this user"), Trouble::Stop(Error { kind: ErrorKind::RedisRefused, .. })));
        assert!(matches!(judge("ERR", "max number of clients reached"), Trouble::Wait(_)));
    }
}
