//! The status page in a real browser.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_test_support::{
    Browser, BrowserKind, Client, Config, Fleet, Ganger, free_port, unique, wait_until,
};
use serde_json::{Value, json};

use super::DEADLINE;
use crate::GANGER;

/// A Ganger whose page is looked at.
struct Shown {
    ganger: Ganger,
    config: Config,
    url: String,
    token: PathBuf,
}

impl Shown {
    fn start(fleet: &Fleet, more: &str, fields: &str) -> Self {
        let token = std::env::temp_dir().join(unique("ganger-page-token"));
        std::fs::write(&token, "hunter2").unwrap();
        let port = free_port();
        let admin =
            format!("admin: (listen: \"127.0.0.1:{port}\", token_file: \"{}\")", token.display());
        let mut config = Config::new("shown").daemon(fleet.hosts()[0].daemon(40));
        if !more.is_empty() {
            config = config.daemon(more.to_owned());
        }
        let config = config.fixture("echo", fields, &[]).with(&admin);
        let ganger = config.serve(GANGER, fleet);
        ganger.wait_until_stocked("echo");
        let url = format!("127.0.0.1:{port}");
        Self { ganger, config, url, token }
    }

    fn address(&self) -> String {
        format!("http://{}/", self.url)
    }

    fn client(&self) -> Client {
        let mut client = Client::connect(self.config.port("echo"));
        client.echo("hello");
        client
    }

    fn end(mut self) {
        assert_eq!(self.ganger.stop(), 0);
        _ = std::fs::remove_file(&self.token);
    }
}

/// A picture to be looked at by people.
fn picture(browser: &Browser, name: &str) {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pictures");
    browser.picture(&target.join(format!("{name}.png")));
}

/// The problems of a page for those who do not see it, or have no mouse: by axe-core.
fn violations(browser: &Browser) -> Vec<String> {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}: `cargo xtask test` fetches it", file.display())
    });
    let script = format!("{axe}; return axe.run().then(found => found.violations);");
    let found = browser.run(&script, &json!([]));
    let line = |it: &Value| format!("{}: {} {}", it["id"], it["help"], it["nodes"][0]["html"]);
    found.as_array().unwrap().iter().map(line).collect()
}

/// A cell of the first service, by its place.
fn cell(browser: &Browser, place: u32) -> String {
    let found = browser.run(
        "const cell = document.querySelector(`#services-rows tr > :nth-child(${arguments[0]})`);
         return cell?.dataset.value ?? cell?.textContent",
        &json!([place]),
    );
    found.as_str().unwrap_or_default().split_whitespace().next().unwrap_or_default().to_owned()
}

/// How long a connection may be there without a request.
const SILENT: Duration = Duration::from_secs(2);
const READY: u32 = 3;
const LEASED: u32 = 4;
const LEASES: u32 = 7;

#[test]
fn numbers_move_under_load_and_nothing_is_wrong_with_the_page() {
    let fleet = Fleet::shared();
    let down = r#"(name: "dead", url: "tcp://127.0.0.1:1", max_containers: 3)"#;
    let shown = Shown::start(&fleet, down, "warm: 2, max: 6");
    let browser = Browser::start(BrowserKind::Usual);
    browser.draw_as(1400, "light");
    browser.open(&shown.address());
    wait_until(DEADLINE, "the page is live", || browser.text("#live") == "live");
    assert_eq!((cell(&browser, LEASED).as_str(), cell(&browser, LEASES).as_str()), ("0", "0"));
    let clients = [shown.client(), shown.client(), shown.client()];
    wait_until(DEADLINE, "three are leased", || cell(&browser, LEASED) == "3");
    assert!(browser.text("#sessions-rows").contains(&format!("127.0.0.1:{}", clients[0].port())));
    assert!(browser.text("#daemons-rows").contains("down"));
    assert_eq!(violations(&browser), [""; 0]);
    picture(&browser, "light");

    // By a column: the daemons by their capacity, and the other way round.
    let first =
        || browser.run("return document.querySelector('#daemons-rows th').textContent", &json!([]));
    // The daemon that has started nothing is before the one whose starts are known, then behind it.
    let start = "#daemons thead th:nth-child(10) button";
    browser.click(start);
    assert_eq!(first(), "dead");
    browser.click(start);
    assert_eq!(first(), fleet.hosts()[0].name.as_str());
    // Clients are apart in their ports alone.
    let mut ports = clients.each_ref().map(Client::port);
    ports.sort_unstable();
    browser.click("#sessions thead th:nth-child(3) button");
    let shown_clients = "return [...document.querySelectorAll('#sessions-rows td:nth-child(3)')]
        .map(cell => cell.textContent)";
    let in_order = ports.map(|port| format!("127.0.0.1:{port}"));
    assert_eq!(browser.run(shown_clients, &json!([])), json!(in_order));
    let capacity = "#daemons thead th:nth-child(5) button";
    browser.click(capacity);
    assert_eq!(first(), "dead");
    browser.click(capacity);
    assert_eq!(first(), fleet.hosts()[0].name.as_str());

    browser.draw_as(1400, "dark");
    let colour = "return getComputedStyle(document.body).backgroundColor";
    assert_eq!(browser.run(colour, &json!([])), "rgb(20, 24, 31)");
    assert_eq!(violations(&browser), [""; 0]);
    picture(&browser, "dark");
    browser.draw_as(320, "light");
    let wide = browser.run("return document.documentElement.scrollWidth", &json!([]));
    assert!(wide.as_u64().unwrap() <= 320, "{wide}");
    assert_eq!(violations(&browser), [""; 0]);
    picture(&browser, "narrow");
    assert_eq!(browser.errors(), [""; 0]);

    drop(clients);
    let url = shown.url.clone();
    shown.end();
    wait_until(DEADLINE, "the page says that it stopped", || {
        browser.text("#live").starts_with("stopped")
    });
    let starting = TcpListener::bind(&url).unwrap();
    starting.set_nonblocking(true).unwrap();
    let mut streams = 0;
    wait_until(DEADLINE, "the page asks for events again after it was refused them", || {
        streams += refuse_all(&starting);
        streams > 1
    });
}

/// Answers those who wait at a listener as a process that starts does; returns how many wanted to
/// follow events.
fn refuse_all(listener: &TcpListener) -> usize {
    let mut streams = 0;
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(SILENT)).unwrap();
        let (mut head, mut part) = (Vec::new(), [0; 4096]);
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut part) {
                // A browser connects ahead, too, and asks for nothing yet.
                Ok(0) | Err(_) => break,
                Ok(count) => head.extend_from_slice(&part[..count]),
            }
        }
        streams += usize::from(head.starts_with(b"GET /api/v1/events "));
        let answer = "HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        _ = stream.write_all(answer.as_bytes());
    }
    streams
}

#[test]
fn whoever_has_the_token_drains_scales_and_rolls_by_the_page() {
    let fleet = Fleet::shared();
    let shown = Shown::start(&fleet, "", "warm: 2, max: 6");
    let browser = Browser::start(BrowserKind::Usual);
    browser.draw_as(1400, "light");
    browser.open(&shown.address());
    let links = "return document.querySelectorAll('.acts a').length";
    assert_eq!(browser.run(links, &json!([])), 0, "nothing is offered that would be refused");
    browser.open(&format!("http://operator:hunter2@{}/login", shown.url));
    browser.open(&shown.address());
    wait_until(DEADLINE, "the page is live", || browser.text("#live") == "live");
    let mut client = shown.client();
    wait_until(DEADLINE, "one is leased", || cell(&browser, LEASED) == "1");

    browser.click("a[href='/confirm?order=drain&service=echo']");
    assert_eq!(violations(&browser), [""; 0]);
    browser.fill("#deadline", "600");
    browser.click("button[type=submit]");
    assert!(browser.text(".answer").contains("leases that are left are cut in 10m"));
    browser.click(".dialog a");
    wait_until(DEADLINE, "the drain shows how far it is", || {
        let row = browser.text("#services-rows");
        row.contains("drain") && row.contains("1 left; cut in 9m")
    });
    client.echo("a lease goes on");
    browser.click("a[href='/confirm?order=ready&service=echo']");
    browser.click("button[type=submit]");
    browser.click(".dialog a");
    wait_until(DEADLINE, "it is used again", || cell(&browser, 2) == "ready");

    browser.click("a[href='/confirm?order=scale&service=echo']");
    browser.fill("#warm", "3");
    browser.click("button[type=submit]");
    browser.click(".dialog a");
    wait_until(DEADLINE, "three are ready", || cell(&browser, READY) == "3");
    browser.click("a[href='/confirm?order=roll&service=echo']");
    browser.click("button[type=submit]");
    browser.click(".dialog a");
    wait_until(DEADLINE, "the rollout is told", || {
        let seen = browser.text("#services-rows").contains("rolling out");
        seen || browser.text("#events-rows").contains("switched-over")
    });
    picture(&browser, "rollout");
    let session =
        browser.run("return document.querySelector('#sessions-rows th')?.textContent", &json!([]));
    browser.click(&format!("a[href='/confirm?order=cut&session={}']", session.as_str().unwrap()));
    browser.click("button[type=submit]");
    assert_eq!(browser.text(".answer"), "It is cut.");
    assert_eq!(browser.errors(), [""; 0]);
    shown.end();
}

#[test]
fn without_scripts_the_page_is_whole_and_loads_itself_again() {
    let fleet = Fleet::shared();
    let shown = Shown::start(&fleet, "", "warm: 1, max: 2");
    let browser = Browser::start(BrowserKind::WithoutScripts);
    browser.open(&shown.address());
    assert!(browser.text("#services-rows").contains("echo"));
    let before = browser.text("#live");
    let client = shown.client();
    wait_until(DEADLINE, "it loads itself again", || browser.text("#live") != before);
    wait_until(DEADLINE, "it shows who is there", || {
        browser.text("#sessions-rows").contains(&format!("127.0.0.1:{}", client.port()))
    });
    drop(client);
    shown.end();
}
