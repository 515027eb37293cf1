//! Changes of the database, as it tells them.
//!
//! ```text
//! listen    messages on a channel (LISTEN), what may have been missed, and whether messages come at all
//! triggers  the functions and triggers that send them
//! ```

mod listen;
mod triggers;

pub use listen::Listener;
pub use triggers::{Installed, Triggers, install, remove};
