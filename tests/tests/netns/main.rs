//! Fairway on real packets: the daemon in a lab of network namespaces, nginx behind it and clients before it. Needs root,
//! nginx, and for the checks Redis, dnsmasq and msmtpd. Each file tests one promise; `fairway_tests::harness` is how they do it.
//!
//! The binary under test is `$FAIRWAY_BIN`, or the `fairway` that lies beside this test's build directory. nginx is
//! looked for in `$FAIRWAY_TOOLS_PATH` and then in `$PATH`.

use fairway_tests::harness;

mod access;
mod attachment;
mod checks;
mod checks_scale;
mod claims;
mod curl;
mod demo;
mod doctor;
mod echo_requests;
mod explain;
mod flow_table;
mod flows;
mod foreign_program;
mod fragments;
mod full_nat;
mod health;
mod host_traffic;
mod interfaces;
mod jumbo_frames;
mod lab;
mod lvs_methods;
mod modes;
mod nat_replies;
mod next_hops;
mod own_client;
mod path_mtu;
mod pool_changes;
mod pools;
mod port_ranges;
mod quic;
mod reload;
mod requests;
mod restart;
mod runtime_services;
mod schedulers;
mod sctp;
mod secured;
mod steering;
mod supervisor;
mod takeover;
mod tunnels;
mod two_interfaces;
mod udp;
mod vrrp_thread;
