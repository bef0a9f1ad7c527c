//! The balancer as a client of its own services. What its sockets send to a service's address is routed into a veth pair of ours, and
//! comes in by its inner end, where the program takes it for a client's. An answer that has to be translated comes in by the backends'
//! interface; it is sent in by the pair, so that the host gets it from where the service's address is routed to, which is what the
//! strictest reverse path filter expects.
//!
//! Under `nat` an answer does not tell by its ends that it is one: this host may have a connection to the same backend by its own
//! address, checks above all, and the kernel gives both the same local port when it pleases. So such a flow is recorded, as those of
//! full NAT are, and its source port becomes one of those that full NAT gives, which the kernel gives to nobody. Only what has a
//! record is translated.

/// The MAC address of both ends of the pair: what either sends, the other takes for its own.
pub const MAC: [u8; 6] = [2, b'f', b'w', b's', b'l', b'f'];
