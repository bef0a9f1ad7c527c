//! The few programs of the system that a lab needs, found or named together with the package that brings them.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// A program that is not there.
#[derive(Debug)]
pub struct MissingTool {
    /// The program.
    pub tool: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
}

impl fmt::Display for MissingTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not there; on Debian and Ubuntu: apt-get install {}", self.tool, self.package)
    }
}

impl std::error::Error for MissingTool {}

/// `ip`, of iproute2.
pub(super) fn ip() -> Result<PathBuf, MissingTool> {
    find("ip", "iproute2")
}

/// `nsenter`, which the lines printed for the user need.
pub(super) fn nsenter() -> Result<PathBuf, MissingTool> {
    find("nsenter", "util-linux")
}

/// Looks where a root shell would, whether or not `PATH` came through `su` or `sudo` whole.
fn find(tool: &'static str, package: &'static str) -> Result<PathBuf, MissingTool> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(tool))
        .find(|candidate| is_executable(candidate))
        .ok_or(MissingTool { tool, package })
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_names_its_package() {
        let missing = find("no-such-tool", "some-package").expect_err("it does not exist");
        assert_eq!(
            missing.to_string(),
            "no-such-tool is not there; on Debian and Ubuntu: apt-get install some-package"
        );
    }
}
