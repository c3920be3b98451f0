//! What is shown adds up to the list.

use quorate_core::{
    Entry, Load, LoadId, Name, Owner, Partition, PartitionId, PartitionState, Resources, Revision,
    SessionId, Worker, WorkerState,
};

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn put<L: Listed>(followed: &mut Followed<L>, key: &Key, value: Record) {
    let (created, modified, version) = (Revision(1), Revision(1), 1);
    let record = Versioned { created, modified, version, value };
    followed.change(key, Some(Arc::new(record)));
}

fn shown<L: Listed>(followed: &mut Followed<L>) -> Vec<(Mark, Vec<String>)>
where
    L::Row: Clone,
{
    followed.differing().into_iter().map(|(mark, row)| (mark, row.cells())).collect()
}

#[test]
fn rows_come_change_and_go_and_stay_silent_when_they_are_the_same() {
    let mut followed = Followed::new(Entries { prefix: String::new(), keys_only: false });
    let key = Key::entry("k");
    put(&mut followed, &key, Record::Entry("1".into()));
    assert_eq!(shown(&mut followed)[0].0, Mark::New);
    put(&mut followed, &key, Record::Entry("1".into()));
    assert_eq!(shown(&mut followed), [], "the same again");
    put(&mut followed, &key, Record::Entry("2".into()));
    let changed = shown(&mut followed);
    assert_eq!((changed[0].0, changed[0].1[4].as_str()), (Mark::Changed, "2"));
    followed.change(&key, None);
    assert_eq!(shown(&mut followed)[0].0, Mark::Gone);
    put(&mut followed, &key, Record::Entry(Entry::from("3")));
    followed.change(&key, None);
    assert_eq!(shown(&mut followed), [], "it was never seen");
}

#[test]
fn a_new_snapshot_shows_the_difference_only() {
    let mut followed = Followed::new(Entries { prefix: String::new(), keys_only: true });
    for key in ["a", "b"] {
        put(&mut followed, &Key::entry(key), Record::Entry("1".into()));
    }
    assert_eq!(shown(&mut followed).len(), 2);
    followed.forget();
    for key in ["b", "c"] {
        put(&mut followed, &Key::entry(key), Record::Entry("1".into()));
    }
    let marks: Vec<_> =
        shown(&mut followed).into_iter().map(|(mark, row)| (mark, row[0].clone())).collect();
    assert_eq!(marks, [(Mark::Gone, "a".to_owned()), (Mark::New, "c".to_owned())]);
}

#[test]
fn a_workers_row_follows_what_it_owns_and_its_load() {
    let session = SessionId::default();
    let mut followed = Followed::new(Workers::default());
    let worker = Worker {
        address: "w:1".into(),
        capacity: Resources::default(),
        labels: BTreeMap::new(),
        state: WorkerState::Active,
        session: Some(session),
    };
    put(&mut followed, &Key::worker(&name("w")), Record::Worker(Arc::new(worker)));
    assert_eq!(shown(&mut followed).len(), 1);
    let partition = |owner| Partition {
        processes: Vec::new(),
        demand: Resources::default(),
        load_ppm: 0,
        owner,
        epoch: None,
        state: PartitionState::Assigned,
        target: None,
        requires: BTreeMap::new(),
        apart: BTreeSet::new(),
    };
    let key = Key::partition(&PartitionId { network: name("net"), index: 0 });
    let owner = Some(Owner { worker: name("w"), session });
    put(&mut followed, &key, Record::Partition(Arc::new(partition(owner))));
    let row = shown(&mut followed);
    assert_eq!((row[0].0, row[0].1[3].as_str()), (Mark::Changed, "1"));
    let load = Key::load(&LoadId::Worker(name("w")));
    put(&mut followed, &load, Record::Load(Load { load_ppm: 500_000 }));
    assert_eq!(shown(&mut followed)[0].1[4], "50.0%");
    put(&mut followed, &key, Record::Partition(Arc::new(partition(None))));
    assert_eq!(shown(&mut followed)[0].1[3], "0");
}
