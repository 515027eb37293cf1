//! Which failures of encryption are worth another try. Both drivers encrypt with rustls and hand its errors through.

use std::io;

use rustls::AlertDescription as Alert;

/// Whether encryption failed in a way that lasts: we refuse the other side's certificate, or it refuses ours or our ways to encrypt. A
/// message that was damaged on its way, or a connection that broke, may pass.
pub fn encryption_is_refused(error: &io::Error) -> bool {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => true,
        Some(rustls::Error::AlertReceived(alert)) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::HandshakeFailure
                | Alert::ProtocolVersion
                | Alert::UnknownCA
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_from_what_passes() {
        let judge = |error| encryption_is_refused(&io::Error::new(io::ErrorKind::InvalidData, error));
        assert!(judge(rustls::Error::InvalidCertificate(rustls::CertificateError::Expired)));
        assert!(judge(rustls::Error::AlertReceived(Alert::CertificateRequired)));
        assert!(!judge(rustls::Error::AlertReceived(Alert::BadRecordMac)));
        assert!(!judge(rustls::Error::DecryptError));
        assert!(!encryption_is_refused(&io::ErrorKind::UnexpectedEof.into()));
    }
}
