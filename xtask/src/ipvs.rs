//! `cargo xtask record-ipvs`: runs the scripts in `tests/data/ipvs` through the IPVS of Debian's kernel, in the virtual machine of
//! the kernel tests, and writes its answers into the files. They are committed: tests compare Fairway's rules with them, and need
//! no machine.
//!
//! What runs in the machine is `tests/ipvs/src/bin/ipvs-guest`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::cargo::root;
use crate::kernel::{self, Guest};

/// The filter that stands for the forwarding methods, whose records are no scripts; also the guest's argument.
const MODES: &str = "modes";
/// The same of what the sync daemon sends.
const SYNC: &str = "sync";

/// Records the files whose names contain `filter`.
pub fn record(filter: &str) -> Result<()> {
    let (scripts, argument) = match filter {
        MODES | SYNC => (Vec::new(), filter.to_owned()),
        "" => (scripts("")?, format!("/scripts/* {MODES} {SYNC}")),
        filter => (scripts(filter)?, "/scripts/*".to_owned()),
    };
    let files: Vec<(String, Vec<u8>)> = scripts
        .iter()
        .map(|name| Ok((format!("scripts/{name}"), fs::read(directory().join(name))?)))
        .collect::<Result<_>>()?;
    let guest = Guest {
        program: "ipvs-guest",
        argument: &argument,
        modules: MODULES,
        programs: &[],
        files: &files,
        cpu: "",
        kernel: "",
    };
    let mut record = Record::default();
    kernel::run(&guest, |line| record.listen(line))?;
    if record.done.len() < scripts.len() {
        bail!("{} scripts, {} records", scripts.len(), record.done.len());
    }
    for (name, text) in &record.done {
        fs::write(directory().join(name), text)?;
    }
    println!("xtask: recorded {} files", record.done.len());
    Ok(())
}

/// What IPVS needs, the device that stands for the backends, and what a lab is made of. Debian builds no `ip_vs_twos`.
const MODULES: &[&str] = &[
    "dummy",
    "veth",
    "llc",
    "stp",
    "bridge",
    "tunnel4",
    "ip_tunnel",
    "ipip",
    "crc32c_generic",
    "libcrc32c",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_sed",
    "ip_vs_nq",
    "ip_vs_fo",
    "ip_vs_ovf",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_dh",
    "ip_vs_sh",
    "ip_vs_mh",
];

fn directory() -> PathBuf {
    root().join("tests/data/ipvs")
}

fn scripts(filter: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory())? {
        let name = entry?.file_name().into_string().ok().context("a script's name is not text")?;
        if name.ends_with(".txt") && name.contains(filter) {
            names.push(name);
        }
    }
    names.sort();
    if names.is_empty() {
        bail!("no script's name contains `{filter}`");
    }
    Ok(names)
}

/// What the machine says, taken apart.
#[derive(Default)]
struct Record {
    /// The file under way.
    current: Option<(String, String)>,
    done: Vec<(String, String)>,
}

/// As in `tests/ipvs/src/mark.rs`.
const BEGIN: &str = "ipvs-record-begin ";
const LINE: &str = "ipvs-record:";
const END: &str = "ipvs-record-end";

impl Record {
    fn listen(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix(BEGIN) {
            self.current = Some((name.to_owned(), String::new()));
        } else if line == END {
            self.done.extend(self.current.take());
        } else if let (Some(text), Some((_, current))) = (line.strip_prefix(LINE), &mut self.current) {
            current.push_str(text);
            current.push('\n');
        } else {
            println!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_among_whatever_else_the_console_says() {
        let mut record = Record::default();
        for line in ["boot", "ipvs-record-begin a.txt", "ipvs-record:one", "noise", "ipvs-record:", "ipvs-record-end"] {
            record.listen(line);
        }
        assert_eq!(record.done, [("a.txt".to_owned(), "one\n\n".to_owned())]);
    }
}
