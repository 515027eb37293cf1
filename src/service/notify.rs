//! What the service manager is told, if there is one (`$NOTIFY_SOCKET`, see sd_notify(3)).

use sd_notify::{NotifyState, notify};

/// Says that the service has begun its work.
pub(super) fn ready() {
    say(&[NotifyState::Ready]);
}

/// Says that the configuration is read again; [`ready`] says that this is over.
pub(super) fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        say(&[NotifyState::Reloading, now]);
    }
}

/// Says that the service is about to end.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub(super) fn status(line: &str) {
    say(&[NotifyState::Status(line)]);
}

/// Says that the service is alive.
pub(super) fn alive() {
    say(&[NotifyState::Watchdog]);
}

fn say(state: &[NotifyState<'_>]) {
    // Without a service manager, or with one that does not listen, nobody needs to know.
    let _ = notify(state);
}
