//! What every source file promises: docs at the top, nothing unfinished, no silenced lints, and
//! files and functions of a readable length.
//!
//! Works on parsed sources, not on text: strings and comments never count.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemFn, ItemMod, Meta, TraitItemFn, spanned::Spanned, visit::Visit,
};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const FOLDERS: &[&str] = &["crates", "tests", "jepsen"];
const FORBIDDEN_MACROS: &[&str] = &["todo", "unimplemented", "dbg"];

/// One parsed source file.
pub(crate) struct Source {
    /// Relative to the root.
    path: PathBuf,
    text: String,
    file: syn::File,
    /// Compiled for tests only: declared as `#[cfg(test)] mod ...;` elsewhere.
    test_only: bool,
}

/// Applies a check to every source file.
pub(crate) fn check(root: &Path, check: fn(&Source) -> Vec<String>) -> Vec<String> {
    let sources = load(root);
    assert!(sources.len() > 10, "only {} source files were found", sources.len());
    sources
        .iter()
        .flat_map(|source| {
            let path = source.path.display().to_string();
            check(source).into_iter().map(move |found| format!("{path}{found}"))
        })
        .collect()
}

pub(crate) fn module_docs(source: &Source) -> Vec<String> {
    let documented = source.text.starts_with("//!");
    if documented { Vec::new() } else { vec![": does not begin with `//!`".to_owned()] }
}

pub(crate) fn forbidden_macros(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    each_tokens(&source.text, &mut |window| {
        if let [TokenTree::Ident(name), TokenTree::Punct(mark)] = window
            && mark.as_char() == '!'
            && FORBIDDEN_MACROS.iter().any(|forbidden| name == forbidden)
        {
            found.push(format!(":{}: {name}!", name.span().start().line));
        }
    });
    found
}

pub(crate) fn allow_attributes(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    each_tokens(&source.text, &mut |window| {
        if let [TokenTree::Punct(mark), TokenTree::Group(group)] = window
            && matches!(mark.as_char(), '#' | '!')
            && let Some(TokenTree::Ident(name)) = group.stream().into_iter().next()
            && name == "allow"
        {
            let line = group.span().start().line;
            found.push(format!(":{line}: use `#[expect(..., reason = \"...\")]` instead of allow"));
        }
    });
    found
}

pub(crate) fn file_length(source: &Source) -> Vec<String> {
    if source.test_only {
        return Vec::new();
    }
    let tests: usize =
        source.file.items.iter().filter(|item| is_test(attributes(item))).map(lines).sum();
    let length = source.text.lines().count() - tests;
    if length <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!(": {length} lines without its tests, at most {FILE_LINES_MAX}")]
}

pub(crate) fn function_length(source: &Source) -> Vec<String> {
    let mut functions = Functions(Vec::new());
    functions.visit_file(&source.file);
    functions.0
}

/// Collects functions that are too long, from `fn` to the closing brace.
struct Functions(Vec<String>);

impl Functions {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (signature.span().start().line, block.span().end().line);
        let length = end - start + 1;
        if length > FUNCTION_LINES_MAX {
            let name = &signature.ident;
            self.0.push(format!(":{start}: {name}: {length} lines, at most {FUNCTION_LINES_MAX}"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

fn load(root: &Path) -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let mut sources: Vec<Source> = paths.into_iter().map(|path| read(root, path)).collect();
    let test_files: BTreeSet<PathBuf> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        // `tests.rs` and everything below `tests/` when `tests` is for tests only.
        let mut ancestors = source.path.ancestors();
        source.test_only = ancestors.any(|path| test_files.contains(&path.with_extension("")));
    }
    sources
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).expect("a readable source file");
    let file = syn::parse_file(&text)
        .unwrap_or_else(|error| panic!("{} does not parse: {error}", path.display()));
    let path = path.strip_prefix(root).expect("sources are below the root").to_path_buf();
    Source { path, text, file, test_only: false }
}

/// The files, without extension, of the modules that this one declares for tests only.
fn test_modules(source: &Source) -> Vec<PathBuf> {
    let stem = source.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = source.path.parent().unwrap_or(Path::new(""));
    let folder = if ["lib", "main", "mod"].contains(&stem) {
        folder.to_path_buf()
    } else {
        folder.join(stem)
    };
    let declared = source.file.items.iter().filter_map(|item| match item {
        Item::Mod(ItemMod { attrs, ident, content: None, .. }) if is_test(attrs) => Some(ident),
        _ => None,
    });
    declared.map(|name| folder.join(name.to_string())).collect()
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.clone().into_iter().any(|token| token.to_string() == "test")
        }
        _ => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn lines(item: &Item) -> usize {
    item.span().end().line - item.span().start().line + 1
}

/// Calls back with every two neighbouring tokens, in every nesting.
fn each_tokens(text: &str, call: &mut dyn FnMut(&[TokenTree])) {
    let stream: TokenStream = text.parse().expect("syn has parsed this file");
    walk(stream, call);
}

fn walk(stream: TokenStream, call: &mut dyn FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for window in tokens.windows(2) {
        call(window);
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            walk(group.stream(), call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        let file = syn::parse_file(text).unwrap();
        Source { path: PathBuf::from("a.rs"), text: text.to_owned(), file, test_only: false }
    }

    #[test]
    fn a_macro_inside_a_macro_is_found_and_a_string_is_not() {
        let found = forbidden_macros(&source("//! x\nfn f() { vec![dbg!()]; \"dbg!()\"; }"));
        assert_eq!(found, [":2: dbg!"]);
    }

    #[test]
    fn inner_and_outer_allow_are_found_and_expect_is_not() {
        let text = "//! x\n#![allow(dead_code)]\n#[allow(unused)]\nfn f() {}\n#[expect(unused)]\nfn g() {}";
        assert_eq!(allow_attributes(&source(text)).len(), 2);
    }

    #[test]
    fn test_code_does_not_count_for_a_file_but_a_long_function_does() {
        let long = "let _ = 0;\n".repeat(80);
        let text = format!("//! x\n#[cfg(test)]\nmod tests {{\nfn f() {{\n{long}}}\n}}\n");
        assert_eq!(function_length(&source(&text)), [":4: f: 82 lines, at most 70"]);
        let many = "fn f() {}\n".repeat(601);
        assert!(
            file_length(&source(&format!("#[cfg(test)]\nmod tests {{\n{many}}}\n"))).is_empty()
        );
        assert_eq!(file_length(&source(&many)).len(), 1);
    }

    #[test]
    fn the_file_of_a_test_module_is_known() {
        let parent = source("#[cfg(test)]\nmod checks;\nmod other;");
        assert_eq!(test_modules(&parent), [PathBuf::from("a/checks")]);
    }
}
