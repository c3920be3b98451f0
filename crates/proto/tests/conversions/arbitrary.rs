//! Arbitrary values of core.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use quorate_core::{
    Alert, AlertId, Allocation, AllocationGrant, AllocationId, AllocationState, ApplyOutcome,
    Change, ClusterId, Connection, ConnectionEnd, ConnectionId, ConnectionPolicy, ConnectionReport,
    ConnectionState, ConnectionStatus, Entry, Epoch, Filter, Generation, Guard, Holder, Key,
    KeyRange, KeyedRecord, Kind, Load, LoadId, LogIndex, Member, MemberId, MemberState, Name,
    Network, NetworkSpec, Operation, OperationReply, Owner, Parallelism, Partition, PartitionId,
    PartitionPolicy, PartitionState, PlacedProcess, Pool, PoolPolicy, Precondition, Preemption,
    Process, ProcessEdge, Record, Resources, RestoreEpoch, Revision, Seen, Session, SessionId,
    Severity, Tenant, Term, Test, Transaction, TransactionReply, Versioned, Worker, WorkerState,
};
use quorate_proto::convert::{Consistency, Header, NetworkNumbers, ResumeToken, Start, WatchSpec};

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,8}"
        .prop_map(|text| Name::new(&text).expect("the pattern is a name's"))
}

pub(crate) fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![0..5_u64, any::<u64>()].prop_map(Revision)
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    select(Kind::ALL.to_vec())
}

pub(crate) fn key() -> impl Strategy<Value = Key> {
    (kind(), bytes()).prop_map(|(kind, bytes)| Key { kind, bytes })
}

pub(crate) fn range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        key().prop_map(KeyRange::Single),
        (kind(), bytes()).prop_map(|(kind, prefix)| KeyRange::Prefix(kind, prefix)),
        (kind(), bytes(), bytes()).prop_map(|(kind, start, end)| KeyRange::Bounds {
            kind,
            start,
            end
        }),
    ]
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    any::<[u64; 6]>().prop_map(|[cluster, member, revision, term, index, epoch]| Header {
        cluster_id: ClusterId(cluster),
        member_id: MemberId(member),
        revision: Revision(revision),
        term: Term(term),
        log_index: LogIndex(index),
        restore_epoch: RestoreEpoch(epoch),
    })
}

pub(crate) fn consistency() -> impl Strategy<Value = Consistency> {
    prop_oneof![
        Just(Consistency::Linearizable),
        Just(Consistency::Local),
        revision().prop_map(Consistency::AtLeast),
    ]
}

pub(crate) fn resources() -> impl Strategy<Value = Resources> {
    vec((name(), any::<u64>()), 0..4).prop_map(Resources::from_iter)
}

fn worker() -> impl Strategy<Value = Worker> {
    let state = select(vec![
        WorkerState::Joining,
        WorkerState::Active,
        WorkerState::Draining,
        WorkerState::Down,
    ]);
    (".{0,12}", resources(), labels(), state, option::of(session())).prop_map(
        |(address, capacity, labels, state, session)| Worker {
            address,
            capacity,
            labels,
            state,
            session,
        },
    )
}

fn edge() -> impl Strategy<Value = ProcessEdge> {
    (name(), name(), any::<u64>()).prop_map(|(from, to, rate)| ProcessEdge { from, to, rate })
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(".{0,6}", ".{0,6}", 0..3)
}

fn process() -> impl Strategy<Value = Process> {
    let parallelism =
        (1..9_u32, 0..9_u32).prop_map(|(min, more)| Parallelism { min, max: min + more });
    let groups = (option::of(name()), option::of(name()));
    (name(), ".{0,12}", resources(), parallelism, labels(), groups).prop_map(
        |(id, component, needs, parallelism, requires, (affinity, anti_affinity))| Process {
            id,
            component,
            needs,
            parallelism,
            requires,
            affinity,
            anti_affinity,
        },
    )
}

fn policy() -> impl Strategy<Value = PartitionPolicy> {
    let source = (option::of(name()), option::of(name()));
    let chosen = (any::<u32>(), name(), vec(any::<u32>(), 0..4), source).prop_map(
        |(partitions, strategy, shares, (pool, tenant))| PartitionPolicy {
            partitions,
            strategy,
            shares,
            pool,
            tenant,
        },
    );
    prop_oneof![Just(PartitionPolicy::default()), chosen]
}

pub(crate) fn spec() -> impl Strategy<Value = NetworkSpec> {
    (vec(process(), 0..4), vec(edge(), 0..4), policy(), connection_policy()).prop_map(
        |(processes, connections, policy, connection)| NetworkSpec {
            processes,
            connections,
            policy,
            connection,
        },
    )
}

fn partition() -> impl Strategy<Value = Partition> {
    let placed =
        (name(), any::<u32>()).prop_map(|(id, parallelism)| PlacedProcess { id, parallelism });
    let epoch = (any::<u64>(), revision())
        .prop_map(|(restore, revision)| Epoch { restore: RestoreEpoch(restore), revision });
    let owner =
        option::of((name(), session()).prop_map(|(worker, session)| Owner { worker, session }));
    let state = select(vec![
        PartitionState::Unassigned,
        PartitionState::Assigned,
        PartitionState::Releasing,
        PartitionState::Deleted,
    ]);
    (
        vec(placed, 0..4),
        resources(),
        any::<u64>(),
        owner,
        option::of(epoch),
        state,
        option::of(name()),
        (labels(), vec(name(), 0..3)),
    )
        .prop_map(
            |(processes, demand, load_ppm, owner, epoch, state, target, (requires, apart))| {
                let apart = apart.into_iter().collect();
                Partition {
                    processes,
                    demand,
                    load_ppm,
                    owner,
                    epoch,
                    state,
                    target,
                    requires,
                    apart,
                }
            },
        )
}

fn session() -> impl Strategy<Value = SessionId> {
    (any::<u64>(), revision())
        .prop_map(|(restore, revision)| SessionId { restore: RestoreEpoch(restore), revision })
}

fn guard() -> impl Strategy<Value = Guard> {
    let id = (name(), any::<u32>()).prop_map(|(network, index)| PartitionId { network, index });
    let epoch = (any::<u64>(), revision())
        .prop_map(|(restore, revision)| Epoch { restore: RestoreEpoch(restore), revision });
    prop_oneof![
        session().prop_map(Guard::Session),
        (id, epoch).prop_map(|(id, epoch)| Guard::Partition { id, epoch }),
    ]
}

fn connection() -> impl Strategy<Value = Connection> {
    (vec(edge(), 0..4), connection_policy())
        .prop_map(|(edges, policy)| Connection { edges, policy })
}

pub(crate) fn connection_record() -> impl Strategy<Value = Arc<Versioned<Record>>> {
    (connection(), revision(), any::<u64>()).prop_map(|(connection, at, version)| {
        let value = Record::Connection(Arc::new(connection));
        Arc::new(Versioned { created: at, modified: at, version, value })
    })
}

fn connection_policy() -> impl Strategy<Value = ConnectionPolicy> {
    vec(any::<u64>(), 8).prop_map(|values| {
        let mut policy = ConnectionPolicy::default();
        for ((name, _), value) in policy.fields().into_iter().zip(values) {
            *policy.field_mut(name).expect("a field of its own") = value;
        }
        policy
    })
}

pub(crate) fn connection_status() -> impl Strategy<Value = ConnectionStatus> {
    let end = || {
        (any::<u64>(), revision(), session()).prop_map(|(restore, revision, session)| {
            let epoch = Epoch { restore: RestoreEpoch(restore), revision };
            ConnectionEnd { epoch, session }
        })
    };
    let state = select(ConnectionState::ALL.to_vec());
    (end(), end(), state, any::<u32>(), any::<[u64; 2]>(), ".{0,12}").prop_map(
        |(from, to, state, attempts, [since_ms, retry_at_ms], error)| ConnectionStatus {
            from,
            to,
            state,
            attempts,
            since_ms,
            retry_at_ms,
            error: error.into(),
        },
    )
}

pub(crate) fn connection_report() -> impl Strategy<Value = ConnectionReport> {
    let seen = prop_oneof![Just(Seen::Up), ".{0,12}".prop_map(Seen::Broken)];
    (connection_id(), connection_status(), seen).prop_map(|(id, status, seen)| ConnectionReport {
        id,
        from_epoch: status.from.epoch,
        to_epoch: status.to.epoch,
        seen,
    })
}

pub(crate) fn connection_id() -> impl Strategy<Value = ConnectionId> {
    (name(), any::<u32>(), any::<u32>()).prop_map(|(network, from, to)| ConnectionId {
        network,
        from,
        to,
    })
}

fn value() -> impl Strategy<Value = (Key, Record)> {
    let network = (spec(), any::<u64>())
        .prop_map(|(spec, generation)| Network { spec, generation: Generation(generation) });
    let partition_id =
        (name(), any::<u32>()).prop_map(|(network, index)| PartitionId { network, index });
    prop_oneof![
        (bytes(), bytes(), option::of(session())).prop_map(|(key, value, session)| {
            (Key::entry(key), Record::Entry(Entry { value, session }))
        }),
        (name(), worker()).prop_map(|(id, it)| (Key::worker(&id), Record::Worker(Arc::new(it)))),
        (name(), network).prop_map(|(id, it)| (Key::network(&id), Record::Network(Arc::new(it)))),
        (partition_id, partition())
            .prop_map(|(id, it)| (Key::partition(&id), Record::Partition(Arc::new(it)))),
        (connection_id(), connection())
            .prop_map(|(id, it)| (Key::connection(&id), Record::Connection(Arc::new(it)))),
        (connection_id(), connection_status()).prop_map(|(id, it)| {
            (Key::connection_status(&id), Record::ConnectionStatus(Arc::new(it)))
        }),
        (name(), ".{0,12}")
            .prop_map(|(id, text)| (Key::setting(&id), Record::Setting(text.into()))),
        (session(), any::<u64>(), ".{0,12}").prop_map(|(id, ttl_ms, label)| {
            (Key::session(id), Record::Session(Session { ttl_ms, label: label.into() }))
        }),
        (name(), any::<u64>()).prop_map(|(id, load_ppm)| {
            (Key::load(&LoadId::Worker(id)), Record::Load(Load { load_ppm }))
        }),
        (name(), pool()).prop_map(|(id, it)| (Key::pool(&id), Record::Pool(Arc::new(it)))),
        (allocation_id(), allocation())
            .prop_map(|(id, it)| (Key::allocation(&id), Record::Allocation(Arc::new(it)))),
        (1..u64::MAX, ".{0,12}", ".{0,12}", any::<bool>()).prop_map(
            |(id, peer, client, active)| {
                let state = if active { MemberState::Active } else { MemberState::Removed };
                let member = Member { peer, client, state };
                (Key::member(MemberId(id)), Record::Member(Arc::new(member)))
            }
        ),
        (name(), "[a-z/]{1,12}", ".{0,12}", any::<(bool, u64, u64)>()).prop_map(
            |(check, subject, message, (critical, since_ms, value))| {
                let severity = if critical { Severity::Critical } else { Severity::Warning };
                let alert = Alert { severity, message, since_ms, value };
                (Key::alert(&AlertId { check, subject }), Record::Alert(Arc::new(alert)))
            }
        ),
    ]
}

fn allocation_id() -> impl Strategy<Value = AllocationId> {
    (name(), any::<u64>(), 0..3_u32).prop_map(|(pool, number, part)| AllocationId {
        pool,
        number,
        part,
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let limit = proptest::collection::btree_map(name(), any::<u64>(), 0..3);
    let tenant = (1..u64::MAX, resources(), limit, any::<u32>()).prop_map(
        |(weight, guarantee, limit, priority)| Tenant { weight, guarantee, limit, priority },
    );
    let policy = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(grace_ms, starving_after_ms, idle_timeout_ms)| PoolPolicy {
            grace_ms,
            starving_after_ms,
            idle_timeout_ms,
        },
    );
    (resources(), proptest::collection::btree_map(name(), tenant, 0..3), policy)
        .prop_map(|(capacity, tenants, policy)| Pool { capacity, tenants, policy })
}

fn allocation() -> impl Strategy<Value = Allocation> {
    let holder = prop_oneof![
        session().prop_map(Holder::Session),
        (name(), any::<u32>())
            .prop_map(|(network, index)| Holder::Partition(PartitionId { network, index })),
    ];
    let grant = (any::<u64>(), revision(), session(), any::<u64>()).prop_map(
        |(restore, revision, session, at_ms)| AllocationGrant {
            epoch: Epoch { restore: RestoreEpoch(restore), revision },
            session,
            at_ms,
        },
    );
    let why = (allocation_id(), name(), name())
        .prop_map(|(request, tenant, resource)| Preemption { request, tenant, resource });
    let state =
        (0..3_u8, grant, any::<u64>(), why).prop_map(|(at, grant, until_ms, why)| match at {
            0 => AllocationState::Waiting,
            1 => AllocationState::Granted(grant),
            _ => AllocationState::Revoking { grant, until_ms, why },
        });
    (name(), resources(), any::<u32>(), holder, any::<u64>(), (state, any::<bool>())).prop_map(
        |(tenant, amount, priority, holder, waiting_since_ms, (state, required))| Allocation {
            tenant,
            amount,
            priority,
            holder,
            waiting_since_ms,
            state,
            required,
        },
    )
}

pub(crate) fn keyed_record() -> impl Strategy<Value = KeyedRecord> {
    (value(), revision(), revision(), any::<u64>()).prop_map(
        |((key, value), created, modified, version)| {
            (key, Arc::new(Versioned { created, modified, version, value }))
        },
    )
}

pub(crate) fn change() -> impl Strategy<Value = Change> {
    let other = option::of(keyed_record());
    (keyed_record(), other, 0..3_u8).prop_map(|((key, record), other, shape)| {
        // The record before is of the same key, hence kind.
        let before = other
            .filter(|(other, _)| other.kind == key.kind)
            .map_or_else(|| record.clone(), |(_, other)| other);
        match shape {
            0 => Change::new(key, Some(record), None),
            1 => Change::new(key, Some(record), Some(before)),
            _ => Change::new(key, None, Some(before)),
        }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let put = prop_oneof![
        (bytes(), bytes(), option::of(session())).prop_map(|(key, value, session)| {
            (Key::entry(key), Record::Entry(Entry { value, session }))
        }),
        (name(), ".{0,12}")
            .prop_map(|(id, text)| (Key::setting(&id), Record::Setting(text.into()))),
    ];
    prop_oneof![
        (range(), any::<u32>()).prop_map(|(range, limit)| Operation::Get { range, limit }),
        (put, any::<bool>()).prop_map(|((key, record), return_previous)| Operation::Put {
            key,
            record,
            return_previous
        }),
        (range(), any::<bool>())
            .prop_map(|(range, return_previous)| Operation::Delete { range, return_previous }),
    ]
}

fn precondition() -> impl Strategy<Value = Precondition> {
    let test = prop_oneof![
        Just(Test::Exists),
        Just(Test::Absent),
        revision().prop_map(Test::ModifiedAt),
        bytes().prop_map(Test::Value),
    ];
    (range(), test).prop_map(|(target, test)| Precondition { target, test })
}

pub(crate) fn transaction() -> impl Strategy<Value = Transaction> {
    (vec(precondition(), 0..4), vec(operation(), 0..4), vec(operation(), 0..4), vec(guard(), 0..3))
        .prop_map(|(preconditions, success, failure, guards)| Transaction {
            preconditions,
            success,
            failure,
            guards,
        })
}

/// A reply to a transaction: what its branch could have returned.
pub(crate) fn replied() -> impl Strategy<Value = (Transaction, TransactionReply)> {
    let records = || vec(keyed_record(), 0..3);
    let seed = (any::<bool>(), records(), any::<u64>());
    (transaction(), vec(seed, 4), any::<bool>()).prop_map(|(transaction, seeds, succeeded)| {
        let branch = if succeeded { &transaction.success } else { &transaction.failure };
        let reply = |(operation, (flag, records, number)): (&Operation, _)| {
            let records: Vec<KeyedRecord> = records;
            match operation {
                Operation::Get { .. } => OperationReply::Get { records, more: flag },
                Operation::Put { key, record, return_previous, .. } => {
                    let previous = Versioned {
                        created: Revision(number),
                        modified: Revision(number),
                        version: 1,
                        value: record.clone(),
                    };
                    assert_eq!(key.kind, record.kind());
                    let returned = flag && *return_previous;
                    OperationReply::Put { previous: returned.then(|| Arc::new(previous)) }
                }
                Operation::Delete { .. } => {
                    OperationReply::Delete { deleted: number, previous: records }
                }
            }
        };
        let results = branch.iter().zip(seeds).map(reply).collect();
        (transaction, TransactionReply { succeeded, results })
    })
}

pub(crate) fn token() -> impl Strategy<Value = ResumeToken> {
    (any::<u64>(), any::<u64>(), revision()).prop_map(|(cluster, epoch, revision)| ResumeToken {
        cluster_id: ClusterId(cluster),
        restore_epoch: RestoreEpoch(epoch),
        revision,
    })
}

pub(crate) fn watch_spec() -> impl Strategy<Value = WatchSpec> {
    let start = prop_oneof![
        Just(Start::Now),
        Just(Start::Snapshot),
        (1..u64::MAX).prop_map(|revision| Start::From(Revision(revision))),
        token().prop_map(Start::Resume),
    ];
    let partition =
        (name(), any::<u32>()).prop_map(|(network, index)| PartitionId { network, index });
    let filter =
        (vec(kind(), 0..3), bytes(), option::of(name()), option::of(partition), option::of(name()))
            .prop_map(|(kinds, key_prefix, network, partition, worker)| Filter {
                kinds,
                key_prefix,
                network,
                partition,
                worker,
            });
    let interval = any::<u32>().prop_map(|ms| std::time::Duration::from_millis(ms.into()));
    (start, filter, any::<bool>(), any::<bool>(), interval).prop_map(
        |(start, filter, with_previous, resync, progress_interval)| WatchSpec {
            start,
            filter,
            with_previous,
            resync,
            progress_interval,
        },
    )
}

pub(crate) fn apply_outcome() -> impl Strategy<Value = ApplyOutcome> {
    select(vec![ApplyOutcome::Created, ApplyOutcome::Updated, ApplyOutcome::Unchanged])
}

pub(crate) fn numbers() -> impl Strategy<Value = NetworkNumbers> {
    (name(), any::<[u64; 3]>(), any::<[u32; 4]>(), name()).prop_map(
        |(
            name,
            [generation, cut_rate, total_rate],
            [processes, partitions, connections, edges],
            strategy,
        )| {
            NetworkNumbers {
                name,
                generation: Generation(generation),
                processes,
                partitions,
                connections,
                edges,
                cut_rate,
                total_rate,
                strategy,
            }
        },
    )
}
