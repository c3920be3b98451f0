//! Network files that were damaged at several places at once.

use std::path::Path;

use quorate_client::network_file::{FileError, to_toml};
use quorate_core::NetworkSpec;
use quorate_fuzz::Target;

use crate::{json, toml};

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/networks");
    std::fs::read(folder.join(name)).unwrap()
}

/// Text again.
fn repair(bytes: &mut Vec<u8>) {
    *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
}

fn run(
    name: &'static str,
    samples: Vec<Vec<u8>>,
    parse: fn(&str) -> Result<NetworkSpec, FileError>,
) {
    let tried = Target::new(name, samples).repaired_by(repair).run(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let spec = parse(text).map_err(|error| {
            let said = error.to_string();
            assert!(said.starts_with("net."), "it names the file: {said}");
            said
        })?;
        let written = to_toml(&spec);
        assert_eq!(toml(&written).map_err(|error| error.to_string()), Ok(spec));
        Ok(())
    });
    assert!(tried.refused_past("utf-8") > 100 && tried.accepted() > 5, "{tried:?}");
}

#[test]
fn toml_files() {
    let small =
        b"processes = [{ id = \"a\", component = \"c\" }, { id = \"b\", component = \"c\" }]\n\
                  connections = [{ from = \"a\", to = \"b\", rate = 7 }]\n";
    let mut samples: Vec<_> =
        ["clickstream.toml", "replicated.toml", "nightly.toml"].map(sample).into();
    samples.push(small.to_vec());
    run("network files in TOML", samples, toml);
}

#[test]
fn workflow_files() {
    run("network files in WfFormat", vec![sample("survey.json")], json);
}
