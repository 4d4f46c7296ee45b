//! `overdue_after`: the deadline after which anybody may remove a container, and the last
//! moment before it for a lease.

use std::time::Duration;

use super::Service;
use super::groups::Timeouts;
use crate::config::decode::Fields;
use crate::config::keys::Key;
use crate::config::report::Mistake;
use crate::spec::Connect;

/// From the moment at which a deadline is worked out until the container is created and
/// started takes 50 s at the most. The rest is for clocks that are put right meanwhile.
const LAUNCH: Duration = Duration::from_secs(120);
/// The least time in which a container may be leased.
const LEAST: Duration = Duration::from_secs(1);

/// Reads `overdue_after`. No container may be in use when its deadline passes: every
/// session has to end, and a last one has to fit in before.
pub(super) fn overdue_after(
    f: &mut Fields<'_, '_, '_>,
    key: Key<Duration>,
    timeouts: Option<&Timeouts>,
    connect: &Connect,
) -> Option<Duration> {
    let after = f.optional(key)?;
    let place = f.place(key);
    // Unreadable settings were reported.
    if let Some(timeouts) = timeouts {
        let mistake = match in_use(timeouts.start, connect, timeouts.session) {
            None => Some((
                "`overdue_after` needs an end of every session".to_owned(),
                "add `timeouts: (session: \"1h\")`: no container is leased that may be in use when \
                 its deadline passes"
                    .to_owned(),
            )),
            Some(in_use) if after < in_use + LEAST => Some((
                format!(
                    "`overdue_after` is {}, too soon for one session",
                    humantime::format_duration(after)
                ),
                format!(
                    "make it more than {}: `timeouts.session`, `timeouts.start`, \
                     `connect.timeout` and 2 minutes",
                    humantime::format_duration(in_use)
                ),
            )),
            Some(_) => None,
        };
        if let (Some((title, help)), Some(place)) = (mistake, place) {
            f.cx.report(Mistake::new(&place, title).help(help));
        }
    }
    Some(after)
}

/// From the moment at which its deadline is worked out, how long a container can be in
/// use besides its age; `None` for ever.
pub(super) fn in_use(
    start: Duration,
    connect: &Connect,
    session: Option<Duration>,
) -> Option<Duration> {
    Some(LAUNCH + start + connect.timeout + session?)
}

/// The age, from when it was ready, at which a container is retired: `max_age`, or so early that
/// none is leased when its deadline passes. `None` for no limit.
pub(super) fn retire_after(
    max_age: Option<Duration>,
    overdue_after: Option<Duration>,
    in_use: Option<Duration>,
) -> Option<Duration> {
    let deadline = overdue_after.zip(in_use);
    let until_deadline = deadline.map(|(after, in_use)| after.saturating_sub(in_use));
    max_age.into_iter().chain(until_deadline).min()
}

// === impl Service ===

impl Service {
    /// Whether containers that were launched under `before` are sure to be retired before
    /// their deadline when leased under this. Either `max_age` may apply to them.
    #[must_use]
    pub fn keeps_deadlines_of(&self, before: &Self) -> bool {
        let Some(deadline) = before.spec.overdue_after else { return true };
        let (Some(old), Some(new)) = (before.policy.max_age, self.policy.max_age) else {
            return false;
        };
        self.in_use().is_some_and(|in_use| old.max(new) + in_use <= deadline)
    }

    fn in_use(&self) -> Option<Duration> {
        in_use(self.start_timeout, &self.session.connect, self.session.session_timeout)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;

    /// A service that starts in 20 s, connects in 10 s and is in use for an hour, so that
    /// with 2 min for the launch a container is retired an hour and 150 s before its deadline.
    fn service(settings: &str, session: &str) -> Service {
        let text = format!(
            "(daemons: Static([(name: \"d\", url: \"unix:///d.sock\", max_containers: 99)]),
              services: {{\"s\": (listen: \"127.0.0.1:1\", image: \"i:1\", port: 1,
                timeouts: (start: \"20s\", session: {session:?}), connect: (timeout: \"10s\"),
                {settings})}})"
        );
        Config::parse(&text, "test").unwrap().services.remove(0)
    }

    #[test]
    fn a_container_is_retired_so_early_that_its_last_session_ends_in_time() {
        let retired = |settings| service(settings, "1h").policy.max_age.map(|age| age.as_secs());
        assert_eq!(retired("max_age: \"3h\""), Some(3 * 3600));
        assert_eq!(retired("overdue_after: \"2h\""), Some(3600 - 150));
        assert_eq!(retired("overdue_after: \"3751s\""), Some(1));
        assert_eq!(retired("overdue_after: \"6h\", max_age: \"3h\""), Some(3 * 3600));
    }

    #[test]
    fn a_reload_may_not_lease_containers_past_their_deadline() {
        let (two, six) = ("overdue_after: \"2h\"", "overdue_after: \"6h\"");
        let young = "overdue_after: \"6h\", max_age: \"50m\"";
        for (before, after, keeps) in [
            (("", "1h"), (two, "1h"), true),
            (("", "0s"), ("", "0s"), true),
            ((two, "1h"), (two, "1h"), true),
            ((six, "1h"), (two, "1h"), true),
            ((two, "1h"), (two, "1m"), true),
            ((two, "1m"), (two, "1h"), false),
            ((two, "1h"), (six, "1h"), false),
            ((two, "1h"), (young, "1h"), true),
            ((two, "1h"), ("max_age: \"50m\"", "1h"), true),
            ((two, "1h"), ("max_age: \"50m\"", "0s"), false),
            ((two, "1h"), ("", "1h"), false),
        ] {
            let (old, new) = (service(before.0, before.1), service(after.0, after.1));
            assert_eq!(new.keeps_deadlines_of(&old), keeps, "{before:?} {after:?}");
        }
    }
}
