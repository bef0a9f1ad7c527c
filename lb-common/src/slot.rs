//! One word of a lookup table: who owns the slot, and who owned it before.
//!
//! A slot is in one of three states, all in its one 32-bit word, so that one aligned store changes it and every
//! intermediate table is a correct one. The packet path reads it (`path::select`); user space moves it
//! (the scheduler's slot table). Neither keeps any other per-slot state in the maps.

/// No owner: the value of either half of a slot's word.
pub const NONE: u16 = u16::MAX;

/// The word of a slot: current owner in the low half, previous owner in the high half. Owners are backend indices
/// relative to the pool's first backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub u32);

/// What the word says about flows that were opened before the slot changed hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// Every flow belongs to the current owner.
    Settled,
    /// Flows without a record belong to the previous owner; new ones go to the current owner and are recorded.
    Unsettled,
    /// Flows with a record belong to it, all others to the current owner.
    Exceptions,
}

impl Slot {
    /// A slot whose flows all belong to `current`.
    #[inline(always)]
    pub const fn settled(current: u16) -> Self {
        Self::new(current, NONE)
    }

    /// A slot with both owners given; `previous` may be [`NONE`] (settled) or equal `current` (exceptions).
    #[inline(always)]
    pub const fn new(current: u16, previous: u16) -> Self {
        Self((previous as u32) << 16 | current as u32)
    }

    /// The owner of new flows, [`NONE`] when the pool has no backend.
    #[inline(always)]
    pub const fn current(self) -> u16 {
        self.0 as u16
    }

    /// The owner of flows without a record, [`NONE`] when settled.
    #[inline(always)]
    pub const fn previous(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// The owner of every flow, if the slot is settled and has one.
    #[inline(always)]
    pub const fn settled_owner(self) -> Option<u16> {
        // With no previous owner, one more there leaves the current owner alone in the word: one comparison for both.
        let owner = self.0.wrapping_add(1 << 16);
        if owner < NONE as u32 { Some(owner as u16) } else { None }
    }

    /// Which of the three states the word is in.
    #[inline(always)]
    pub const fn state(self) -> SlotState {
        if self.previous() == NONE {
            SlotState::Settled
        } else if self.previous() == self.current() {
            SlotState::Exceptions
        } else {
            SlotState::Unsettled
        }
    }
}
