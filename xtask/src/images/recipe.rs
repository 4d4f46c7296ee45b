//! The recipes of images: stock services as Debian packages them, with start scripts that do what
//! those of the official images do.

/// The recipe of one image.
#[derive(Debug)]
pub(super) struct Recipe {
    /// The NAME in the reference `ganger.test/NAME:1`.
    pub(super) name: &'static str,
    pub(super) packages: &'static [&'static str],
    /// Files beside those of the packages: path, whether it is a program, content.
    pub(super) files: &'static [(&'static str, bool, &'static str)],
    /// A script that is run in it as root, once its files are there.
    pub(super) setup: &'static str,
    pub(super) entrypoint: &'static [&'static str],
    pub(super) command: &'static [&'static str],
    pub(super) env: &'static [&'static str],
    pub(super) user: &'static str,
    pub(super) working_dir: &'static str,
    pub(super) port: u16,
    /// Directories that every container has a volume of its own for.
    pub(super) volumes: &'static [&'static str],
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const START: &str = "/usr/local/bin/start";

/// The fields that most recipes share.
const PLAIN: Recipe = Recipe {
    name: "",
    packages: &[],
    files: &[],
    setup: "",
    entrypoint: &[START],
    command: &[],
    env: &[PATH],
    user: "",
    working_dir: "/",
    port: 0,
    volumes: &[],
};

/// Includes a file of the image `$name`.
macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../images/", $name))
    };
}

/// All recipes.
pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "postgres",
        packages: &["postgresql-15"],
        files: &[(START, true, file!("postgres/start"))],
        setup: "ln -s /usr/lib/postgresql/15/bin/* /usr/local/bin/ 2> /dev/null || true
                rm -rf /var/lib/postgresql/*",
        command: &["postgres", "-c", "listen_addresses=*"],
        env: &[PATH, "PGDATA=/var/lib/postgresql/data"],
        port: 5432,
        volumes: &["/var/lib/postgresql/data"],
        ..PLAIN
    },
    Recipe {
        name: "mariadb",
        packages: &["mariadb-server"],
        files: &[(START, true, file!("mariadb/start"))],
        setup: "rm -rf /var/lib/mysql/* && rm -f /etc/mysql/mariadb.conf.d/50-server.cnf",
        command: &["mariadbd", "--bind-address=0.0.0.0"],
        port: 3306,
        volumes: &["/var/lib/mysql"],
        ..PLAIN
    },
    Recipe {
        name: "redis",
        packages: &["redis-server"],
        files: &[(START, true, file!("redis/start"))],
        setup: "mkdir -p /data && chown redis:redis /data",
        command: &["redis-server", "--protected-mode", "no"],
        working_dir: "/data",
        port: 6379,
        volumes: &["/data"],
        ..PLAIN
    },
    Recipe {
        name: "nginx",
        packages: &["nginx-light"],
        setup: "ln -sf /dev/stdout /var/log/nginx/access.log
                ln -sf /dev/stderr /var/log/nginx/error.log",
        entrypoint: &[],
        command: &["nginx", "-g", "daemon off;"],
        port: 80,
        ..PLAIN
    },
    Recipe {
        name: "openssh",
        packages: &["openssh-server"],
        files: &[(START, true, file!("openssh/start"))],
        setup: "rm -f /etc/ssh/ssh_host_*_key* && useradd --create-home --shell /bin/sh player",
        port: 22,
        ..PLAIN
    },
    Recipe {
        name: "memcached",
        packages: &["memcached"],
        entrypoint: &[],
        command: &["memcached", "-l", "0.0.0.0"],
        user: "memcache",
        port: 11211,
        ..PLAIN
    },
    Recipe {
        name: "smtp",
        packages: &["opensmtpd"],
        files: &[
            (START, true, file!("smtp/start")),
            ("/etc/smtpd.conf", false, file!("smtp/smtpd.conf")),
        ],
        port: 25,
        ..PLAIN
    },
    Recipe {
        name: "tomcat",
        packages: &["tomcat10"],
        files: &[(START, true, file!("tomcat/start"))],
        command: &["/usr/share/tomcat10/bin/catalina.sh", "run"],
        env: &[
            PATH,
            "CATALINA_HOME=/usr/share/tomcat10",
            "CATALINA_BASE=/var/lib/tomcat10",
            "JAVA_HOME=/usr/lib/jvm/default-java",
        ],
        port: 8080,
        ..PLAIN
    },
    Recipe {
        name: "ctf",
        packages: &["socat"],
        files: &[("/challenge", true, file!("ctf/challenge"))],
        entrypoint: &[],
        command: &["socat", "TCP-LISTEN:7000,reuseaddr,fork", "EXEC:/challenge"],
        user: "nobody",
        port: 7000,
        ..PLAIN
    },
];
