//! Random histories of the ledger, in a debug build with its assertions on.

use ganger_pool::testing::sim;

#[test]
fn the_invariants_hold_over_random_histories() {
    for seed in 0..60 {
        if let Err(violation) = sim::run(seed, 400) {
            panic!("{violation}");
        }
    }
}
