//! The keys of a service.

use std::net::SocketAddr;
use std::time::Duration;

use super::groups::{
    CLIENT_ROWS, CONNECT_ROWS, Client, LIMITS_ROWS, QUEUE_ROWS, Queue, TIMEOUTS_ROWS, Timeouts,
};
use super::machine::{Devices, VOLUME_ROWS, Volumes};
use super::parts::{EnvFile, MOUNT_ROWS, MemoryFiles, Mounts, ProgramArguments, User, Variables};
use super::privileges::{Capabilities, PRIVILEGES_ROWS, Privileges};
use super::system::{HostName, Hosts, NameServers, Sysctls, ULIMIT_ROWS, Ulimits};
use super::warm::{AUTO_ROWS, Warm};
use crate::config::decode::Decode;
use crate::config::image::ImageRef;
use crate::config::keys::{keys, optional, or, required};
use crate::config::name::Name;
use crate::config::quantity::Size;
use crate::config::value::{AbsolutePath, Containers, Port, Share};
use crate::spec::{
    Connect, Gpus, Limits, Network, Preconnect, Publish, Pull, Reach, Ready, Sandbox, Secrets,
    StockedAs,
};

keys! {
    /// The keys of a service.
    SERVICE, ServiceKeys, SERVICE_ROWS;
    listen: SocketAddr = required(
        "\"127.0.0.1:5454\"",
        "Where clients connect. \"[::]:5454\" is every address, of IPv4 and IPv6; port 0 lets the \
         system choose.",
    );
    image: ImageRef = required(
        "\"ganger.local/echo:1\"",
        "The image of its containers; `:latest` without tag or digest. ganger.local/echo:1 is part of \
         Ganger.",
    );
    port: Port = required("7000", "The TCP port that its containers listen on.");
    reuse: u32 = or(
        "0",
        "How often a container is leased again after its first lease. 0 is strict: a fresh container \
         for every connection.",
    );
    warm: Warm = or(
        "1",
        "Ready containers that are kept ahead of demand, spread over the least utilised daemons. 0 is classic: a \
         container is launched when a client connects. `Auto(hit_rate: 0.999)` learns from the demand.",
    )
    .example("2")
    .see("See [a stock that sizes itself](services.md#a-stock-that-sizes-itself).")
    .of(AUTO_ROWS);
    max: Containers = or(
        "16",
        "The most containers of this service over all daemons, with those being launched and removed.",
    );
    max_age: Duration = optional(
        "no limit",
        "\"1h\"",
        "Containers that are older are retired, each up to a tenth of it earlier, so that not all go at \
         once.",
    );
    overdue_after: Duration = optional(
        "never",
        "\"24h\"",
        "The age from which anybody may remove a container, be it another Ganger or a script. It needs \
         `timeouts.session`.",
    )
    .see("See [start, stop, crash](operation.md#start-stop-crash).");
    surplus_after: Duration = or("\"30s\"", "How long ready containers beyond `warm` are kept.");
    stale_after: Duration = or(
        "\"30s\"",
        "While a daemon does not answer: how long a container in stock there is leased after it was \
         last seen to serve. \"0s\" leases none.",
    )
    .see(
        "Ganger talks to the container again each time that this is over; on another machine, where \
         its port is all that can be asked, it is leased for this long in all.",
    );
    max_surge: Containers = or(
        "1",
        "How many containers there may be above what is wanted while a reload changes what they run.",
    );
    canary: Share = optional(
        "none",
        "0.1",
        "The share of connections, at most 0.5, that a changed service gets before it takes over.",
    )
    .see("See [reload](operation.md#reload).");
    queue: Queue = or("()", "Clients that wait when no container is free.")
        .see("See [queueing](services.md#queueing-and-refusal).")
        .of(QUEUE_ROWS);
    ready: Ready = or(
        "Tcp",
        "What shows that a container can serve: Tcp(linger: \"50ms\"), Banner(\"SSH-\"), Exchange(send: \"PING\\r\\n\", \
         expect: \"+PONG\"), Http(\"/health\", status: 200), Healthcheck (the image's, or with `test:`), \
         Log(\"ready to accept\", times: 1), Exec([\"pg_isready\"]), Started.",
    )
    .see("See [readiness](services.md#readiness).");
    connect: Connect = or("()", "Reaching a container.")
        .see("See [failures](operation.md#failures).")
        .of(CONNECT_ROWS);
    client: Client = or("()", "The client's connection.").of(CLIENT_ROWS);
    timeouts: Timeouts = or("()", "How long things may take.")
    .of(TIMEOUTS_ROWS);
    pull: Pull = or(
        "IfMissing",
        "When the image is fetched. `Always` pulls it once on each daemon after each start of Ganger.",
    );
    watch_image: Duration = optional(
        "off",
        "\"10m\"",
        "How often Ganger asks whether the image's tag has moved in its registry. Then it switches over.",
    );
    limits: Limits = or("()", "What a container may use.")
    .of(LIMITS_ROWS);
    network: Network = or(
        "Isolated",
        "What a container can reach. `Isolated`: the Internet and the daemon's machine, and no other \
         container. `Bridge`: Docker's default network. `Sealed`: nothing (Ganger has to be root then). \
         `Named(\"net\")`: a network of yours.",
    );
    reach: Reach = or(
        "Auto",
        "How Ganger reaches a container. `Namespace` publishes no port, and needs root and a daemon on \
         this machine; `Published` publishes one.",
    );
    preconnect: Preconnect = or(
        "Off",
        "Whether a connection into a container is made ahead: `Tcp`, or `Banner` for a service that \
         speaks first.",
    )
    .see("See [connections made ahead](services.md#connections-made-ahead).");
    sandbox: Sandbox = or(
        "Fresh",
        "`Pooled`: containers join network namespaces that are kept ready. It needs `read_only: true`. \
         `Cell`: a runtime makes them without the engine, in milliseconds. It needs `network: Sealed`.",
    )
    .see("See [network sandboxes](services.md#network-sandboxes) and [cells](services.md#cells).");
    stock: StockedAs = or(
        "Started",
        "How far containers in stock are. `Created`: they are made, and the lease starts their command, in \
         some milliseconds; so they take no processor time and little memory. It needs `sandbox: Cell`, \
         `ready: Tcp` and `preconnect: Off`.",
    )
    .see("See [cells created ahead](services.md#cells-created-ahead).");
    publish: Publish = or(
        "Own",
        "Where a port is published: loopback, or the daemon's `publish_on`. `Any` is all addresses, so \
         that everybody gets past the proxy.",
    );
    command: ProgramArguments =
        optional("the image's", "[\"/echo\"]", "What the container runs instead of the image's command.");
    entrypoint: ProgramArguments = optional(
        "the image's",
        "[\"/bin/server\"]",
        "The program, in place of the image's entrypoint; the image's command is not used then either.",
    );
    working_dir: AbsolutePath =
        optional("the image's", "\"/srv\"", "The directory that the program is started in.");
    env: Variables = or("{}", "Environment, besides the image's.").example("{\"KEY\": \"value\"}");
    env_file: EnvFile = optional(
        "none",
        "\"service.env\"",
        "A file with lines KEY=value, read with the configuration and as `docker run --env-file` reads it; `env` \
         goes before it. Paths are relative to the file that they stand in.",
    );
    user: User = optional("the image's", "\"65534:65534\"", "USER or USER:GROUP.");
    hostname: HostName = optional("its id", "\"db\"", "The container's host name.");
    init: bool = or(
        "false",
        "A small init is process 1: it reaps orphans and passes signals on to the program.",
    );
    shm_size: Size = optional(
        "64MiB",
        "\"256MiB\"",
        "The size of /dev/shm, which counts towards `limits.memory`.",
    );
    ulimits: Ulimits = or(
        "{}",
        "Limits of each process, by setrlimit(2): a number, or `soft` and `hard`; -1 is no limit.",
    )
    .example("{\"nofile\": 4096}")
    .of(ULIMIT_ROWS);
    sysctls: Sysctls = or("{}", "Kernel parameters that a container has of its own.")
        .example("{\"net.core.somaxconn\": 1024}");
    dns: NameServers = or("[]", "Name servers in place of the engine's.").example("[\"192.0.2.53\"]");
    extra_hosts: Hosts = or(
        "{}",
        "Lines of /etc/hosts: name and address; `host-gateway` is the address of the daemon's machine.",
    )
    .example("{\"db\": \"192.0.2.7\"}");
    runtime: Name =
        optional("the daemon's", "\"runsc\"", "An OCI runtime that the daemon knows, such as `runsc`.");
    read_only: bool = or("false", "The root file system cannot be written.");
    tmpfs: MemoryFiles = or(
        "{}",
        "File systems in memory, with their mount options. What is in them counts towards \
         `limits.memory`.",
    )
    .example("{\"/tmp\": \"size=16m\"}");
    mounts: Mounts = or("[]", "What a container sees of the daemon's machine.")
        .example("[(source: \"/srv/data\", target: \"/data\", read_only: true)]")
        .of(MOUNT_ROWS);
    volumes: Volumes = or(
        "{}",
        "Volumes of the engine, by their paths: one that is absent is made, and stays. All containers of the \
         service share it, and what one client writes to it the next one reads.",
    )
    .example("{\"/cache\": \"npm-cache\"}")
    .of(VOLUME_ROWS);
    secrets: Secrets = or(
        "{}",
        "Files in memory that a container has in /run/secrets and cannot write: name, and a file of Ganger's \
         machine, by a path relative to this one, read with the configuration. They are in no environment, and not shown by `docker \
         inspect`.",
    )
    .example("{\"db-password\": \"db-password\"}")
    .see("See [secrets](security.md#secrets).");
    storage: Size = optional(
        "no limit",
        "\"1GiB\"",
        "How much a container may write to its own file system. The daemon's storage driver has to know \
         limits: overlay2 does on XFS with project quotas.",
    );
    devices: Devices = or("[]", "Devices of the daemon's machine: HOST, HOST:CONTAINER or HOST:CONTAINER:RIGHTS.")
        .example("[\"/dev/kvm\"]");
    gpus: Gpus = optional(
        "none",
        "All",
        "GPUs of the daemon's machine, which needs the container toolkit of its vendor.",
    );
    privileges: Privileges = or(
        "Standard",
        "What its processes may do. `Standard` is what images need that start as root and change user. \
         `None` is no capability at all, which is enough for the echo: leave the key out for most other images.",
    )
    .example("None")
    .see("See [security](security.md#privileges).")
    .of(PRIVILEGES_ROWS);
    cap_add: Capabilities =
        or("[]", "More capabilities: the short form of `privileges: (add: …)`, also beside `None`.")
            .example("[\"SYS_NICE\"]");
    no_new_privileges: bool = or(
        "true",
        "No program gains rights by being started: set-user-id programs such as `sudo` do not work.",
    );
}
