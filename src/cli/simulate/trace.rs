//! Reads who came when, from records of connections or from a table.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ganger_pool::replay::Arrival;
use serde::Deserialize;

/// The latest arrival, in seconds: 317 years. A later one is a mistake.
const LONGEST: f64 = 1e10;

/// The arrivals of each service, from the first of all on, in order.
///
/// A line is a record, as `access_log` has them written, or `service,arrived,held` in seconds. Empty lines, a heading and lines that start with `#` are left out.
///
/// # Errors
/// Names the line that is neither, or whose time is none.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Vec<Arrival>>, String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == "service,arrived,held" {
            continue;
        }
        let read = if line.starts_with('{') { recorded(line) } else { listed(line) };
        found.push(read.map_err(|why| format!("line {number}: {why}"))?);
    }
    let start = found.iter().map(|(_, at, _)| *at).min().unwrap_or_default();
    let mut services: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for (service, at, held) in found {
        services.entry(service).or_default().push(Arrival { at: at - start, held });
    }
    services.values_mut().for_each(|arrivals| arrivals.sort_unstable());
    Ok(services)
}

/// Service, time of arrival, and for how long it had a container.
type TracedLine = (String, Duration, Duration);

fn listed(line: &str) -> Result<TracedLine, String> {
    let mut parts = line.split(',').map(str::trim);
    let (Some(service), Some(arrived), Some(held), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let expected = "expected `service,arrived,held`, or a record of a connection, as `access_log` \
                        has them written";
        return Err(expected.to_owned());
    };
    let time = |text: &str| {
        let seconds = text.parse::<f64>().ok();
        let time = seconds.and_then(bounded);
        time.ok_or_else(|| format!("{text:?} is not a number of seconds up to {LONGEST:e}"))
    };
    Ok((service.to_owned(), time(arrived)?, time(held)?))
}

/// A record of a connection, as far as it is wanted here. Times are in seconds.
#[derive(Deserialize)]
struct PastConnection {
    timestamp: String,
    service: String,
    wait: Option<f64>,
    total: f64,
}

fn recorded(line: &str) -> Result<TracedLine, String> {
    let record: PastConnection = serde_json::from_str(line).map_err(|error| {
        format!("this is no record of a connection, as `access_log` has them written: {error}")
    })?;
    let ended = humantime::parse_rfc3339(&record.timestamp)
        .map_err(|error| format!("`timestamp`: {error}"))?;
    let ended = ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let total = bounded(record.total).ok_or("`total` is not a time")?;
    // A refused client waited until its connection ended.
    let wait = record.wait.and_then(bounded).unwrap_or(total);
    Ok((record.service, ended.saturating_sub(total), total.saturating_sub(wait)))
}

fn bounded(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDS: &str = r#"
{"timestamp":"2026-11-23T01:00:09.000000Z","service":"b","wait":null,"total":1.0,"end":"PQ"}
{"timestamp":"2026-11-23T01:00:10.500000Z","service":"a","wait":0.5,"total":5.5,"end":"--"}
{"timestamp":"2026-11-23T01:00:11.000000Z","service":"a","wait":0.0001,"total":7.0,"end":"--"}
"#;

    #[test]
    fn records_and_a_table_are_read_alike() {
        let ms = Duration::from_millis;
        let records = read(RECORDS).unwrap();
        let arrivals: Vec<_> = records["a"].iter().map(|a| (a.at, a.held)).collect();
        assert_eq!(arrivals, [(ms(0), ms(7000) - ms(1) / 10), (ms(1000), ms(5000))]);
        assert_eq!(records["b"], [Arrival { at: ms(4000), held: ms(0) }]);
        let table = "service,arrived,held\n# mine\na, 4, 6.9999\na,5,5\nb,8,0\n";
        assert_eq!(read(table).unwrap(), records);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let error = |text: &str| read(text).unwrap_err();
        assert!(error("a,1,2\na,1").starts_with("line 2: expected `service,arrived,held`"));
        assert_eq!(error("a,-1,2"), r#"line 1: "-1" is not a number of seconds up to 1e10"#);
        assert!(error("a,0,1\na,1e19,1").starts_with("line 2: \"1e19\" is not"));
        let no_record = "line 1: this is no record of a connection";
        assert!(error("{").starts_with(no_record));
        // A line of the log.
        assert!(error(r#"{"message":"conn end","total":"1.000s"}"#).starts_with(no_record));
        let line = r#"{"timestamp":"2026-11-23T01:00:09Z","service":"a","total":-1.0}"#;
        assert_eq!(error(line), "line 1: `total` is not a time");
    }
}
