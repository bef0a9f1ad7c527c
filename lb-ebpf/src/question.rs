//! What a global function is asked. The verifier walks such a function by itself, once, and not once more on every path that leads
//! to it; but it takes numbers only, so the question lies in a map's element.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use lb_common::abi::Service;
use lb_common::flow::Flow;
use lb_common::packet::transport::Flags;

/// Of which service, which flow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Question {
    pub service: Service,
    pub flow: Flow,
}

#[map]
static QUESTION: PerCpuArray<Question> = PerCpuArray::with_max_entries(1, 0);

/// In the place of flags: the packet is one that an ICMP error quotes.
const QUOTED: u32 = 1 << 8;

impl Question {
    /// Writes the question down for who is called next.
    #[inline(always)]
    pub fn pose(service: &Service, flow: &Flow) -> Option<()> {
        let question = QUESTION.get_ptr_mut(0)?;
        // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
        unsafe { question.write(Self { service: *service, flow: *flow }) };
        Some(())
    }

    /// What was written down just now.
    #[inline(always)]
    pub fn posed() -> Option<&'static Self> {
        let question = QUESTION.get_ptr_mut(0)?;
        // SAFETY: the element is this CPU's own, and nothing writes it before the next question.
        Some(unsafe { &*question })
    }

    /// Flags, or that there are none, as a number.
    #[inline(always)]
    pub fn number(flags: Option<Flags>) -> u32 {
        flags.map_or(QUOTED, |flags| u32::from(flags.0))
    }

    /// The flags that a number stands for.
    #[inline(always)]
    pub fn flags(number: u32) -> Option<Flags> {
        (number != QUOTED).then_some(Flags(number as u8))
    }
}
