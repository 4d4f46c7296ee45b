//! What shows that a container can serve.

use std::time::Duration;

use ganger_pool::probe::CHECK;

use super::decode::{Cx, Decode, Fields, Flaw, Spanned, within};
use super::quantity::Positive;
use super::report::Mistake;
use super::tree::Node;
use super::value::{Bytes, Count, Text};
use crate::spec::{Healthcheck, Ready};

/// Of the time for a check the rest is for making the connection.
const LONGEST_LINGER: Duration = Duration::from_millis(CHECK.as_millis() as u64 / 2);
/// How often a container's health is checked by a test of the user's: engines would wait
/// 30 s for the first, which is all the time that a container has unless more is given.
const INTERVAL: Duration = Duration::from_secs(5);
/// What engines take for a time at the least.
const SHORTEST: Duration = Duration::from_millis(1);

/// A program and its arguments.
struct Command(Vec<String>);

/// What an engine runs to check a container's health.
struct Test(Vec<String>);

/// What is asked for by HTTP: a path, and a query if need be.
struct Path(String);

/// The status of a final answer by HTTP.
struct Status(u16);

// === impl Ready ===

impl Decode for Ready {
    const WHAT: &'static str = "`Tcp` or another sign of readiness";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        let known = ["Tcp", "Banner", "Exchange", "Http", "Healthcheck", "Log", "Exec", "Started"];
        match cx.variant(node, &known)? {
            "Tcp" => cx.variant_fields(node, "`Tcp`", |f| {
                linger(f).map_or_else(Self::default, |linger| Self::Tcp { linger })
            }),
            "Banner" => Some(Self::Banner(cx.payload::<Bytes>(node)?.0)),
            "Exchange" => cx.variant_fields(node, "`Exchange`", |f| {
                let send = f.required::<Bytes>("send");
                let expect = f.required::<Bytes>("expect");
                Some(Self::Exchange { send: send?.0, expect: expect?.0 })
            })?,
            "Http" => cx.led_fields(node, "`Http`", &["path", "status"], |f| {
                let path = f.required::<Path>("path");
                let status = f.or("status", Status(200));
                Some(Self::Http { path: path?.0, status: status.0 })
            })?,
            "Healthcheck" => {
                cx.variant_fields(node, "`Healthcheck`", |f| Self::Healthcheck(healthcheck(f)))
            }
            "Log" => cx.led_fields(node, "`Log`", &["text"], |f| {
                let text = f.required::<Text>("text");
                let times = f.or("times", Count(1));
                Some(Self::Log { text: text?.0, times: times.0 })
            })?,
            "Exec" => Some(Self::Exec(cx.payload::<Command>(node)?.0)),
            _ => cx.choice(node, &[("Started", ())]).map(|()| Self::Started),
        }
    }
}

impl Ready {
    /// Why a container that has so long to get ready in never would: title and help.
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

fn linger(f: &mut Fields<'_, '_, '_>) -> Option<Duration> {
    let linger = f.optional::<Spanned<Duration>>("linger")?;
    if linger.value > LONGEST_LINGER {
        let title = format!("`linger` is longer than {LONGEST_LINGER:?}");
        let help = format!(
            "whether a container can be used again has to show within {CHECK:?}; for a service \
             that accepts before it can serve, choose another `ready`"
        );
        f.cx.report(Mistake::new(&linger.span, title).help(help));
    }
    Some(linger.value)
}

fn healthcheck(f: &mut Fields<'_, '_, '_>) -> Healthcheck {
    let test = f.optional::<Test>("test").map(|test| test.0);
    let interval = time(f, "interval");
    Healthcheck {
        interval: interval.or_else(|| test.as_ref().map(|_| INTERVAL)),
        timeout: time(f, "timeout"),
        retries: f.optional::<Count>("retries").map(|retries| retries.0),
        start_period: time(f, "start_period"),
        test,
    }
}

/// A time that engines take for one.
fn time(f: &mut Fields<'_, '_, '_>, name: &'static str) -> Option<Duration> {
    let time = f.optional::<Spanned<Positive>>(name)?;
    if time.value.0 < SHORTEST {
        let title = format!("`{name}` is shorter than {SHORTEST:?}, which no engine takes");
        f.cx.report(Mistake::new(&time.span, title));
    }
    Some(time.value.0)
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

impl Decode for Path {
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

impl Decode for Status {
    const WHAT: &'static str = "an HTTP status such as 200";

    fn decode(node: &Node, cx: &mut Cx<'_>) -> Option<Self> {
        cx.scalar(node, Self::WHAT, |status: i64| {
            within(status, &(200..=599)).map(|status| Self(status as u16))
        })
    }
}
