//! Several observers as one: each hears every event, in their order.

use std::sync::Arc;

use crate::ground::event::{Event, Observer};

/// Hands each event to all of these.
pub struct Several(pub Vec<Arc<dyn Observer>>);

impl Observer for Several {
    fn on(&self, event: &Event<'_>) {
        self.0.iter().for_each(|observer| observer.on(event));
    }
}
