//! Instructions per packet, where the machine's clock counts them (`-icount`): a nanosecond is one instruction, on every
//! machine and however busy it is. Programs run through `BPF_PROG_TEST_RUN`, so the figures hold its loop too; what
//! counts is how they compare.

use std::time::Duration;

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use fairway::config::Config;
use fairway::effects::dataplane::object::{self, Object};
use fairway::effects::dataplane::{FORWARDING, Maps};
use fairway::nexthop::{self, Mac, NextHop};
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::scheduler::seed::Seed;

use crate::frame::{ACK, Frame, SYN};
use crate::network::{NOBODY, address};

/// Every run takes one from the time to live, and the kernel runs the program on what the run before has left.
const RUNS: u32 = 200;
const TIME_TO_LIVE: u8 = 255;
/// How the program's test runs begin: on the loopback interface.
const LOOPBACK: u32 = 1;
/// Octets of the shortest frame on a wire, without its checksum: what is shorter is padded.
const SHORTEST: usize = 60;
const TRANSMIT: u32 = 3;
const PASS: u32 = 2;

/// Instructions that the packet path may take above a program that does nothing: a fifth more than it did when this was
/// written, 273 and 150. The figures repeat exactly for one object and one kernel.
const MOST_FOR_DIRECT: u32 = 328;
const MOST_FOR_OTHERS: u32 = 180;

static FLOORS: &[u8] = aya::include_bytes_aligned!("../../../../lb-userspace/bpf/bench.bpf.o");

pub fn instructions_per_packet_are_few() {
    let mut floors = EbpfLoader::new().load(FLOORS).expect("the floors load");
    let (mut ebpf, _maps) = tables();
    let request = |destination: &str, tcp, flags| Frame {
        to: [2, 0, 0, 0, 0, 1],
        from: [2, 0, 0, 0, 0, 2],
        tags: Vec::new(),
        source: address("203.0.113.77"),
        destination: address(destination),
        tcp,
        flags,
        ports: [40_000, 80],
        time_to_live: TIME_TO_LIVE,
    };
    let service = request("198.51.100.10", true, ACK);
    let floor = count("XDP_TX alone", program(&mut floors, "floor_tx"), &service, TRANSMIT);
    let pass = count("XDP_PASS alone", program(&mut floors, "floor_pass"), &service, PASS);
    let direct = count("direct, TCP", program(&mut ebpf, FORWARDING), &service, TRANSMIT);
    let udp = request("198.51.100.10", false, 0);
    count("direct, UDP", program(&mut ebpf, FORWARDING), &udp, TRANSMIT);
    let opening = request("198.51.100.10", true, SYN);
    count("direct, TCP SYN", program(&mut ebpf, FORWARDING), &opening, TRANSMIT);
    let other = request("198.51.100.99", true, ACK);
    let not_ours = count("not a service", program(&mut ebpf, FORWARDING), &other, PASS);
    assert!(direct - floor <= MOST_FOR_DIRECT, "{} instructions for direct", direct - floor);
    assert!(not_ours - pass <= MOST_FOR_OTHERS, "{} instructions for what is not a service's", not_ours - pass);
}

fn tables() -> (Object, Maps) {
    const TEXT: &str = "[dataplane]\ninterfaces = [\"lo\"]\n[[service]]\nname = \"web\"\n\
        listen = [\"tcp://198.51.100.10:80\", \"udp://198.51.100.10:80\"]\n[[service.backend]]\naddress = \"192.0.2.9\"\n";
    let (config, _): (Config, _) = fairway::config::parse(TEXT, "guest").expect("it is valid");
    let sizes = object::Sizes::for_need(1 << 14, 64, 1 << 12);
    let mut ebpf = object::load(sizes).expect("the maps are made");
    let mut maps = Maps::take(&mut ebpf).expect("all maps are there");
    let mut planner = Planner::new(Seed::from_text("count"), sizes.slots, sizes.rows);
    let mut image = Image::new(sizes.slots as usize, sizes.rows as usize);
    let plan = planner.configure(Duration::ZERO, &image, &config).expect("it fits");
    plan.writes.iter().for_each(|write| image.apply(write));
    let frame = nexthop::Frame {
        interface: LOOPBACK,
        source_mac: Mac([2, 0, 0, 0, 0, 1]),
        destination_mac: Mac([2, 0, 0, 0, 0, 9]),
        tags: Vec::new(),
        mtu: 1500,
        source: None,
    };
    let hop = planner.next_hop(&image, address(NOBODY), Ok(NextHop::Frame(frame)));
    plan.writes.iter().chain(&hop).for_each(|write| maps.apply(write).expect("the maps take writes"));
    (ebpf, maps)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    object::program(ebpf, name).expect("the program loads")
}

/// Instructions of one run, the least of several measurements.
fn count(name: &str, program: &mut Xdp, frame: &Frame, action: u32) -> u32 {
    const MEASUREMENTS: usize = 20;
    let mut octets = frame.octets();
    octets.resize(octets.len().max(SHORTEST), 0);
    let measure = |_| {
        let options = TestRunOptions { data_in: Some(&octets), repeat: RUNS, ..TestRunOptions::default() };
        let result = program.test_run(options).expect("the kernel runs it");
        assert_eq!(result.return_value, action, "{name}");
        u32::try_from(result.duration.as_nanos()).expect("less than 4 s")
    };
    let least = (0..MEASUREMENTS).map(measure).min().expect("there were some");
    println!("  {name}: {least} instructions a packet");
    least
}
