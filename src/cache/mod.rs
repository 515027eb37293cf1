//! The cache: entries into Redis, and what is there already.
//!
//! Writing is done by one thread on one blocking connection with a window of batches in flight. Redis executes commands on a single
//! thread, so more connections would not be faster, and they would hurt the application's readers; a blocking
//! connection is the cheapest way to keep that one thread busy. Another thread watches, between runs, whether what was written is still there.

mod compare;
mod connect;
mod error;
mod figures;
mod flight;
mod fresh;
mod idle;
mod inspect;
mod invalidate;
mod loss;
mod memory;
mod misses;
mod pace;
mod pipeline;
mod presence;
mod queue;
mod rate;
mod reader;
mod resp;
mod retract;
mod scan;
mod scripts;
mod served;
mod session;
mod state;
mod strategy;
mod tally;
mod traces;
mod typed;
mod uses;
mod watch;
mod writer;

pub use connect::Redis;
pub use inspect::{Inspection, NO_JSON, RefusedType, Rights, Unseen, Withheld};
pub use invalidate::{Act, Halt, Invalidated};
pub use memory::KEY_OVERHEAD;
pub use misses::{Ear, Heard, Misses, OwnKey};
pub use reader::{Live, Reader};
pub use retract::Ours;
pub use served::{Epoch, Served};
pub use state::KeyState;
pub use strategy::Policy;
pub use tally::Tally;
pub use uses::{Depth, Traced, Uses};
pub use watch::{WATCH_INTERVAL, Watch};
pub use writer::Writer;
