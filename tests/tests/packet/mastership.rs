//! Services that follow a virtual router: while this node is not live for it, all that is theirs is the host's.

use fairway::effects::dataplane::LiveWords;
use fairway::native::{NativePacket, process};
use fairway::reconcile::image::Image;
use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::abi::ALWAYS_LIVE;
use lb_common::counters::Reason;
use lb_common::limits::LIVE_WORDS;

use super::build::{CLIENT_PORT, Change as _, to_client};
use super::check::{Case, case, check};
use super::fragments::{part, parts};
use super::kernel::{self, action};
use super::quotes::{WHOLE, error, too_big};
use super::state::{SLOTS, native_tables, reset, set_live};
use super::world::{self, FLAVOURS, Flavour, LAN, ROUTER, WAN, client, port};

#[test]
fn a_node_that_is_not_master_leaves_everything_to_the_host() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| {
            whole(f).into_iter().chain(fragments(f)).chain(quotes(f)).chain(replies(f)).chain(not_understood(f))
        })
        .collect()
}

const NOT_MASTER: Reason = Reason::NotMaster;

/// A packet of the usual client for a service that follows the router.
fn request(f: Flavour, service: u16) -> Frame {
    f.to(f.followed(), service)
}

fn translated(f: Flavour, frame: &Frame) -> Frame {
    let row = f.row(port::FOLLOWS_NAT, 0);
    frame.destined(f.backend(row), port::BACKEND).at(row)
}

fn whole(f: Flavour) -> Vec<Case> {
    let (direct, nat) = (request(f, port::FOLLOWS_DIRECT), request(f, port::FOLLOWS_NAT));
    let (to_direct, to_nat) = (f.row(port::FOLLOWS_DIRECT, 0), f.row(port::FOLLOWS_NAT, 0));
    let (mixed, to_mixed) = (f.request(port::FOLLOWS_MIXED), f.row(port::FOLLOWS_MIXED, 0));
    let (free, to_free) = (f.request(port::DIRECT), f.row(port::DIRECT, 0));
    let beyond = f.request(port::FOLLOWS_BEYOND);
    vec![
        case(format!("{f}: packets follow the live word as it turns, each by itself"))
            .forwards(&direct, &direct.at(to_direct), to_direct)
            .live(false)
            .passes(&direct, NOT_MASTER)
            .passes(&direct.flags(flag::SYN), NOT_MASTER)
            .live(true)
            .forwards(&direct, &direct.at(to_direct), to_direct),
        case(format!("{f}: translated ones too"))
            .forwards(&nat, &translated(f, &nat), to_nat)
            .live(false)
            .passes(&nat, NOT_MASTER)
            .passes(&nat.ttl(1), NOT_MASTER),
        case(format!("{f}: of one address only the services that follow the router are left to the host"))
            .forwards(&mixed, &mixed.at(to_mixed), to_mixed)
            .live(false)
            .passes(&mixed, NOT_MASTER)
            .forwards(&free, &free.at(to_free), to_free),
        case(format!("{f}: a live word beyond the words is never live")).passes(&beyond, NOT_MASTER),
    ]
}

fn fragments(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FOLLOWS_DIRECT, 0);
    let [first, second, third] = parts(&request(f, port::FOLLOWS_DIRECT));
    let [_, unknown, _] = parts(&f.request(port::FOLLOWS_MIXED));
    let mut nat = case(format!("{f}: fragments of a translated datagram follow the live word"));
    for frame in &parts(&request(f, port::FOLLOWS_NAT)) {
        nat = nat.forwards(frame, &translated(f, frame), f.row(port::FOLLOWS_NAT, 0));
    }
    vec![
        nat,
        case(format!("{f}: the host gets all fragments of a datagram, in any order"))
            .live(false)
            .passes(&third, NOT_MASTER)
            .passes(&first, NOT_MASTER)
            .passes(&second, Reason::HostFragment),
        case(format!("{f}: a datagram begun as master goes no further once another is"))
            .forwards(&first, &first.at(row), row)
            .forwards(&second, &second.at(row), row)
            .live(false)
            .passes(&third, NOT_MASTER),
        case(format!("{f}: a datagram begun for the host stays the host's"))
            .live(false)
            .passes(&first, NOT_MASTER)
            .live(true)
            .passes(&second, Reason::HostFragment),
        case(format!("{f}: an unknown datagram to an address with other services too drops as ever"))
            .live(false)
            .drops(&unknown, Reason::UnknownFragment),
    ]
}

fn quotes(f: Flavour) -> Vec<Case> {
    let answer = |from| Ip::new(f.followed(), f.client(client::NEAR), f.payload(from, CLIENT_PORT));
    let about = |ip: &Ip| error(f, too_big(f), ip, WHOLE);
    let (direct, nat) = (f.row(port::FOLLOWS_DIRECT, 0), f.row(port::FOLLOWS_NAT, 0));
    let (plain, outside) = (about(&answer(port::FOLLOWS_DIRECT)), about(&answer(port::FOLLOWS_NAT)));
    let inside = about(&Ip { source: f.backend(nat), ..answer(port::BACKEND) });
    let asked = request(f, port::FOLLOWS_NAT);
    let (asked, got) = (asked.ip.clone(), asked.destined(f.backend(nat), port::BACKEND).ip);
    let from_backend = |ip: &Ip, source| about(ip).with(|frame| frame.ip.source = source);
    let (refused, told) = (from_backend(&got, f.backend(nat)), from_backend(&asked, f.followed()));
    vec![
        case(format!("{f}: an error about a flow follows the flow's live word"))
            .forwards(&plain, &plain.at(direct), direct)
            .forwards(&outside, &inside.at(nat), nat)
            .live(false)
            .passes(&plain, NOT_MASTER)
            .passes(&outside, NOT_MASTER),
        case(format!("{f}: a backend's error about a translated request too"))
            .returns(&refused, &to_client(&told), WAN)
            .live(false)
            .passes(&refused, NOT_MASTER),
    ]
}

fn replies(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FOLLOWS_NAT, 0);
    let reply = f.reply(row, port::BACKEND, client::NEAR);
    let back = |frame: &Frame| to_client(&frame.sourced(f.followed(), port::FOLLOWS_NAT));
    let [first, second, third] = parts(&reply);
    vec![
        case(format!("{f}: a reply of a translated backend follows its service's live word"))
            .returns(&reply, &back(&reply), WAN)
            .live(false)
            .passes(&reply, NOT_MASTER)
            .passes(&f.reply(row, port::BACKEND, client::SELF), NOT_MASTER)
            .passes(&f.reply(row, port::BACKEND, client::UNRESOLVED), NOT_MASTER),
        case(format!("{f}: fragments of a reply that was begun as master go no further once another is"))
            .returns(&first, &back(&first), WAN)
            .returns(&second, &back(&second), WAN)
            .live(false)
            .passes(&third, NOT_MASTER),
        case(format!("{f}: fragments of a reply begun for the host are the host's"))
            .live(false)
            .passes(&first, NOT_MASTER)
            .live(true)
            .passes(&second, Reason::NotService),
    ]
}

/// What cannot be read may be for a backend that this host is: it gets it while the node is not live.
fn not_understood(f: Flavour) -> Vec<Case> {
    let sent = request(f, port::FOLLOWS_DIRECT);
    let cut = |frame: &Frame| frame.octets()[..if f.v4 { 14 + 20 + 2 } else { 14 + 40 + 2 }].to_vec();
    let truncated = case(format!("{f}: a packet cut short is dropped by the master and passed by others"))
        .drops(cut(&sent), Reason::Truncated)
        .live(false)
        .passes(cut(&sent), NOT_MASTER)
        .drops(cut(&f.request(port::FOLLOWS_MIXED)), Reason::Truncated);
    if !f.tcp {
        return vec![truncated];
    }
    // Too short for the TCP flags.
    let tiny = part(&sent, 0, 8, true);
    let later = part(&sent, 32, 48, true);
    vec![
        truncated,
        case(format!("{f}: a first fragment without all of the header is the host's too"))
            .drops(&tiny, Reason::Truncated)
            .live(false)
            .passes(&tiny, NOT_MASTER)
            .passes(&later, Reason::HostFragment),
    ]
}

#[test]
fn a_handle_of_another_thread_turns_the_word_that_packets_read() {
    let mut kernel = kernel::shared();
    reset(&mut kernel);
    let handle = LiveWords::from_fd(kernel.maps.live_words.descriptor().expect("a descriptor")).expect("a handle");
    let packet = request(FLAVOURS[0], port::FOLLOWS_DIRECT).octets();
    assert_eq!(kernel.run(&packet, LAN).0, action::TRANSMIT);
    let handle = std::thread::spawn(move || handle.set(ROUTER, false).map(|()| handle).expect("a word")).join();
    let handle = handle.expect("no panic");
    assert_eq!((handle.is_live(ROUTER), kernel.maps.live_words.is_live(ROUTER)), (false, false));
    assert_eq!(kernel.run(&packet, LAN).0, action::PASS);
    handle.set(ROUTER, true).expect("a word");
    assert_eq!(kernel.run(&packet, LAN).0, action::TRANSMIT);
}

#[test]
fn there_is_no_way_to_the_word_that_is_always_live_nor_beyond_the_words() {
    let kernel = kernel::shared();
    let words = &kernel.maps.live_words;
    assert!(words.is_live(ALWAYS_LIVE), "set when the object is loaded");
    assert!(words.set(ALWAYS_LIVE, false).is_err());
    assert!(words.set(LIVE_WORDS, true).is_err());
    assert!((1..LIVE_WORDS).all(|index| index == ROUTER || !words.is_live(index)), "all others begin as not live");
    assert!(!words.is_live(LIVE_WORDS));
    let other = std::fs::File::open("/dev/null").expect("it is there");
    assert!(LiveWords::from_fd(other.into()).is_err());
}

#[test]
fn explain_names_the_router_and_whether_this_node_is_its_master() {
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let kernel = kernel::shared();
    let mut native = native_tables(image);
    native.traced = true;
    native.routers.insert(ROUTER, "public".to_owned());
    let mut steps = |live, frame: &Frame| {
        set_live(&kernel, &mut native, live);
        native.steps.borrow_mut().clear();
        process(&mut NativePacket::new(&frame.octets(), LAN), &native);
        native.steps.borrow().join("\n")
    };
    let followed = request(FLAVOURS[0], port::FOLLOWS_DIRECT);
    let not_master = steps(false, &followed);
    assert!(not_master.contains("virtual router public: this node is not its master"), "{not_master}");
    assert!(not_master.ends_with("passed to the host: not-master"), "{not_master}");
    let master = steps(true, &followed);
    assert!(master.contains("virtual router public: this node is its master"), "{master}");
    let free = steps(false, &FLAVOURS[0].request(port::DIRECT));
    assert!(!free.contains("virtual router"), "{free}");
}
