use super::*;

const LIFE: Duration = Duration::from_secs(1800);
const HALF_LIFE: Duration = Duration::from_secs(7200);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn key(name: &str) -> Arc<[u8]> {
    Arc::from(name.as_bytes())
}

fn names(wanted: &[Wanted]) -> Vec<String> {
    wanted.iter().map(|wanted| String::from_utf8_lossy(&wanted.key).into_owned()).collect()
}

fn demand() -> Demand {
    Demand::new(100, HALF_LIFE, LIFE, at(0))
}

#[test]
fn what_is_missed_most_is_wanted_most_and_the_rate_is_that_of_the_time_watched() {
    let mut demand = demand();
    for minute in 0..60 {
        demand.missed(b"often", at(minute * 60));
        if minute % 6 == 0 {
            demand.missed(b"seldom", at(minute * 60 + 1));
        }
    }
    let wanted = demand.wanted(5, at(3600));
    assert_eq!(names(&wanted), ["often", "seldom"]);
    assert!((wanted[0].per_hour - 60.0).abs() < 1.0, "{wanted:?}");
    assert!((wanted[1].per_hour - 10.0).abs() < 1.0, "{wanted:?}");
    assert!((demand.per_hour(at(3600)) - 70.0).abs() < 2.0);
    assert_eq!(names(&demand.wanted(1, at(3600))), ["often"]);
}

#[test]
fn whether_the_application_fills_keys_itself_is_told_by_when_they_are_missed_again() {
    let mut fills = demand();
    (0..5).for_each(|n| fills.missed(b"a", at(n * 1900)));
    assert_eq!(fills.fills(), Some(true));
    let mut does_not = demand();
    (0..5).for_each(|n| does_not.missed(b"a", at(n * 60)));
    assert_eq!(does_not.fills(), Some(false));
    let mut seldom = demand();
    let mut random = fastrand::Rng::with_seed(7);
    for key in 0..100_u8 {
        let mut now = 0.0;
        while now < 20.0 * 3600.0 {
            now -= (1.0 - random.f64()).ln() * 3600.0;
            seldom.missed(&[key], at(now as i64));
        }
    }
    assert_eq!(seldom.fills(), Some(false), "keys that are read once in two lives");
    let mut at_once = demand();
    (0..5).for_each(|_| at_once.missed(b"a", at(7)));
    assert_eq!(at_once.fills(), None, "five readers at once tell nothing");
}

/// Keys that nobody but `warm` writes: `hot` is missed once a minute for an hour, then it is warmed; `mild` is missed all the time.
fn warmed() -> Demand {
    let mut demand = demand();
    for minute in 0..60 {
        demand.missed(b"hot", at(minute * 60));
        if minute % 10 == 0 {
            demand.missed(b"mild", at(minute * 60 + 5));
        }
    }
    demand.warmed(&[key("hot")], at(3600));
    demand
}

fn go_on(demand: &mut Demand, hours: std::ops::Range<i64>, look: impl Fn() -> Option<Duration>) {
    for hour in hours {
        for minute in 0..60 {
            let now = at(hour * 3600 + minute * 60);
            if minute % 10 == 0 {
                demand.missed(b"mild", now + TimeDelta::seconds(5));
            }
            if minute % 20 == 19 {
                demand.looked(b"hot", look(), now);
                demand.warmed(&[key("hot")], now);
            }
        }
    }
}

#[test]
fn a_warmed_key_that_nobody_misses_is_not_forgotten_as_long_as_it_is_read() {
    let mut demand = warmed();
    go_on(&mut demand, 1..13, || Some(Duration::from_secs(60)));
    let wanted = demand.wanted(2, at(13 * 3600));
    assert_eq!(names(&wanted), ["hot", "mild"]);
    assert!((wanted[0].per_hour - 60.0).abs() < 15.0, "{wanted:?}");
}

#[test]
fn a_warmed_key_that_nobody_reads_any_more_is_left_out_soon() {
    let mut demand = warmed();
    go_on(&mut demand, 1..2, || Some(Duration::from_secs(1200)));
    assert_eq!(names(&demand.wanted(1, at(2 * 3600))), ["mild"]);
}

#[test]
fn a_key_of_which_nobody_can_say_anything_is_tried_again_by_its_misses() {
    let mut demand = warmed();
    // It lived for half an hour and then nobody came: for two hours and a half.
    let cold = demand.wanted(2, at(4 * 3600));
    let hot = cold.iter().find(|wanted| *wanted.key == *b"hot").expect("still followed");
    assert!(hot.per_hour < 1.0, "{cold:?}");
    for minute in 0..60 {
        demand.missed(b"hot", at(4 * 3600 + minute * 60));
    }
    assert_eq!(names(&demand.wanted(1, at(5 * 3600))), ["hot"]);
}

#[test]
fn who_is_left_out_is_followed_for_a_while_and_then_counted_as_all_others() {
    let mut demand = warmed();
    demand.warmed(&[key("mild")], at(4000));
    assert_eq!(demand.warm().collect::<Vec<_>>(), [&key("mild")]);
    assert!(demand.followed.contains_key(&key("hot")));
    demand.warmed(&[key("mild")], at(4001 + 2 * 7200));
    assert!(!demand.followed.contains_key(&key("hot")));
}

#[test]
fn what_is_followed_is_bounded() {
    let mut demand = Demand::new(10, HALF_LIFE, LIFE, at(0));
    for n in 0..50_u8 {
        demand.missed(&[n], at(i64::from(n)));
        demand.warmed(&[Arc::from(&[n][..]), Arc::from(&[n, n][..])], at(i64::from(n)));
    }
    assert_eq!(demand.followed.len(), 4);
    assert!(demand.keys() <= 10 && demand.bytes() < 4000, "{}", demand.bytes());
}

#[test]
fn reads_are_estimated_without_bias_whatever_the_rate() {
    for per_hour in [0.5_f64, 5.0, 50.0, 500.0] {
        let mut random = fastrand::Rng::with_seed(7);
        let mut reads = Reads::new(20.0, Duration::from_secs(3600 * 24 * 20), at(0));
        let steps = 2000;
        for step in 1..=steps {
            let idle = -(1.0 - random.f64()).ln() / per_hour * 3600.0;
            let now = at(step * 600);
            reads.looked(Some(Duration::from_secs_f64(idle.min(600.0))), now);
            reads.warmed(Duration::from_secs(1200), now);
        }
        let found = reads.per_hour(at(steps * 600));
        assert!((found / per_hour - 1.0).abs() < 0.1, "{per_hour}: {found}");
    }
}
