//! Requests and records, damaged by more than one byte: see `hostile` for single ones.

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use prost::Message;
use quorate_core::{ConnectionReport, Name, NetworkSpec, Transaction};
use quorate_fuzz::Target;
use quorate_proto::{
    ConvertError,
    convert::{WatchSpec, record},
    v1,
};

use crate::arbitrary;

/// So many encodings, the same each time.
fn samples<M: Message, T>(
    values: impl Strategy<Value = T>,
    encode: impl Fn(T) -> M,
) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    let mut sample = || {
        let value = values.new_tree(&mut runner).expect("every strategy gives values").current();
        encode(value).encode_to_vec()
    };
    (0..16).map(|_| sample()).collect()
}

/// Gives a target messages, and checks that what they are converted to comes back.
fn run<M, T>(
    name: &'static str,
    samples: Vec<Vec<u8>>,
    read: impl Fn(M) -> Result<T, ConvertError>,
    write: impl Fn(T) -> M,
) where
    M: Message + Default,
    T: Clone + PartialEq + std::fmt::Debug,
{
    let tried = Target::new(name, samples).run(|bytes| {
        let message = M::decode(bytes).map_err(|error| error.to_string())?;
        let value = read(message).map_err(|error| {
            assert!(!error.rule.is_empty(), "an error says which rule: {error:?}");
            error.to_string()
        })?;
        let bytes = write(value.clone()).encode_to_vec();
        assert_eq!(read(M::decode(&bytes[..]).expect("just encoded")), Ok(value));
        Ok(())
    });
    assert!(tried.accepted() > 10 && tried.refused() > 100, "{tried:?}");
}

#[test]
fn transactions() {
    let samples = samples(arbitrary::transaction(), v1::TransactionRequest::from);
    run("transactions", samples, Transaction::try_from, v1::TransactionRequest::from);
}

#[test]
fn networks() {
    let write = |(name, spec): (Name, NetworkSpec)| v1::ApplyNetworkRequest {
        name: name.as_str().to_owned(),
        spec: Some((&spec).into()),
        context: None,
    };
    let samples = samples((arbitrary::name(), arbitrary::spec()), write);
    run("networks", samples, <(Name, NetworkSpec)>::try_from, write);
}

#[test]
fn watches() {
    let samples = samples(arbitrary::watch_spec(), v1::WatchRequest::from);
    run("watches", samples, WatchSpec::try_from, v1::WatchRequest::from);
}

#[test]
fn connection_reports() {
    let write = |report: ConnectionReport| v1::ConnectionReport::from(&report);
    let samples = samples(arbitrary::connection_report(), write);
    run("connection reports", samples, ConnectionReport::try_from, write);
}

#[test]
fn records() {
    let write = |keyed: quorate_core::KeyedRecord| record::record(&keyed.0, &keyed.1);
    let samples = samples(arbitrary::keyed_record(), write);
    run("records", samples, record::keyed_record, write);
}
