use super::*;

const MAC: Mac = [0x02, 0, 0, 0, 0, 0x0a];
const VIRTUAL: Mac = [0x00, 0x00, 0x5e, 0x00, 0x01, 0x33];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn padded_hex(text: &str) -> Vec<u8> {
    padded(hex(text))
}

#[test]
fn f1_f11_an_ipv4_advertisement_goes_to_the_group_with_ttl_255_from_the_virtual_mac() {
    let payload = hex("3133c80100641ec9 0a630064");
    let frame = advertisement(VIRTUAL, "10.99.0.1".parse().unwrap(), "224.0.0.18".parse().unwrap(), &payload);
    let expected = padded_hex(
        "01005e000012 00005e000133 0800
         45c0 0020 0000 0000 ff70 d037 0a630001 e0000012
         3133c80100641ec9 0a630064",
    );
    assert_eq!(frame.unwrap(), expected);
}

#[test]
fn f1_f11_an_ipv6_advertisement_goes_to_the_group_with_hop_limit_255() {
    let payload = hex("3133c8010064abcd fe80000000000000 0000000000000064");
    let source = "fe80::1".parse().unwrap();
    let frame = advertisement(VIRTUAL, source, "ff02::12".parse().unwrap(), &payload).unwrap();
    let expected = hex("333300000012 00005e000133 86dd
         6c000000 0018 70 ff fe800000000000000000000000000001 ff020000000000000000000000000012
         3133c8010064abcd fe80000000000000 0000000000000064");
    assert_eq!(frame, expected);
}

#[test]
fn an_advertisement_of_mixed_families_is_none() {
    assert_eq!(advertisement(MAC, "10.0.0.1".parse().unwrap(), "ff02::12".parse().unwrap(), &[]), None);
}

#[test]
fn s17_gratuitous_arp_is_sent_as_request_and_as_reply() {
    let frames = announcements(MAC, "10.99.0.100".parse().unwrap());
    let request =
        padded_hex("ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a 0a630064 000000000000 0a630064");
    let reply =
        padded_hex("ffffffffffff 02000000000a 0806 0001 0800 06 04 0002 02000000000a 0a630064 ffffffffffff 0a630064");
    assert_eq!(frames, [request, reply]);
    assert_eq!(frames[0].len(), 60, "padded to the least frame");
}

#[test]
fn s1_an_unsolicited_neighbour_advertisement_says_router_and_override() {
    let frames = announcements(MAC, "fd02::64".parse().unwrap());
    let expected = hex("333300000001 02000000000a 86dd
         6c000000 0020 3a ff fd020000000000000000000000000064 ff020000000000000000000000000001
         88 00 d9c7 a0000000 fd020000000000000000000000000064 0201 02000000000a");
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0], expected);
}

#[test]
fn an_arp_question_and_its_answer_are_read_back() {
    let asked = question(MAC, "10.99.0.1".parse().unwrap(), "10.99.0.254".parse().unwrap()).unwrap();
    let Some(Said::Arp(asked)) = read(&asked) else { panic!("it is ARP") };
    assert!(!asked.is_reply);
    assert_eq!(asked.target, "10.99.0.254".parse::<Ipv4Addr>().unwrap());

    let answer = arp_answer(VIRTUAL, &asked);
    assert_eq!(answer[..12], [MAC, VIRTUAL].concat(), "to the asker, from the virtual MAC address");
    let Some(Said::Arp(answer)) = read(&answer) else { panic!("it is ARP") };
    assert_eq!((answer.is_reply, answer.sender_mac, answer.target_mac), (true, VIRTUAL, MAC));
    assert_eq!((answer.sender, answer.target), (asked.target, asked.sender));
}

#[test]
fn a_neighbour_solicitation_and_its_answer_are_read_back() {
    let (source, target): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "fd02::12:3456".parse().unwrap());
    let frame = question(MAC, source.into(), target.into()).unwrap();
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    let Some(Said::Neighbour(asked)) = read(&frame) else { panic!("it is a solicitation") };
    assert_eq!(asked, Neighbour { is_advertisement: false, source, target, mac: Some(MAC) });

    let answer = neighbour_advertisement(VIRTUAL, target, Some((MAC, source)));
    assert_eq!(answer[..6], MAC);
    assert_eq!(answer[58], SOLICITED);
    let Some(Said::Neighbour(answer)) = read(&answer) else { panic!("it is an advertisement") };
    assert_eq!(answer, Neighbour { is_advertisement: true, source: target, target, mac: Some(VIRTUAL) });
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let target: Ipv6Addr = "fd02::64".parse().unwrap();
    let answer = neighbour_advertisement(VIRTUAL, target, Some((MAC, Ipv6Addr::UNSPECIFIED)));
    assert_eq!(answer, neighbour_advertisement(VIRTUAL, target, None));
}

#[test]
fn what_is_cut_short_or_damaged_says_nothing() {
    let arp = question(MAC, "10.99.0.1".parse().unwrap(), "10.99.0.254".parse().unwrap()).unwrap();
    let solicitation = question(MAC, "fe80::1".parse().unwrap(), "fd02::64".parse().unwrap()).unwrap();
    for length in 0..42 {
        assert_eq!(read(&arp[..length]), None, "ARP cut to {length}");
    }
    for length in 0..solicitation.len() {
        assert_eq!(read(&solicitation[..length]), None, "solicitation cut to {length}");
    }
    for (position, octet) in [(54, 137), (55, 1), (56, 0xff), (21, 254), (20, 17)] {
        let mut damaged = solicitation.clone();
        damaged[position] = octet;
        assert_eq!(read(&damaged), None, "octet {position} damaged");
    }
}

#[test]
fn an_option_without_length_ends_the_options() {
    assert_eq!(link_address(&[SOURCE_LINK_ADDRESS, 0, 1, 2, 3, 4, 5, 6]), None);
    assert_eq!(link_address(&[14, 1, 0, 0, 0, 0, 0, 0, TARGET_LINK_ADDRESS, 1, 2, 0, 0, 0, 0, 0x0a]), Some(MAC));
}
