//! Real process graphs through a real cluster: every process is in exactly one partition, and the
//! connections are exactly the edges that cross.
//!
//! The recorded workflows are not part of the project; where their folder is absent the samples in
//! config/ are used alone, and where it is there all of them must be. What is expected is read from
//! the files here, not with the project's own reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use quorate_proto::v1::{
    Change, ChangeOp, EventType, Kind, ListConnectionsRequest, ListPartitionsRequest, Record,
    WatchRequest, connection_service_client::ConnectionServiceClient,
    partition_service_client::PartitionServiceClient, record, watch_request::Start,
};
use quorate_tests::{
    calls::{DEADLINE, timed},
    cluster::Cluster,
    command::quorate,
};
use serde_json::Value;

/// How many workflows were recorded.
const RECORDED: usize = 5;

/// Into how many partitions each is cut, one after the other.
const COUNTS: [usize; 3] = [1, 3, 7];

/// (from, to) with the rate.
type Edges = BTreeMap<(String, String), u64>;

/// What a file says.
#[derive(Debug)]
struct Graph {
    name: String,
    processes: BTreeSet<String>,
    edges: Edges,
}

#[tokio::test]
async fn a_workflow_is_partitioned_completely_and_connected_exactly() -> Result<()> {
    let (files, skipped) = files();
    if let Some(absent) = skipped {
        println!("skipped: the recorded workflows; {} is absent", absent.display());
    }
    let cluster = Cluster::start(3).await?;
    for file in &files {
        let graph = read(file).with_context(|| file.display().to_string())?;
        for partitions in COUNTS {
            let partitions = partitions.min(graph.processes.len());
            apply(&cluster, file, partitions)?;
            let connections = check(&cluster, &graph, partitions).await?;
            applied_as_one_event(&cluster, &graph.name, partitions, connections).await?;
        }
        unchanged_changes_nothing(&cluster, file, 7.min(graph.processes.len())).await?;
        println!(
            "{}: {} processes, {} edges",
            graph.name,
            graph.processes.len(),
            graph.edges.len()
        );
    }
    listed_and_deleted(&cluster, &files).await
}

/// The samples of the format and the recorded workflows; the folder of these, when it is absent.
fn files() -> (Vec<PathBuf>, Option<PathBuf>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above");
    let recorded = root.join("../shared/data/workflows");
    let mut files = json_files(&root.join("config/networks"));
    assert!(!files.is_empty(), "config/networks has no WfFormat sample");
    if recorded.exists() {
        let found = json_files(&recorded);
        assert_eq!(found.len(), RECORDED, "{} is not complete: {found:?}", recorded.display());
        files.extend(found);
        (files, None)
    } else {
        (files, Some(recorded))
    }
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    files.sort();
    files
}

/// Reads a WfFormat file without the project's own reader.
fn read(file: &Path) -> Result<Graph> {
    let document: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    let specification = &document["workflow"]["specification"];
    let texts = |value: &Value| -> BTreeSet<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    };
    let sizes: BTreeMap<&str, u64> = specification["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| Some((file["id"].as_str()?, file["sizeInBytes"].as_u64()?)))
        .collect();
    let tasks = specification["tasks"].as_array().context("tasks")?;
    let mut graph = Graph {
        name: file.file_stem().and_then(|stem| stem.to_str()).context("a stem")?.to_owned(),
        processes: BTreeSet::new(),
        edges: Edges::new(),
    };
    let (mut reads, mut writes) = (BTreeMap::new(), BTreeMap::new());
    for task in tasks {
        let id = task["id"].as_str().context("an id")?.to_owned();
        for parent in texts(&task["parents"]) {
            graph.edges.insert((parent, id.clone()), 0);
        }
        for child in texts(&task["children"]) {
            graph.edges.insert((id.clone(), child), 0);
        }
        reads.insert(id.clone(), texts(&task["inputFiles"]));
        writes.insert(id.clone(), texts(&task["outputFiles"]));
        graph.processes.insert(id);
    }
    for ((from, to), rate) in &mut graph.edges {
        let files = writes[from].intersection(&reads[to]);
        *rate = files.filter_map(|file| sizes.get(file.as_str())).sum();
    }
    Ok(graph)
}

fn apply(cluster: &Cluster, file: &Path, partitions: usize) -> Result<()> {
    let path = file.to_str().context("a readable path")?;
    let ran =
        quorate(cluster, &["network", "apply", path, "--partitions", &partitions.to_string()])?;
    ensure!(ran.code == 0, "{path}: exit code {}: {}", ran.code, ran.stderr);
    Ok(())
}

/// Through each coordinator: every one tells the same. How many connections there are.
async fn check(cluster: &Cluster, graph: &Graph, partitions: usize) -> Result<usize> {
    let mut connections = 0;
    for coordinator in cluster.coordinators() {
        let mut client = PartitionServiceClient::new(coordinator.channel());
        let network = graph.name.clone();
        let request = ListPartitionsRequest { network: network.clone(), read: None };
        let answer = client.list(timed(request)).await?.into_inner();
        let home = homes(&answer.partitions)?;
        ensure!(answer.partitions.len() == partitions, "partitions");
        let placed: BTreeSet<String> = home.keys().cloned().collect();
        ensure!(placed == graph.processes, "the processes are not those of the file");

        let mut client = ConnectionServiceClient::new(coordinator.channel());
        let request = ListConnectionsRequest { network, ..Default::default() };
        let answer = client.list(timed(request)).await?.into_inner();
        let carried = carried(&answer.connections)?;
        let mut crossing: BTreeMap<(u32, u32), Edges> = BTreeMap::new();
        for ((from, to), rate) in &graph.edges {
            let ends = (home[from], home[to]);
            if ends.0 != ends.1 {
                let edge = (from.clone(), to.clone());
                crossing.entry(ends).or_default().insert(edge, *rate);
            }
        }
        ensure!(carried == crossing, "{}: connections differ from crossing edges", graph.name);
        connections = carried.len();
    }
    Ok(connections)
}

/// The newest revision is the apply: one event with the network, and with all of its partitions and
/// connections if it is new, else with those that are not as they were.
async fn applied_as_one_event(
    cluster: &Cluster,
    network: &str,
    partitions: usize,
    connections: usize,
) -> Result<()> {
    let mut written: BTreeMap<Kind, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for change in last_revision(cluster).await? {
        let key = change.record.as_ref().and_then(|record| record.key.clone()).context("a key")?;
        if change.op() == ChangeOp::Put {
            let new = written.entry(key.kind()).or_default().insert(key.key.to_vec());
            ensure!(new, "{network}: {key:?} is told twice");
        }
    }
    let told = |kind| written.get(&kind).map_or(0, BTreeSet::len);
    let told = [Kind::Network, Kind::Partition, Kind::Connection].map(told);
    let all = [1, partitions, connections];
    let created = partitions == COUNTS[0];
    ensure!(
        (if created { told == all } else { told[0] == 1 && told <= all && told[2] <= all[2] })
            && written.values().map(BTreeSet::len).sum::<usize>() == told.iter().sum::<usize>(),
        "{network}: the apply is an event of {told:?} networks, partitions and connections, not \
         of {partitions} partitions and {connections} connections"
    );
    ensure!(written[&Kind::Network].contains(network.as_bytes()), "another network than {network}");
    Ok(())
}

/// The partition of each process; an error when one is in two.
fn homes(partitions: &[Record]) -> Result<BTreeMap<String, u32>> {
    let mut homes = BTreeMap::new();
    for partition in partitions {
        let Some(record::Value::Partition(partition)) = &partition.value else {
            anyhow::bail!("not a partition: {partition:?}");
        };
        ensure!(!partition.processes.is_empty(), "partition {} is empty", partition.index);
        for process in &partition.processes {
            let before = homes.insert(process.id.clone(), partition.index);
            ensure!(before.is_none(), "{} is in two partitions", process.id);
        }
    }
    Ok(homes)
}

/// The edges that each connection carries.
fn carried(connections: &[Record]) -> Result<BTreeMap<(u32, u32), Edges>> {
    let mut carried = BTreeMap::new();
    for connection in connections {
        let Some(record::Value::Connection(connection)) = &connection.value else {
            anyhow::bail!("not a connection: {connection:?}");
        };
        let edges: Edges = connection
            .edges
            .iter()
            .map(|edge| ((edge.from.clone(), edge.to.clone()), edge.rate))
            .collect();
        ensure!(edges.len() == connection.edges.len(), "an edge is carried twice");
        carried.insert((connection.from, connection.to), edges);
    }
    ensure!(carried.len() == connections.len(), "two connections join the same partitions");
    Ok(carried)
}

async fn unchanged_changes_nothing(
    cluster: &Cluster,
    file: &Path,
    partitions: usize,
) -> Result<()> {
    let any = &cluster.coordinators()[0];
    let (before, _) = any.entries("").await?;
    apply(cluster, file, partitions)?;
    let (after, _) = any.entries("").await?;
    ensure!(before == after, "an unchanged file moved the revision from {before} to {after}");
    Ok(())
}

/// The command lists every network; its delete takes everything away at one revision.
async fn listed_and_deleted(cluster: &Cluster, files: &[PathBuf]) -> Result<()> {
    let listed = quorate(cluster, &["network", "list"])?.json()?;
    ensure!(listed.len() == files.len(), "{} networks are listed", listed.len());
    for network in &listed {
        let name = network["name"].as_str().context("a name")?;
        let rows = |of| quorate(cluster, &[of, "list"])?.json();
        let of_this = |row: &&Value| row["network"] == name;
        let partitions = rows("partition")?.iter().filter(of_this).count();
        let connections = rows("connection")?.iter().filter(of_this).count();
        ensure!(network["partitions"] == partitions, "{network}: {partitions} are listed");
        let deleted = quorate(cluster, &["network", "delete", name])?;
        ensure!(deleted.code == 0, "{}", deleted.stderr);
        let changes = last_revision(cluster).await?;
        ensure!(
            changes.len() == 1 + partitions + connections,
            "the delete of {name} is an event of {} changes",
            changes.len()
        );
    }
    for of in ["network", "partition", "connection"] {
        ensure!(quorate(cluster, &[of, "list"])?.json()?.is_empty(), "a {of} is left");
    }
    Ok(())
}

/// What the newest revision changed, from the change stream.
async fn last_revision(cluster: &Cluster) -> Result<Vec<Change>> {
    let any = &cluster.coordinators()[1];
    let (revision, _) = any.entries("").await?;
    let start = Some(Start::FromRevision(revision.get()));
    let mut stream = any.watch(WatchRequest { start, ..WatchRequest::default() }).await?;
    let message = tokio::time::timeout(DEADLINE, stream.message()).await??.context("an event")?;
    let event = message.events.into_iter().find(|event| event.r#type() == EventType::Changes);
    Ok(event.context("the newest revision has changes")?.changes)
}
