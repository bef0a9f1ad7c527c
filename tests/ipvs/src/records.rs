//! The recorded scripts, from `tests/data/ipvs`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::script::{Script, Step};

/// Each file's name, the scheduler that it is about, and what is in it, by name.
pub fn all() -> Result<Vec<(String, String, Script)>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ipvs");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("listing {}", directory.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|it| it == "txt") {
            scripts.push(read(&file).with_context(|| file.display().to_string())?);
        }
    }
    scripts.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(scripts)
}

fn read(file: &Path) -> Result<(String, String, Script)> {
    let name = file.file_name().context("it has no name")?.to_string_lossy().into_owned();
    let script = Script::parse(&fs::read_to_string(file)?)?;
    let scheduler = match script.steps().next() {
        Some((_, Step::Scheduler { name, .. }, _)) => name.clone(),
        other => bail!("it begins with {other:?}, not with a scheduler"),
    };
    Ok((name, scheduler, script))
}
