//! Every message, field, enum, value, service and call of the gRPC interface has a comment.

use std::{collections::BTreeSet, fs, path::Path};

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// Field numbers of `descriptor.proto`, of which the paths of comments are made.
mod tag {
    pub(super) const FILE_MESSAGE: i32 = 4;
    pub(super) const FILE_ENUM: i32 = 5;
    pub(super) const FILE_SERVICE: i32 = 6;
    pub(super) const MESSAGE_FIELD: i32 = 2;
    pub(super) const MESSAGE_NESTED: i32 = 3;
    pub(super) const MESSAGE_ENUM: i32 = 4;
    pub(super) const MESSAGE_ONEOF: i32 = 8;
    pub(super) const ENUM_VALUE: i32 = 2;
    pub(super) const SERVICE_METHOD: i32 = 2;
}

pub(crate) fn violations(root: &Path) -> Vec<String> {
    let folder = root.join("proto");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder.join("quorate/v1")).expect("the interface is in proto/") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no .proto files in {}", folder.display());
    let set = protox::compile(&files, [&folder]).expect("the interface compiles");
    let own = set.file.iter().filter(|file| file.package() == "quorate.v1");
    own.flat_map(|file| Scan::of(file).missing).collect()
}

/// What is commented in one file, and what was found to be missing.
struct Scan {
    commented: BTreeSet<Vec<i32>>,
    file: String,
    missing: Vec<String>,
}

impl Scan {
    fn of(file: &FileDescriptorProto) -> Self {
        let info = file.source_code_info.as_ref();
        let locations = info.map(|info| info.location.as_slice()).unwrap_or_default();
        let commented = locations.iter().filter(|location| {
            let text = [location.leading_comments(), location.trailing_comments()];
            text.iter().any(|text| !text.trim().is_empty())
        });
        let commented = commented.map(|location| location.path.clone()).collect();
        let mut scan = Self { commented, file: file.name().to_owned(), missing: Vec::new() };
        for (index, message) in (0..).zip(&file.message_type) {
            scan.message(&[tag::FILE_MESSAGE, index], message.name(), message);
        }
        for (index, item) in (0..).zip(&file.enum_type) {
            scan.enumeration(&[tag::FILE_ENUM, index], item.name(), item);
        }
        for (index, service) in (0..).zip(&file.service) {
            let path = [tag::FILE_SERVICE, index];
            scan.expect(&path, service.name());
            for (index, method) in (0..).zip(&service.method) {
                let name = format!("{}.{}", service.name(), method.name());
                scan.expect(&child(&path, tag::SERVICE_METHOD, index), &name);
            }
        }
        scan
    }

    fn message(&mut self, path: &[i32], name: &str, message: &DescriptorProto) {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            return; // Made by the compiler for a map field.
        }
        self.expect(path, name);
        for (index, field) in (0..).zip(&message.field) {
            let name = format!("{name}.{}", field.name());
            self.expect(&child(path, tag::MESSAGE_FIELD, index), &name);
        }
        for (index, choice) in (0..).zip(&message.oneof_decl) {
            let name = format!("{name}.{}", choice.name());
            self.expect(&child(path, tag::MESSAGE_ONEOF, index), &name);
        }
        for (index, nested) in (0..).zip(&message.nested_type) {
            let name = format!("{name}.{}", nested.name());
            self.message(&child(path, tag::MESSAGE_NESTED, index), &name, nested);
        }
        for (index, nested) in (0..).zip(&message.enum_type) {
            let name = format!("{name}.{}", nested.name());
            self.enumeration(&child(path, tag::MESSAGE_ENUM, index), &name, nested);
        }
    }

    fn enumeration(&mut self, path: &[i32], name: &str, item: &EnumDescriptorProto) {
        self.expect(path, name);
        for (index, value) in (0..).zip(&item.value) {
            let name = format!("{name}.{}", value.name());
            self.expect(&child(path, tag::ENUM_VALUE, index), &name);
        }
    }

    fn expect(&mut self, path: &[i32], name: &str) {
        if !self.commented.contains(path) {
            self.missing.push(format!("{}: {name} has no comment", self.file));
        }
    }
}

fn child(path: &[i32], tag: i32, index: i32) -> Vec<i32> {
    [path, &[tag, index]].concat()
}
