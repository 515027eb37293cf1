//! What makes somebody look.

use std::time::{Duration, Instant};

use warm::triggers::Heartbeat;

#[tokio::test]
async fn it_beats_about_once_a_second() {
    let mut heart = Heartbeat::start().await;
    let start = Instant::now();
    for _ in 0..4 {
        heart.next().await;
    }
    assert!((Duration::from_secs(2)..Duration::from_secs(8)).contains(&start.elapsed()), "{:?}", start.elapsed());
}
