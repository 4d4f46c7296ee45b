//! Settings that have another name in a Compose file.

/// Settings of a service there, and what to write here.
const NAMES: &[(&str, &str)] = &[
    ("build", "build the image before, and name it in `image`"),
    ("cap_drop", "write `privileges: (drop: […])`, or `privileges: None`"),
    ("container_name", "leave it out: each container has a name of its own"),
    ("cpus", "write `limits: (cpus: …)`"),
    ("depends_on", "leave it out: containers do not know of each other"),
    ("deploy", "`limits` are those of a container, `warm` and `max` how many there are"),
    ("domainname", "write it in `hostname`"),
    ("environment", "write `env: {\"NAME\": \"value\"}`"),
    ("expose", "`port` is where the container listens"),
    ("healthcheck", "write `ready: Healthcheck(test: […])`"),
    ("labels", "leave it out: the labels are Ganger's"),
    ("links", "leave it out: containers do not know of each other"),
    ("logging", "leave it out: each container has a log of 1 MB"),
    ("mem_limit", "write `limits: (memory: …)`"),
    ("memory", "write `limits: (memory: …)`"),
    ("network_mode", "write `network`: `Sealed` for none, `Bridge` for the engine's own"),
    ("networks", "write `network: Named(\"net\")`"),
    ("pids_limit", "write `limits: (pids: …)`"),
    ("platform", "leave it out: the daemon's is taken"),
    ("ports", "`port` is where the container listens, `listen` where clients connect"),
    ("privileged", "name what it needs: `privileges: (add: […])`, `devices`"),
    ("pull_policy", "write `pull`"),
    ("replicas", "`warm` is how many wait for clients, `max` how many there are at most"),
    ("restart", "leave it out: a container that ends is replaced"),
    ("scale", "`warm` is how many wait for clients, `max` how many there are at most"),
    ("secrets", "write them in `env` or `env_file`, or mount a file by `mounts`"),
    ("security_opt", "`no_new_privileges` is on; `false` turns it off"),
    ("stdin_open", "leave it out: clients talk to its port"),
    ("stop_grace_period", "leave it out: a container whose client has left is killed"),
    ("stop_signal", "leave it out: a container whose client has left is killed"),
    ("tty", "leave it out: clients talk to its port"),
];

/// The advice for a setting that a service has in a Compose file.
pub(super) fn pointer(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, instead)| *instead)
}
