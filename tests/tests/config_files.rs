//! Every file that is shipped in config/ is loaded here by what loads it in use. A new file needs a
//! row, or this fails.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use quorate_client::network_file;
use quorate_core::{MemberId, Settings};
use quorate_node::config::Config;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    let mut files: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

#[test]
fn every_shipped_file_is_loaded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root is above");
    let folder = root.join("config");
    let (mut coordinators, mut networks) = (BTreeSet::new(), 0);
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).expect("it is in the folder").to_path_buf();
        let text = fs::read_to_string(&file).expect("a readable file");
        if name.starts_with("networks") {
            let spec = network_file::read(&file).expect("a network");
            assert!(!spec.processes.is_empty(), "{} has no processes", name.display());
            assert_eq!(spec.validate(&Settings::default()), Ok(()), "{}", name.display());
            networks += 1;
        } else if name.starts_with("grow") {
            let config = Config::from_toml(&text).expect("a coordinator's configuration");
            assert_eq!(name, PathBuf::from(format!("grow/node{}.toml", config.node.id)));
            let first = config.cluster.initial_members.len() == 1;
            assert_ne!(first, !config.cluster.join.is_empty(), "{}", name.display());
            assert_eq!(first, config.node.id == MemberId(1), "{}", name.display());
        } else if name.to_string_lossy().starts_with("node") {
            let config = Config::from_toml(&text).expect("a coordinator's configuration");
            assert_eq!(name, PathBuf::from(format!("node{}.toml", config.node.id)));
            assert_eq!(config.cluster.initial_members.len(), 3, "{}", name.display());
            coordinators.insert(config.node.id);
        } else if name == Path::new("full.toml") {
            let config = Config::from_toml(&text).expect("a coordinator's configuration");
            assert_eq!(config.node.id, MemberId(1), "the file of every field");
        } else if name == Path::new("workers.toml") {
            // Loaded by a test of the command, which alone reads such files.
        } else if name.starts_with("grafana") || name.starts_with("prometheus") {
            // Loaded by the tests in dashboards/.
        } else {
            panic!("nothing here loads config/{}", name.display());
        }
    }
    assert_eq!(coordinators, [1, 2, 3].map(MemberId).into());
    assert!(networks >= 3, "samples of each network format, and of constraints");
}
