//! How the operating system shares the processor between us and others.

/// Lets Redis, PostgreSQL and the application go first where they run on the same machine: the threads that this one starts do not interrupt others when
/// they wake up, but wait until it is their turn (`SCHED_BATCH`: sched(7)). They get the same share of the processor as before. Whoever has chosen another
/// policy (`chrt`, `CPUSchedulingPolicy=`) knows better, and where there is no such policy or no right to choose it, nothing changes.
#[cfg(target_os = "linux")]
pub(super) fn give_way() {
    use rustix::process::getpriority_process;
    use thread_priority::ThreadPriority;
    use thread_priority::unix::{
        NormalThreadSchedulePolicy::{Batch, Other},
        ThreadSchedulePolicy::Normal,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

    if thread_schedule_policy() != Ok(Normal(Other)) {
        return;
    }
    // The library sets niceness, too, on a scale of its own: the place on it is wanted that changes nothing.
    let Ok(niceness) = getpriority_process(None) else { return };
    let scale = (0..=99u8).filter_map(|place| ThreadPriority::try_from(place).ok());
    let unchanged = scale.into_iter().find(|place| place.to_posix(Normal(Batch)) == Ok(niceness));
    if let Some(unchanged) = unchanged {
        let _ = set_thread_priority_and_policy(thread_native_id(), unchanged, Normal(Batch));
    }
}

/// There is no such policy here.
#[cfg(not(target_os = "linux"))]
pub(super) fn give_way() {}
