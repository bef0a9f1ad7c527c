//! `fairway demo`: a network in namespaces, Fairway balancing in it with a real configuration, and traffic to watch.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::unistd::geteuid;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::balancer::{Balancer, Files};
use super::lab::{Lab, VETH_NOTE};
use super::process::Process;
use super::screen::{Screen, say};
use super::topology::{Replies, SERVICE_V4, SERVICE_V6, Spec};
use super::traffic::Traffic;
use super::{config, leftovers, loopback, tools};

/// Requests a second: enough to see the shares settle within seconds, too few to notice on the machine.
const RATE: u32 = 50;
const HTTP: u16 = 80;
const ECHO: u16 = 7;
/// The admin interface's usual port, inside the balancer's namespace and, if it is free there, on the host's loopback.
const ADMIN: u16 = 9910;
/// How long a master is waited for: three advertisement intervals and what a busy machine adds.
const MASTER_TRIES: u32 = 200;
const MASTER_POLL: Duration = Duration::from_millis(50);
/// Nodes that share the service's addresses.
const BALANCERS: usize = 2;
/// Key of the peer link: the demo's alone, as everything in it.
const PEER_KEY: &str = "6661697277617920706c617967726f756e64206b6579\n";

/// What `fairway demo` can be asked for.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoOptions {
    /// Stop by itself after so many seconds
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Backends
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=70))]
    pub backends: u8,
    /// Forward by address translation (nat) instead of rewriting MACs (direct)
    #[arg(long)]
    pub nat: bool,
    /// Remove what crashed runs have left behind, and do nothing else
    #[arg(long)]
    pub clean: bool,
}

/// Namespaces and XDP programs need root.
#[derive(Debug, thiserror::Error)]
#[error(
    "the playground makes network namespaces and loads an XDP program, which needs root; try\n    sudo {0}\nIt touches \
     nothing outside of its own namespaces, /run/fairway-lab and one directory under /sys/fs/bpf"
)]
pub struct NeedsRoot(String);

/// Runs the playground until Ctrl-C, SIGTERM or the end of the time asked for. Must not be called within an async
/// runtime: it brings its own.
pub fn demo(options: &DemoOptions) -> Result<()> {
    if !geteuid().is_root() {
        let line: Vec<String> = std::env::args().collect();
        return Err(NeedsRoot(line.join(" ")).into());
    }
    for prefix in leftovers::clean()? {
        say(&format!("removed what a crashed run had left: {prefix}-*"))?;
    }
    if options.clean {
        return Ok(());
    }
    tools::ip()?;
    tools::nsenter()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(options))
}

/// The pieces in the order in which they must end, which is the order in which fields are dropped: first the traffic,
/// then the daemons, then the servers, and last the network under them.
struct Playground {
    traffic: Traffic,
    balancers: Vec<Balancer>,
    servers: Vec<Process>,
    lab: Lab,
}

/// Why a run is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    TimeIsUp,
    Interrupted,
}

async fn play(options: &DemoOptions) -> Result<()> {
    // Before there is anything to tidy up, so that no signal from now on ends the process on the spot.
    let mut signals = Signals::new()?;
    let mut playground = Playground::build(options)?;
    playground.introduce()?;
    let end = playground.watch(options.seconds, &mut signals).await?;
    playground.finish(end)
}

/// Whatever asks the demo to end.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

impl Playground {
    fn build(options: &DemoOptions) -> Result<Self> {
        let replies = if options.nat { Replies::ThroughBalancer } else { Replies::Direct };
        let backends = options.backends.into();
        let spec = Spec { balancers: BALANCERS, floating: true, backends, replies, ..Spec::default() };
        let lab = Lab::build(&spec)?;
        let servers = (0..backends).map(|index| start_server(&lab, index)).collect::<Result<Vec<_>>>()?;
        fs::write(lab.directory().join(config::KEY_FILE), PEER_KEY)?;
        let balancers = (0..BALANCERS).map(|index| Balancer::start(&lab, index));
        let mut balancers = balancers.collect::<Result<Vec<_>>>()?;
        balancers.iter_mut().try_for_each(|balancer| balancer.wait_until_ready(&lab))?;
        await_master(&balancers, &lab)?;
        let targets = [SocketAddr::new(SERVICE_V4.into(), HTTP), SocketAddr::new(SERVICE_V6.into(), HTTP)];
        let traffic = Traffic::start(&lab.client(), &targets, RATE)?;
        Ok(Self { traffic, balancers, servers, lab })
    }

    /// Says what was built and what to try, in lines that can be pasted.
    fn introduce(&self) -> Result<()> {
        let first = self.balancers.first().expect("a lab has a balancer");
        let Files { config, fewer, socket, log } = &first.files;
        let (config, fewer, socket, log) = (config.display(), fewer.display(), socket.display(), log.display());
        let fairway = std::env::current_exe()?;
        let fairway = fairway.display();
        let admin = loopback::open(ADMIN, &self.lab.balancer(0), config::admin_address())?;
        let client = self.lab.client();
        let last = self.servers.len();
        let victim = self.servers.last().expect("a lab has a backend").pid();
        let daemon = first.pid();
        say(&format!(
            "The configuration of lb1, {config}:\n\n{}\n\
             Two nodes run Fairway: lb1 with it, in the namespace {}, and lb2 with priority 250 instead of 254.\n\
             lb1 logs to {log}.\n\
             Note: {VETH_NOTE}.\n\n\
             Things to try from another terminal, as root:\n\
             \x20 ask once         {}\n\
             \x20                  {}\n\
             \x20 look inside      {fairway} status --socket {socket}\n\
             \x20                  curl -s http://{admin}/metrics | grep backend_packets\n\
             \x20 kill the master  kill -9 {daemon}\n\
             \x20                  lb2 takes over within milliseconds; lb1 is started again after a while\n\
             \x20 freeze it        kill -STOP {daemon}; sleep 5; kill -CONT {daemon}\n\
             \x20 hand over        {fairway} vrrp resign --all --socket {socket}\n\
             \x20                  and back: {fairway} vrrp resume --all --socket {socket}\n\
             \x20 what happened    {fairway} show events --socket {socket}\n\
             \x20 kill a backend   kill {victim}\n\
             \x20                  b{last}'s share of the requests fails from now on: this service has no checks;\n\
             \x20                  the next line takes b{last} out, as long as lb1 is master\n\
             \x20 reload           {fairway} reload {fewer} --socket {socket}\n\
             \x20                  no more requests to b{last}; back with\n\
             \x20                  {fairway} reload {config} --socket {socket}\n\
             \nCtrl-C ends it and removes everything.\n",
            fs::read_to_string(&first.files.config)?,
            self.lab.balancer(0).name(),
            client.shell_line(&format!("curl -s http://{SERVICE_V4}/")),
            client.shell_line(&format!("curl -sg 'http://[{SERVICE_V6}]/'")),
        ))
    }

    /// Shows each second who serves what, until somebody or the clock says that it is enough.
    async fn watch(&mut self, seconds: Option<u64>, signals: &mut Signals) -> Result<End> {
        let mut screen = Screen::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.tick().await; // the first one is at once
        for second in 1.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = signals.any() => return Ok(End::Interrupted),
            }
            for balancer in &mut self.balancers {
                if let Some(news) = balancer.look_after(&self.lab)? {
                    screen.tell(&news)?;
                }
            }
            screen.show(second, &master(&self.balancers, &self.lab), self.servers.len(), &self.traffic.tally())?;
            if seconds.is_some_and(|end| second >= end) {
                break;
            }
        }
        Ok(End::TimeIsUp)
    }

    /// Ends everything in order and judges the run.
    fn finish(self, end: End) -> Result<()> {
        let Self { traffic, balancers, servers, lab } = self;
        let tally = traffic.tally();
        drop(traffic);
        let last_lines: Vec<String> = balancers.iter().map(Balancer::last_lines).collect();
        balancers.into_iter().rev().try_for_each(Balancer::stop)?;
        drop(servers);
        drop(lab);
        let why = tally.last_failure.clone().unwrap_or_else(|| "none was sent".into());
        ensure!(
            tally.total() > 0 || end == End::Interrupted,
            "no request was ever answered (the last: {why}); fairway's last lines:\n{}",
            last_lines.join("\n--\n")
        );
        say(&format!("{} requests answered, {} failed; everything is removed", tally.total(), tally.failed))
    }
}

/// Names of the nodes that hold the service's address.
fn master(balancers: &[Balancer], lab: &Lab) -> String {
    let holders = balancers.iter().filter(|balancer| balancer.holds_service(lab));
    let names: Vec<String> = holders.map(Balancer::name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join("+") }
}

/// Waits until one node has taken the service's address.
fn await_master(balancers: &[Balancer], lab: &Lab) -> Result<()> {
    for _ in 0..MASTER_TRIES {
        if balancers.iter().any(|balancer| balancer.holds_service(lab)) {
            return Ok(());
        }
        std::thread::sleep(MASTER_POLL);
    }
    let lines: Vec<String> = balancers.iter().map(Balancer::last_lines).collect();
    bail!("no node becomes master; the last lines of each:\n{}", lines.join("\n--\n"))
}

fn start_server(lab: &Lab, index: usize) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("demo-server").args(["--name", &config::backend_name(index)]);
    for address in lab.backend_listeners(index, HTTP) {
        command.args(["--http", &address.to_string()]);
    }
    for address in lab.backend_listeners(index, ECHO) {
        command.args(["--echo", &address.to_string()]);
    }
    // Held open and never written to: the server ends when this process does.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = lab.backend(index).spawn(&mut command)?;
    let output = server.child().stdout.take().expect("stdout is piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    ensure!(line.trim() == "ready", "the web server of {} did not start", config::backend_name(index));
    Ok(server)
}
