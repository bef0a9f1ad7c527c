//! The admin socket as a file: made so that it never exists with the wrong mode, taken over from a dead daemon, and
//! never from a live one.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::{UnixListener, UnixStream};

/// Owner and group may command the daemon.
const MODE: u32 = 0o660;
/// A live daemon's socket accepts at once, unless its queue is full; then it is alive all the more.
const KNOCK: Duration = Duration::from_secs(1);

/// The file of a bound socket. Dropped, it is removed, unless another daemon's has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at the path.
pub(super) async fn bind(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        fs::create_dir_all(directory).with_context(|| format!("making {} for admin.socket", directory.display()))?;
    }
    refuse_if_taken(path).await?;
    bind_and_rename(path).with_context(|| format!("admin.socket: cannot listen at {}", path.display()))
}

async fn refuse_if_taken(path: &Path) -> Result<()> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    let shown = path.display();
    if !file.file_type().is_socket() {
        bail!("admin.socket: {shown} exists and is not a socket; remove it, or set another path");
    }
    match tokio::time::timeout(KNOCK, UnixStream::connect(path)).await {
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        Ok(Err(error)) => Err(error).with_context(|| format!("admin.socket: looking who listens at {shown}")),
        Ok(Ok(_)) | Err(_) => bail!(
            "admin.socket: another fairway is running and listens at {shown}; stop it, or give this one another \
             socket (and another node name)"
        ),
    }
}

/// Bound under another name, given its mode, then moved to its place: renaming replaces a stale socket in one step,
/// and nobody can connect while the mode is still what the umask made of it.
fn bind_and_rename(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
    let fresh = path.with_extension(std::process::id().to_string());
    let _ = fs::remove_file(&fresh); // of a dead process with the same id
    let listener = UnixListener::bind(&fresh)?;
    let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(MODE)).and_then(|()| fs::rename(&fresh, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    let inode = fs::symlink_metadata(path)?.ino();
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}
