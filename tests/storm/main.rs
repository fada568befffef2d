//! The storm: clients connect without pause while backends come and go, while the agent is killed, and
//! while agents of two layouts take turns. Not one connection may fail, reach a backend that had been
//! removed before it began, or reach another Service's. `make test-long` runs it whole. With another build of Bowline in
//! BOWLINE_TEST_BESIDE, `layout_switches` goes from this build to that one and back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground is missing")]

mod ground;

use bowline_lab::amount;
use ground::{Ground, Random};

/// At least so many changes of backends over several Services.
#[test]
fn thousands_of_changes() {
    let enough = amount(10_000, 2_000);
    let mut ground = Ground::new("changes", 1).unwrap();
    ground.start_agent(false).unwrap();
    let storms = ground.storms(false).unwrap();
    let mut changes = 0;
    while changes < enough {
        changes += ground.change(&storms).unwrap();
    }
    storms.wait_for_more(1_000).unwrap();
    println!("{changes} changes; {}", storms.finish_without_failure().unwrap());
}

/// kill -9 at random moments; what changed while no agent ran is applied by the next one.
#[test]
fn kills() {
    let kills = amount(50, 12);
    let mut ground = Ground::new("kills", 2).unwrap();
    let mut random = Random(7);
    ground.start_agent(false).unwrap();
    let storms = ground.storms(true).unwrap();
    for _ in 0..kills {
        for _ in 0..random.below(6) {
            ground.change(&storms).unwrap();
        }
        // Some at once, some in the middle of reading, programming or attaching.
        ground.begin_changes(&storms, 1 + random.below(3)).unwrap();
        ground.kill_agent_after(random.below(15_000)).unwrap();
        storms.wait_for_more(50).unwrap();
        ground.begin_changes(&storms, random.below(3)).unwrap();
        if random.below(3) == 0 {
            ground.start_agent_and_kill_it_after(random.below(400_000), false).unwrap();
        }
        ground.start_agent(false).unwrap();
        ground.end_changes(&storms).unwrap();
    }
    storms.wait_for_more(1_000).unwrap();
    println!("{kills} kills; {}", storms.finish_without_failure().unwrap());
    ground.expect_no_leak().unwrap();
}

/// A build of the agent with another layout of every map (or an older one, see above) takes turns with this one;
/// affinity is kept by it all. Every third time it is killed on the way.
#[test]
fn layout_switches() {
    let switches = amount(20, 6);
    let mut ground = Ground::new("layouts", 3).unwrap();
    let mut random = Random(9);
    ground.start_agent(false).unwrap();
    let storms = ground.storms(true).unwrap();
    for turn in 0..switches {
        for _ in 0..random.below(4) {
            ground.change(&storms).unwrap();
        }
        let next = turn % 2 == 0;
        ground.kill_agent_after(random.below(5_000)).unwrap();
        if turn % 3 == 2 {
            ground.start_agent_and_kill_it_after(random.below(600_000), next).unwrap();
        }
        ground.begin_changes(&storms, random.below(2)).unwrap();
        ground.start_agent(next).unwrap();
        ground.end_changes(&storms).unwrap();
        assert_eq!(ground.layout_folders().unwrap(), 1, "the old layout's maps are gone once it has switched");
        storms.wait_for_more(200).unwrap();
    }
    println!("{switches} switches; {}", storms.finish_without_failure().unwrap());
    ground.expect_no_leak().unwrap();
}
