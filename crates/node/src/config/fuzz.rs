//! Configuration files that were damaged at several places at once.

use std::path::PathBuf;

use quorate_fuzz::Target;

use super::Config;

#[test]
fn configuration_files() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let samples = ["node1.toml", "node2.toml", "node3.toml"];
    let samples = samples.map(|name| std::fs::read(folder.join(name)).unwrap());
    let repair = |bytes: &mut Vec<u8>| {
        *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
    };
    let tried = Target::new("configuration files", samples.into()).repaired_by(repair);
    let tried = tried.run(|bytes| {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let config = Config::from_toml(text).map_err(|error| error.to_string())?;
        config.validate().expect("what was read needs no further check");
        Ok(())
    });
    assert!(tried.refused_past("utf-8") > 100 && tried.accepted() > 5, "{tried:?}");
}
