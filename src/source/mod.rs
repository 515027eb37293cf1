//! The source: rows from PostgreSQL.
//!
//! A live application uses the same database, so the source is a guest: it opens at most the configured number of
//! connections, reads in read-only transactions, and gives every statement a time-out.
//!
//! Every query runs inside `BEGIN … COMMIT` on statements prepared in that same transaction. This is what keeps it right behind a
//! transaction pooler such as PgBouncer: there, two round trips outside a transaction may reach two different
//! servers, and the second would execute somebody else's statement and return somebody else's rows. It is also why session
//! settings are `SET LOCAL` and never start-up parameters.

mod ahead;
mod barrier;
mod blame;
mod catalog;
pub mod changes;
mod connections;
mod encryption;
mod error;
mod keeper;
mod lag;
mod lease;
mod load;
mod look;
mod ranges;
mod rows;
mod snapshot;
mod statement;
pub mod types;
mod url;

pub use barrier::{Barrier, Doubt};
pub use catalog::{Account, Changing};
pub use connections::{Postgres, State};
pub use lag::Marks;
pub use lease::{Acquired, Holder, LOST_AFTER, Lease, Leases};
pub use load::Load;
pub use look::Look;
pub use rows::{Rows, SourceRow};
pub use snapshot::Snapshot;
pub use statement::{Argument, Statement};
pub use url::{Target, UrlError};
