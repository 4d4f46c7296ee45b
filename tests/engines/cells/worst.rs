//! Cells that do what they can, and cells whose processes are frozen.

use std::fs;

use ganger_test_support::{Client, Config, Ending, Fleet, wait_until};

use super::{CELL, DEADLINE, assert_no_cells, container_of, groups};
use crate::GANGER;

/// Freezes the processes of a cell.
fn freeze(id: &str) {
    let group = groups(id).into_iter().find_map(|group| {
        let first = (group.join("freezer.state"), "FROZEN");
        let second = (group.join("cgroup.freeze"), "1");
        [first, second].into_iter().find(|(file, _)| file.exists())
    });
    let (file, word) = group.unwrap();
    fs::write(file, word).unwrap();
}

#[test]
fn what_a_cell_does_at_its_worst_costs_nobody_else_and_leaves_nothing() {
    let fleet = Fleet::shared();
    fleet.load_images();
    let fields = format!("warm: 1, max: 3, {CELL}, limits: (memory: \"64MiB\", pids: 20)");
    let config = Config::new("worst").daemon(fleet.local().daemon(20));
    let config = config
        .fixture("bystander", &fields, &[])
        .fixture("forks", &fields, &["--fork"])
        .fixture("fills", &fields, &["--fill"]);
    let mut ganger = config.serve(GANGER, &fleet);
    for attempt in 0..3 {
        // As many processes as it may have, and frozen when it is to end.
        let mut client = Client::connect(config.port("forks"));
        client.send("fork\n");
        let children: u32 = client.line().parse().unwrap();
        assert!((5..20).contains(&children), "{children}");
        let id = container_of(config.instance(), client.port());
        freeze(&id);
        Client::connect(config.port("bystander")).echo("hello");
        client.reset();
        wait_until(DEADLINE, "no control group of it is left", || groups(&id).is_empty());

        // What it writes is memory, of which it has no more than its own.
        let mut client = Client::connect(config.port("fills"));
        client.send("fill\n");
        assert_eq!(client.ending(), Ending::Reset(Vec::new()), "{attempt}");
        let end = ganger.wait_for_end(client.port());
        assert!(end.reason().contains("out of memory"), "{attempt}: {end:?}");
    }
    assert_eq!(ganger.count("plain ones and no cells"), 0);
    assert_eq!(ganger.stop(), 0);
    ganger.assert_nothing_left();
    assert_no_cells(&ganger);
}
