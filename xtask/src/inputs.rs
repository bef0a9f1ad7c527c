//! What the committed eBPF objects are made from, recorded beside them: so that objects older than their sources are
//! noticed by whoever has no eBPF toolchain, which is most people and nearly every run of the tests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The file beside the objects.
pub const FILE: &str = "inputs.txt";

/// Everything that decides the objects' bytes, and the objects'. The lines of the file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Compiler flags, by the name of where they go.
    pub flags: BTreeMap<String, String>,
    /// Versions of the tools. A mismatch is no fault: another version makes other bytes from the same sources.
    pub tools: BTreeMap<String, String>,
    /// Hashes of the objects.
    pub objects: BTreeMap<String, String>,
    /// Hashes of the sources, by path from the top of the checkout.
    pub sources: BTreeMap<String, String>,
}

impl Inputs {
    /// The sources as they are in the checkout.
    pub fn of_checkout(root: &Path) -> Result<BTreeMap<String, String>> {
        let mut files = Vec::new();
        collect(&root.join("lb-ebpf"), &mut files)?;
        collect(&root.join("lb-common/src"), &mut files)?;
        files.push(root.join("lb-common/Cargo.toml"));
        let mut sources = BTreeMap::new();
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.strip_prefix(root).expect("collected under root").display().to_string();
            sources.insert(name, hash(&bytes));
        }
        let inherited = inherited_lines(
            &fs::read_to_string(root.join("Cargo.toml"))?,
            &fs::read_to_string(root.join("lb-common/Cargo.toml"))?,
        );
        sources.insert(INHERITED.to_owned(), hash(inherited.as_bytes()));
        Ok(sources)
    }

    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self> {
        let mut inputs = Self::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let (Some(kind), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else {
                bail!("{FILE}: not `KIND NAME VALUE`: {line}");
            };
            inputs.kind(kind)?.insert(name.to_owned(), value.to_owned());
        }
        Ok(inputs)
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let mut text = String::from(HEADER);
        let kinds =
            [("tool", &self.tools), ("flags", &self.flags), ("object", &self.objects), ("source", &self.sources)];
        for (kind, lines) in kinds {
            for (name, value) in lines {
                writeln!(text, "{kind} {name} {value}").expect("a String takes all that is written to it");
            }
        }
        text
    }

    fn kind(&mut self, kind: &str) -> Result<&mut BTreeMap<String, String>> {
        match kind {
            "tool" => Ok(&mut self.tools),
            "flags" => Ok(&mut self.flags),
            "object" => Ok(&mut self.objects),
            "source" => Ok(&mut self.sources),
            _ => bail!("{FILE}: unknown kind `{kind}`"),
        }
    }
}

/// SHA-256, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The names whose values differ, or that only one side has.
pub fn differences(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name} (gone)"));
    let other = now.iter().filter(|(name, value)| before.get(*name) != Some(value)).map(|(name, _)| name.clone());
    gone.chain(other).collect()
}

const HEADER: &str = "# What the eBPF objects beside this file are made from. Written by `cargo xtask ebpf`.\n";

/// The lines of the workspace's Cargo.toml that lb-common refers to, as if they were a file.
const INHERITED: &str = "Cargo.toml:inherited-by-lb-common";

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let is_source =
            path.extension().is_some_and(|extension| ["rs", "toml", "lock"].iter().any(|known| extension == *known));
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if is_source {
            files.push(path);
        }
    }
    Ok(())
}

fn inherited_lines(workspace: &str, member: &str) -> String {
    let names: Vec<&str> =
        member.lines().filter_map(|line| line.split_once(".workspace").map(|(name, _)| name)).collect();
    let is_inherited = |line: &&str| line.split_once(" =").is_some_and(|(name, _)| names.contains(&name));
    workspace.lines().filter(is_inherited).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_back_as_it_was_written() {
        let inputs = sample(&[("lb-ebpf/src/main.rs", "fn main"), ("lb-common/src/lib.rs", "pub mod")]);

        assert_eq!(Inputs::parse(&inputs.text()).unwrap(), inputs);
    }

    #[test]
    fn order_of_discovery_does_not_matter() {
        let one = sample(&[("a.rs", "1"), ("b.rs", "2")]);
        let other = sample(&[("b.rs", "2"), ("a.rs", "1")]);

        assert_eq!(one.text(), other.text());
    }

    #[test]
    fn every_kind_of_change_is_a_difference() {
        let before = sample(&[("a.rs", "1"), ("b.rs", "2")]).sources;
        let cases: &[(Files, &[&str])] = &[
            (&[("a.rs", "1"), ("b.rs", "2")], &[]),
            (&[("a.rs", "1"), ("b.rs", "3")], &["b.rs"]),
            (&[("a.rs", "2"), ("b.rs", "1")], &["a.rs", "b.rs"]),
            (&[("a.rs", "1")], &["b.rs (gone)"]),
            (&[("a.rs", "1"), ("b.rs", "2"), ("c.rs", "")], &["c.rs"]),
            (&[("a.rs", "1"), ("c.rs", "2")], &["b.rs (gone)", "c.rs"]),
        ];
        for (files, expected) in cases {
            assert_eq!(differences(&before, &sample(files).sources), *expected, "{files:?}");
        }
    }

    #[test]
    fn hash_is_sha_256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_dependency_counts_only_if_the_member_inherits_it() {
        let member = "[package]\nversion.workspace = true\n[dependencies]\nzerocopy.workspace = true\n";
        let with = |rest: &str| inherited_lines(&format!("[workspace.package]\nversion = \"1\"\n{rest}"), member);

        assert_eq!(with("zerocopy = \"8\"\ntokio = \"1\"\n"), "version = \"1\"\nzerocopy = \"8\"\n");
        assert_eq!(with("zerocopy = \"8\"\ntokio = \"2\"\n"), with("zerocopy = \"8\"\n"));
        assert_ne!(with("zerocopy = \"9\"\n"), with("zerocopy = \"8\"\n"));
    }

    #[test]
    fn a_line_of_unknown_kind_is_refused() {
        assert!(Inputs::parse("colour a.rs red").is_err());
        assert!(Inputs::parse("source a.rs").is_err());
    }

    type Files<'a> = &'a [(&'a str, &'a str)];

    fn sample(files: Files) -> Inputs {
        let mut inputs = Inputs::default();
        inputs.flags.insert("rustflags".to_owned(), "-C target-cpu=v3 -C debuginfo=2".to_owned());
        inputs.tools.insert("rustc".to_owned(), "rustc 1.96.0 (ac68faa20 2026-05-25), LLVM 22.1.8".to_owned());
        inputs.sources.extend(files.iter().map(|(name, text)| (name.to_string(), hash(text.as_bytes()))));
        inputs
    }
}
