//! Running a program of the operator's: the hook, a track's script. With a time limit, as another user, and never in the
//! way of anything else.
//!
//! The daemon itself does not change its user between fork and exec: a fork would copy the page tables of a process
//! whose memory is locked, and the VRRP thread would meet a page fault at every page it then writes. It starts its own
//! binary instead (`fairway run-as`, [`super::run_as`]), which the standard library does without copying anything, and that changes user
//! and becomes the program.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, geteuid};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Of a program's output the end is kept, at most so many octets: its last line says what was wrong.
const KEPT_OUTPUT: usize = 4096;
/// Of that line, so many characters.
const MOST_CHARACTERS: usize = 200;
/// Once a program has ended, what it wrote is in the pipe. A child of it that lives on may hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Program and arguments; never empty.
    pub command: Vec<String>,
    /// Who runs it.
    pub user: String,
    /// The binary that knows `run-as`: [`own_binary`].
    pub fairway: PathBuf,
}

/// This process's own binary, even when another has been installed in its place.
pub fn own_binary() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How.
    pub end: End,
    /// The last line it wrote, to either stream.
    pub last_line: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took longer than it may and was killed, with its children.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
}

impl Outcome {
    /// Whether it exited with 0.
    pub fn is_success(&self) -> bool {
        self.end == End::Code(0)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            End::Code(code) => write!(f, "exit code {code}")?,
            End::Signal(signal) => write!(f, "ended by signal {signal}")?,
            End::TimedOut(limit) => write!(f, "killed after {}", humantime::format_duration(*limit))?,
            End::NotStarted(why) => write!(f, "not started: {why}")?,
        }
        if self.last_line.is_empty() { Ok(()) } else { write!(f, ": {}", self.last_line) }
    }
}

impl Program {
    /// Runs it, with `input` on its standard input. It and its children are a process group, which is killed at the limit,
    /// and also when this future is dropped. What a program leaves running when it ends by itself is its own business.
    pub async fn run(&self, input: &[u8], environment: &[(String, String)], limit: Duration) -> Outcome {
        let (mut group, from) = match self.spawn(environment) {
            Ok((child, from)) => (Group(child), from),
            Err(error) => return Outcome { end: End::NotStarted(error.to_string()), last_line: String::new() },
        };
        let mut output = Tail::default();
        let end = match timeout(limit, converse(&mut group.0, from, input, &mut output)).await {
            Ok(Ok(status)) => ended(status),
            Ok(Err(error)) => End::NotStarted(error.to_string()),
            Err(_) => {
                group.kill();
                // It is dead in a moment; the kernel has been told.
                let _ = timeout(OUTPUT_GRACE, group.0.wait()).await;
                End::TimedOut(limit)
            }
        };
        Outcome { end, last_line: output.last_line() }
    }

    /// The process, and the end of the one pipe that both of its output streams go into: so their lines keep their order.
    fn spawn(&self, environment: &[(String, String)]) -> io::Result<(Child, pipe::Receiver)> {
        let (program, arguments) = match User::from_uid(geteuid()) {
            Ok(Some(current)) if current.name == self.user => {
                let (program, arguments) = self.command.split_first().expect("a command is never empty");
                (OsString::from(program), arguments.to_vec())
            }
            _ => {
                let arguments = ["run-as".to_owned(), self.user.clone(), "--".to_owned()];
                (self.fairway.clone().into(), arguments.into_iter().chain(self.command.iter().cloned()).collect())
            }
        };
        let (from, to) = io::pipe()?;
        let child = Command::new(program)
            .args(arguments)
            // The kernel takes no NUL in there; everything is in the event itself too.
            .envs(environment.iter().map(|(key, value)| (key, value.replace('\0', ""))))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(to.try_clone()?)
            .stderr(to)
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, pipe::Receiver::from_owned_fd(from.into())?))
    }
}

/// A process and its group. Dropped while it runs, all are killed.
struct Group(Child);

impl Group {
    /// The number is the child's until somebody has waited for it, and `id` knows: nobody else's group is hit.
    fn kill(&self) {
        let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) else { return };
        // Nobody left in it: what we want.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes to it, reads from it, and waits for its end.
async fn converse(child: &mut Child, from: pipe::Receiver, input: &[u8], output: &mut Tail) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let mut write = std::pin::pin!(async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it is given.
            let _ = stdin.write_all(input).await;
        }
    });
    let mut read = std::pin::pin!(read_all(from, output));
    let (mut written, mut all_read) = (false, false);
    let status = loop {
        tokio::select! {
            () = &mut write, if !written => written = true,
            () = &mut read, if !all_read => all_read = true,
            status = child.wait() => break status?,
        }
    };
    if !all_read {
        let _ = timeout(OUTPUT_GRACE, read).await;
    }
    Ok(status)
}

/// Reads to the end, which comes when nobody has the other end any more.
async fn read_all(mut from: pipe::Receiver, output: &mut Tail) {
    let mut piece = [0; 1024];
    // What cannot be read is as good as the end.
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        output.push(&piece[..length]);
    }
}

fn ended(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, Some(signal)) => End::Signal(signal),
        (None, None) => End::Code(-1), // neither exited nor killed: does not occur for a process that was waited for
    }
}

/// The end of what was written.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
        let excess = self.0.len().saturating_sub(KEPT_OUTPUT);
        self.0.drain(..excess);
    }

    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|character| !character.is_control()).take(MOST_CHARACTERS).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_last_line_of_either_stream_says_what_was_wrong() {
        let outcome = sh("echo all is well; echo; echo 'disk full' >&2; exit 3").run(b"", &[], LIMIT).await;
        assert_eq!(outcome.to_string(), "exit code 3: disk full");
        assert!(!outcome.is_success());
    }

    #[tokio::test]
    async fn input_and_environment_arrive() {
        let environment = [("FAIRWAY_A".to_owned(), "x\0y".to_owned())];
        let outcome = sh(r#"read line; echo "$line $FAIRWAY_A""#).run(b"hello\n", &environment, LIMIT).await;
        assert_eq!((outcome.is_success(), outcome.last_line.as_str()), (true, "hello xy"));
    }

    #[tokio::test]
    async fn a_program_that_reads_nothing_is_not_waited_for() {
        let outcome = sh("exit 0").run(&vec![b'x'; 1 << 20], &[], LIMIT).await;
        assert!(outcome.is_success(), "{outcome}");
    }

    #[tokio::test]
    async fn much_output_is_read_and_its_end_kept() {
        let outcome = sh("yes | head -c 1000000; echo done").run(b"", &[], LIMIT).await;
        assert_eq!((outcome.is_success(), outcome.last_line.as_str()), (true, "done"));
    }

    #[tokio::test]
    async fn a_child_that_lives_on_does_not_hold_its_parent_up() {
        let began = began();
        let outcome = sh("sleep 5 & echo started").run(b"", &[], LIMIT).await;
        assert_eq!((outcome.is_success(), outcome.last_line.as_str()), (true, "started"));
        assert!(began.elapsed() < Duration::from_secs(4), "it waited for the child");
    }

    #[tokio::test]
    async fn at_the_limit_it_is_killed_with_its_children() {
        let (_directory, note) = place_for_a_number();
        let script = format!("sleep 1000 & echo $! > {note}; wait");
        let outcome = sh(&script).run(b"", &[], Duration::from_millis(500)).await;
        assert_eq!(outcome.end, End::TimedOut(Duration::from_millis(500)));
        wait_until_dead(&note).await;
    }

    #[tokio::test]
    async fn given_up_it_is_killed_with_its_children() {
        let (_directory, note) = place_for_a_number();
        let script = format!("sleep 1000 & echo $! > {note}; wait");
        let program = sh(&script);
        assert!(timeout(Duration::from_millis(500), program.run(b"", &[], LIMIT)).await.is_err());
        wait_until_dead(&note).await;
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_why() {
        let program = Program { command: vec!["/nowhere/to/be/found".into()], ..sh("") };
        let outcome = program.run(b"", &[], LIMIT).await;
        assert!(matches!(&outcome.end, End::NotStarted(why) if why.contains("No such file")), "{outcome}");
    }

    #[test]
    fn a_last_line_is_short_and_printable() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 10_000]);
        tail.push(b"\n  \x1b[1mred\xff\n\n");
        assert_eq!(tail.last_line(), "[1mred\u{fffd}");
        tail.push(&[b'b'; 10_000]);
        assert_eq!((tail.0.len(), tail.last_line().len()), (KEPT_OUTPUT, MOST_CHARACTERS));
    }

    fn sh(script: &str) -> Program {
        let user = User::from_uid(geteuid()).unwrap().unwrap().name;
        Program { command: vec!["/bin/sh".into(), "-c".into(), script.into()], user, fairway: own_binary() }
    }

    fn place_for_a_number() -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        let note = directory.path().join("pid").to_str().unwrap().to_owned();
        (directory, note)
    }

    #[expect(clippy::disallowed_methods, reason = "the test measures")]
    fn began() -> Instant {
        Instant::now()
    }

    async fn wait_until_dead(note: &str) {
        let pid = std::fs::read_to_string(note).expect("the script had begun");
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..500 {
            match std::fs::read_to_string(&stat) {
                Ok(text) if !text.contains(") Z ") => tokio::time::sleep(Duration::from_millis(10)).await,
                Ok(_) | Err(_) => return,
            }
        }
        panic!("process {} lives on", pid.trim());
    }
}
