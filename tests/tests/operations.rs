//! The procedures of docs/OPERATIONS.md, typed word for word, each in a cluster of its own.

use anyhow::Result;
use quorate_tests::story;

const DOCUMENT: &str = "docs/OPERATIONS.md";

macro_rules! procedures {
    ($($test:ident: $heading:literal,)+) => {
        $(
            #[test]
            fn $test() -> Result<()> {
                story::follow(DOCUMENT, $heading)
            }
        )+

        #[test]
        fn every_procedure_is_tried() -> Result<()> {
            assert_eq!(story::headings(DOCUMENT)?, [$($heading),+]);
            Ok(())
        }
    };
}

procedures! {
    a_cluster_grows: "Start on one machine and scale it up",
    coordinators_restart: "Restart coordinators",
    a_lost_disk: "A coordinator lost its disk",
    another_machine: "Another machine takes a place",
    a_lost_majority: "Most coordinators are gone",
    a_worker_drains: "Work on a worker's machine",
    a_partition_is_split: "A partition is too large",
    connections: "Connections are broken",
    a_pool: "A pool is full",
    no_place: "Partitions have no place",
}
