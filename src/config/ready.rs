//! Reads `ready`, the readiness check.

use std::time::Duration;

use ganger_pool::probe::CHECK;

use super::decode::{Cx, Decode, Fields, Flaw, within};
use super::keys::{Key, Tell, keys, optional, or, required};
use super::quantity::Positive;
use super::report::Mistake;
use super::tree::Node;
use super::value::{Bytes, Count, Text};
use crate::spec::{Healthcheck, Ready};

/// The rest of the time for a check is for making the connection.
const LONGEST_LINGER: Duration = Duration::from_millis(CHECK.as_millis() as u64 / 2);
/// How often a container's health is checked by a test of the user's: engines would wait
/// 30 s for the first, which is all the time that a container has unless more is given.
const INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time that engines take.
const SHORTEST: Duration = Duration::from_millis(1);

/// A program and its arguments.
#[derive(Clone, PartialEq)]
struct Command(Vec<String>);

/// The command of an engine's health check.
#[derive(Clone, PartialEq)]
pub(super) struct Test(Vec<String>);

/// The target of an HTTP request: a path, and any query.
#[derive(Clone, PartialEq)]
pub(super) struct HttpPath(String);

/// The status of a final answer by HTTP.
#[derive(Clone, PartialEq)]
pub(super) struct HttpStatus(u16);

keys! {
    /// The keys of `Tcp`.
    TCP, TcpKeys, TCP_ROWS;
    linger: Duration = or(
        "\"50ms\"",
        "How long the port has to stay open before a container counts as ready whose first process has \
         child processes; on another machine, how long a new connection has to stay open.",
    );
}

keys! {
    /// The keys of `Exchange`.
    EXCHANGE, ExchangeKeys, EXCHANGE_ROWS;
    send: Bytes = required("\"PING\\r\\n\"", "What is sent.");
    expect: Bytes = required("\"+PONG\"", "What the answer begins with.");
}

keys! {
    /// The keys of `Http`.
    HTTP, HttpKeys, HTTP_ROWS;
    path: HttpPath = required("\"/health\"", "What is asked for.");
    status: HttpStatus = or("200", "The status of the answer.");
}

keys! {
    /// The keys of `Healthcheck`.
    HEALTHCHECK, HealthcheckKeys, HEALTHCHECK_ROWS;
    test: Test = optional("the image's", "[\"/bin/check\"]", "What the engine runs in the container.");
    interval: Positive = optional("the image's", "\"5s\"", "Between two checks; 5s with a `test`.");
    timeout: Positive = optional("the image's", "\"3s\"", "What one may take.");
    retries: Count = optional("the image's", "3", "So many in a row that fail make it unhealthy.");
    start_period: Positive =
        optional("the image's", "\"10s\"", "For how long after the start failures do not count.");
}

keys! {
    /// The keys of `Log`.
    LOGGED, LoggedKeys, LOGGED_ROWS;
    text: Text = required("\"ready to accept\"", "What a line that is printed contains.");
    times: Count = or("1", "In how many lines it has to be.");
}

// === impl Ready ===

impl Decode for Ready {
    const WHAT: &'static str = "`Tcp` or another sign of readiness";
    const TELL: Tell = Tell::Keys(&[
        ("Tcp", TCP_ROWS),
        ("Exchange", EXCHANGE_ROWS),
        ("Http", HTTP_ROWS),
        ("Healthcheck", HEALTHCHECK_ROWS),
        ("Log", LOGGED_ROWS),
    ]);

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = ["Tcp", "Banner", "Exchange", "Http", "Healthcheck", "Log", "Exec", "Started"];
        match cx.variant(node, &known)? {
            "Tcp" => cx.variant_fields(node, "`Tcp`", |f| Self::Tcp { linger: linger(f) }),
            "Banner" => Some(Self::Banner(cx.payload::<Bytes>(node)?.0)),
            "Exchange" => cx.variant_fields(node, "`Exchange`", |f| {
                let (send, expect) = (f.required(EXCHANGE.send), f.required(EXCHANGE.expect));
                Some(Self::Exchange { send: send?.0, expect: expect?.0 })
            })?,
            "Http" => cx.led_fields(node, "`Http`", &["path", "status"], |f| {
                let (path, status) = (f.required(HTTP.path), f.or(HTTP.status));
                Some(Self::Http { path: path?.0, status: status.0 })
            })?,
            "Healthcheck" => {
                cx.variant_fields(node, "`Healthcheck`", |f| Self::Healthcheck(healthcheck(f)))
            }
            "Log" => cx.led_fields(node, "`Log`", &["text"], |f| {
                let (text, times) = (f.required(LOGGED.text), f.or(LOGGED.times));
                Some(Self::Log { text: text?.0, times: times.0 })
            })?,
            "Exec" => Some(Self::Exec(cx.payload::<Command>(node)?.0)),
            _ => cx.choice(node, &[("Started", ())]).map(|()| Self::Started),
        }
    }
}

impl Ready {
    /// Why a container could not get ready within `start`: title and help.
    pub(super) fn why_too_late(&self, start: Duration) -> Option<(String, &'static str)> {
        match self {
            Self::Tcp { linger } if *linger > start / 2 => Some((
                format!("`linger` is {linger:?}, and a container has {start:?} to get ready in"),
                "make `linger` at most half of `timeouts.start`",
            )),
            Self::Healthcheck(Healthcheck { interval: Some(interval), .. })
                if *interval >= start =>
            {
                Some((
                    format!(
                        "health is checked first after {interval:?}, and a container has \
                         {start:?} to get ready in"
                    ),
                    "make `interval` less than `timeouts.start`",
                ))
            }
            _ => None,
        }
    }
}

fn linger(f: &mut Fields<'_, '_, '_>) -> Duration {
    let linger = f.or(TCP.linger);
    if let Some(place) = f.place(TCP.linger).filter(|_| linger > LONGEST_LINGER) {
        let title = format!("`linger` is longer than {LONGEST_LINGER:?}");
        let help = format!(
            "whether a container can be used again has to show within {CHECK:?}; for a service \
             that accepts before it can serve, choose another `ready`"
        );
        f.cx.report(Mistake::new(&place, title).help(help));
    }
    linger
}

fn healthcheck(f: &mut Fields<'_, '_, '_>) -> Healthcheck {
    let test = f.optional(HEALTHCHECK.test).map(|test| test.0);
    let interval = time(f, HEALTHCHECK.interval);
    Healthcheck {
        interval: interval.or_else(|| test.as_ref().map(|_| INTERVAL)),
        timeout: time(f, HEALTHCHECK.timeout),
        retries: f.optional(HEALTHCHECK.retries).map(|retries| retries.0),
        start_period: time(f, HEALTHCHECK.start_period),
        test,
    }
}

/// A time that engines accept.
fn time(f: &mut Fields<'_, '_, '_>, key: Key<Positive>) -> Option<Duration> {
    let time = f.optional(key)?.0;
    if let Some(place) = f.place(key).filter(|_| time < SHORTEST) {
        let name = key.row.name;
        let title = format!("`{name}` is shorter than {SHORTEST:?}, which no engine takes");
        f.cx.report(Mistake::new(&place, title));
    }
    Some(time)
}

// === impl Decode ===

impl Decode for Command {
    const WHAT: &'static str = "a list such as [\"pg_isready\", \"-q\"]";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        words(node, cx, Self::WHAT).map(Self)
    }
}

impl Decode for Test {
    const WHAT: &'static str = "a list such as [\"/bin/check\", \"--quick\"]";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let mut test = words(node, cx, Self::WHAT)?;
        let flaw = match (test[0].as_str(), test.len()) {
            ("NONE", _) => ("this switches the check off", "choose another `ready`"),
            ("CMD", 1) => ("there is nothing to run after \"CMD\"", "add the program"),
            ("CMD-SHELL", 1) | ("CMD-SHELL", 3..) => {
                let help = "write [\"CMD-SHELL\", \"one && another\"]";
                ("\"CMD-SHELL\" takes one line for the shell", help)
            }
            ("CMD" | "CMD-SHELL", _) => return Some(Self(test)),
            _ => {
                test.insert(0, "CMD".to_owned());
                return Some(Self(test));
            }
        };
        cx.report(Mistake::new(&node.span, flaw.0).help(flaw.1));
        None
    }
}

/// The words of a command, of which there is at least one.
fn words(node: &Node, cx: &mut Cx<'_>, what: &str) -> Option<Vec<String>> {
    let words = cx.list::<String>(node, what)?;
    if node.is_empty() {
        cx.report(Mistake::new(&node.span, "this command is empty").help(format!("write {what}")));
    }
    let first = words.first()?;
    if first.value.is_empty() {
        let mistake = Mistake::new(&first.span, "this text is empty");
        cx.report(mistake.help("it is the program that is run"));
        return None;
    }
    Some(words.into_iter().map(|word| word.value).collect())
}

impl Decode for HttpPath {
    const WHAT: &'static str = "a path such as \"/health\"";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |text: String| {
            if !text.starts_with('/') {
                let flaw = Flaw::new(format!("{text:?} is not a path: start it with `/`"));
                return Err(flaw.help("host and port are those of the service"));
            }
            match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
                Some(odd) => {
                    let title = format!("{odd:?} cannot be in a path as it is");
                    Err(Flaw::new(title).help("write it as its bytes, as in %20 for a space"))
                }
                None => Ok(Self(text)),
            }
        })
    }
}

impl Decode for HttpStatus {
    const WHAT: &'static str = "an HTTP status such as 200";
    const TELL: Tell = Tell::Whole;

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |status: i64| {
            within(status, &(200..=599)).map(|status| Self(status as u16))
        })
    }
}
