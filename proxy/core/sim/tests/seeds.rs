//! Some seeds must hold, the same seed must give the same world, and the oracles must see deliberate defects.

use weir_sim::{Sabotage, run_seed};

#[test]
fn two_hundred_worlds_hold() {
    for seed in 0..200 {
        let outcome = run_seed(seed, None, false);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}: {:?}",
            outcome.violations
        );
    }
}

#[test]
fn a_seed_gives_the_same_world_every_time() {
    for seed in [3, 17, 42, 99] {
        let (a, b) = (run_seed(seed, None, false), run_seed(seed, None, true));
        assert_eq!((a.digest, a.steps), (b.digest, b.steps), "seed {seed}");
        assert!(a.steps > 50 && a.log.is_empty() && !b.log.is_empty());
    }
}

#[test]
fn every_sabotage_is_noticed() {
    for sabotage in Sabotage::ALL {
        let noticed = (0..400).find(|seed| {
            !run_seed(*seed, Some(*sabotage), false)
                .violations
                .is_empty()
        });
        assert!(noticed.is_some(), "{sabotage:?} goes unnoticed");
    }
}
