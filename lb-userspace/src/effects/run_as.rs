//! `fairway run-as USER -- PROGRAM ARGUMENTS`: becomes the user, with all of its groups, and then the program.
//!
//! A process of its own with a single thread, started by [`super::program`], which says why. Here nothing is in a hurry:
//! the user may be looked up in a directory service.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::unistd::{Gid, User, geteuid, getgrouplist, setgid, setgroups, setuid};

/// Returns only when it fails.
///
/// # Errors
/// When there is no such user, when we may not become it, and when there is no such program.
pub fn run_as(user: &str, command: &[String]) -> Result<Infallible> {
    become_user(user)?;
    become_program(command)
}

fn become_user(name: &str) -> Result<()> {
    let user = User::from_name(name).with_context(|| format!("looking for the user {name}"))?;
    let Some(user) = user else { bail!("there is no user {name}") };
    if user.uid == geteuid() {
        return Ok(());
    }
    let groups = groups_of(&user)?;
    // In this order: as another user there is no right left to change groups.
    setgroups(&groups).with_context(|| format!("taking on the groups of {name}"))?;
    setgid(user.gid).with_context(|| format!("taking on the group of {name}"))?;
    setuid(user.uid).with_context(|| format!("becoming {name}"))
}

fn groups_of(user: &User) -> Result<Vec<Gid>> {
    let name = CString::new(user.name.as_str()).context("a user's name with a NUL in it")?;
    getgrouplist(&name, user.gid).with_context(|| format!("asking for the groups of {}", user.name))
}

fn become_program(command: &[String]) -> Result<Infallible> {
    let (program, arguments) = command.split_first().context("no program to run")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("running {program}"))
}
