//! The archive that the kernel unpacks as its first file system: cpio in its "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux). Uncompressed: it never leaves this machine.

use std::collections::BTreeSet;

/// Files so far.
#[derive(Default)]
pub struct Archive {
    octets: Vec<u8>,
    names: BTreeSet<String>,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

impl Archive {
    /// Adds a directory and those above it. Names have no leading slash.
    pub fn directory(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.directory(above);
        }
        self.add(name, DIRECTORY, &[]);
    }

    /// Adds a file that can be executed.
    pub fn program(&mut self, name: &str, content: &[u8]) {
        self.content(name, PROGRAM, content);
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.content(name, FILE, content);
    }

    /// The archive's octets.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.octets
    }

    fn content(&mut self, name: &str, mode: u32, content: &[u8]) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.directory(above);
        }
        self.add(name, mode, content);
    }

    /// What is there already stays: libraries are shared.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        if self.names.insert(name.to_owned()) {
            self.entry(name, mode, content);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        let inode = self.names.len() as u32;
        let [links, size, name_size] = [1, content.len() as u32, name.len() as u32 + 1];
        // Inode, mode, owner, group, links, time, size, four device numbers, length of the name, no checksum.
        let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.octets.extend(b"070701");
        fields.iter().for_each(|field| self.octets.extend(format!("{field:08x}").bytes()));
        self.octets.extend(name.bytes().chain([0]));
        self.align();
        self.octets.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_starts_on_a_multiple_of_four_and_directories_come_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.file("a/b/odd", b"x");
        archive.file("a/b/odd", b"not twice");
        let octets = archive.finish();
        let text = String::from_utf8_lossy(&octets);
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert!(starts.iter().all(|at| at % 4 == 0), "{starts:?}");
        let names: Vec<&str> = starts.iter().filter_map(|at| text[at + 110..].split('\0').next()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/odd", "TRAILER!!!"]);
    }
}
