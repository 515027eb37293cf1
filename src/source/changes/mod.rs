//! Changes of the database, as it tells them: on a channel, or through a slot.
//!
//! ```text
//! listen       messages on a channel (LISTEN), what may have been missed, and whether messages come at all
//! slot         what a replication slot has kept: session (that looks after it), peek (a look into it), pgoutput (what the server writes), told (as messages), memory (up to where it is done)
//! tries        when a connection is tried for again
//! install      what has to be in the database for it: triggers (functions and triggers that send messages), publication (and the slot)
//! ```

mod install;
mod listen;
mod memory;
mod peek;
mod pgoutput;
mod publication;
mod session;
mod slot;
mod told;
mod tries;
mod triggers;

pub use install::{Installation, Installed, Problem, SlotFound, Table, Weight, install, remove};
pub use listen::Listener;
pub use slot::Reader;
