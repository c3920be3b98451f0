//! Calls on the client address: how many, with which code, how long.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};
use tonic::Code;

use super::register;

/// Upper bounds of latency buckets, seconds.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The methods that are counted by name; any other is counted as `other`, so that callers cannot
/// make up labels.
const METHODS: [&str; 50] = [
    "/quorate.v1.StoreService/Range",
    "/quorate.v1.StoreService/Put",
    "/quorate.v1.StoreService/Delete",
    "/quorate.v1.StoreService/Transaction",
    "/quorate.v1.WatchService/Watch",
    "/quorate.v1.SessionService/Open",
    "/quorate.v1.SessionService/KeepAlive",
    "/quorate.v1.SessionService/Close",
    "/quorate.v1.SessionService/List",
    "/quorate.v1.NetworkService/Apply",
    "/quorate.v1.NetworkService/Get",
    "/quorate.v1.NetworkService/List",
    "/quorate.v1.NetworkService/Delete",
    "/quorate.v1.PartitionService/List",
    "/quorate.v1.PartitionService/Move",
    "/quorate.v1.PartitionService/Release",
    "/quorate.v1.ConnectionService/List",
    "/quorate.v1.ConnectionService/Get",
    "/quorate.v1.ConnectionService/Report",
    "/quorate.v1.ConnectionService/Retry",
    "/quorate.v1.WorkerService/Register",
    "/quorate.v1.WorkerService/Report",
    "/quorate.v1.WorkerService/Drain",
    "/quorate.v1.WorkerService/Leave",
    "/quorate.v1.WorkerService/List",
    "/quorate.v1.ResourceService/PutPool",
    "/quorate.v1.ResourceService/DeletePool",
    "/quorate.v1.ResourceService/ListPools",
    "/quorate.v1.ResourceService/Request",
    "/quorate.v1.ResourceService/Release",
    "/quorate.v1.ResourceService/ListAllocations",
    "/quorate.v1.ClusterService/Status",
    "/quorate.v1.ClusterService/Members",
    "/quorate.v1.ClusterService/TransferLeader",
    "/quorate.v1.ClusterService/AddMember",
    "/quorate.v1.ClusterService/PromoteMember",
    "/quorate.v1.ClusterService/RemoveMember",
    "/quorate.v1.SnapshotService/Save",
    "/quorate.v1.NetworkService/Plan",
    "/quorate.v1.NetworkService/Scale",
    "/quorate.v1.NetworkService/PlanScale",
    "/quorate.v1.PartitionService/Explain",
    "/quorate.v1.PartitionService/PlanBalance",
    "/quorate.v1.PartitionService/Balance",
    "/quorate.v1.PartitionService/Split",
    "/quorate.v1.PartitionService/PlanSplit",
    "/quorate.v1.PartitionService/Merge",
    "/quorate.v1.PartitionService/PlanMerge",
    "/quorate.v1.WorkerService/WhatIfLost",
    "/quorate.v1.ClusterService/ListAlerts",
];

/// Counters of calls. A clone shares them; every call makes some.
#[derive(Debug, Clone)]
pub struct RpcMetrics {
    requests: IntCounterVec,
    methods: Arc<HashMap<&'static str, Method>>,
    other: Arc<Method>,
}

/// One method's counters, looked up once.
#[derive(Debug)]
struct Method {
    name: &'static str,
    ok: IntCounter,
    seconds: Histogram,
}

impl RpcMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let requests: IntCounterVec = register(
            registry,
            IntCounterVec::new(
                Opts::new(
                    "quorate_rpc_requests_total",
                    "Calls answered, by method and gRPC code. A stream is answered when it begins.",
                ),
                &["method", "code"],
            ),
        );
        let seconds: HistogramVec = register(
            registry,
            HistogramVec::new(
                HistogramOpts::new("quorate_rpc_seconds", "Time from call to answer.")
                    .buckets(BUCKETS.to_vec()),
                &["method"],
            ),
        );
        let method = |path: &'static str| {
            let name = path.strip_prefix("/quorate.v1.").unwrap_or(path);
            Method {
                name,
                ok: requests.with_label_values(&[name, code_name(Code::Ok)]),
                seconds: seconds.with_label_values(&[name]),
            }
        };
        let methods = METHODS.into_iter().map(|path| (path, method(path))).collect();
        Self { methods: Arc::new(methods), other: Arc::new(method("other")), requests }
    }

    /// Counts an answer to a call of the method at `path`.
    pub fn answered(&self, path: &str, code: Code, took: Duration) {
        let method = self.methods.get(path).unwrap_or(&self.other);
        method.seconds.observe(took.as_secs_f64());
        match code {
            Code::Ok => method.ok.inc(),
            code => self.requests.with_label_values(&[method.name, code_name(code)]).inc(),
        }
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
