//! Random histories of the ledger, in a debug build with its assertions on.

use ganger_pool::testing::sim;

#[test]
fn the_invariants_hold_over_random_histories() {
    let mut hedges = 0;
    for seed in 0..60 {
        match sim::run(seed, 400) {
            Ok(report) => hedges += report.hedges,
            Err(violation) => panic!("{violation}"),
        }
    }
    assert!(hedges > 0, "no launch was repeated");
}
