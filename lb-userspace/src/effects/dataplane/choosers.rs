//! The tables of stateful services: who chooses, and what each backend may take and has. The packet path counts in them while
//! they are changed here, so every change is of one word.

use std::mem::offset_of;

use lb_common::abi::{Chooser, Load};
use lb_common::connection::Counted;
use lb_common::scheduler::thresholds::Thresholds;
use lb_common::scheduler::turns::{Passes, Turn};

use super::mmap::MappedArray;

/// See the module's description.
pub struct Choosers {
    choosers: MappedArray<Chooser>,
    loads: MappedArray<Load>,
}

impl Choosers {
    /// In these maps.
    pub fn new(choosers: MappedArray<Chooser>, loads: MappedArray<Load>) -> Self {
        Self { choosers, loads }
    }

    /// The same tables by mappings of their own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn duplicate(&self) -> anyhow::Result<Self> {
        Ok(Self { choosers: self.choosers.duplicate()?, loads: self.loads.duplicate()? })
    }

    /// Writes who chooses where no packet asks yet.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn write(&mut self, index: u32, chooser: Chooser) -> anyhow::Result<()> {
        self.choosers.write(index as usize, chooser)
    }

    /// Replaces who chooses, but for whose turn it is. Each word is right beside the old others: an unknown rule finds nobody, and
    /// what is beyond the loads has no weight.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn change(&self, index: u32, chooser: &Chooser) -> anyhow::Result<()> {
        let at = index as usize;
        self.choosers.store_u64(at, offset_of!(Chooser, places), chooser.places)?;
        self.choosers.store_u64(at, offset_of!(Chooser, passes), chooser.passes)?;
        self.choosers.store_u32(at, offset_of!(Chooser, rule), chooser.rule)?;
        self.choosers.store_u32(at, offset_of!(Chooser, persistence), chooser.persistence)?;
        self.choosers.store_u32(at, offset_of!(Chooser, syn_timeout), chooser.syn_timeout)?;
        self.choosers.store_u32(at, offset_of!(Chooser, closed_timeout), chooser.closed_timeout)?;
        self.choosers.store_u32(at, offset_of!(Chooser, fin_timeout), chooser.fin_timeout)
    }

    /// Begins turns anew with the passes as they are. A turn that is taken meanwhile is of the old ones: then again.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn restart_turns(&self, index: u32) -> anyhow::Result<()> {
        let at = index as usize;
        let chooser = self.choosers.read(at)?;
        let passes = Passes { step: chooser.step(), top: chooser.top(), level: false };
        loop {
            let before = self.choosers.load_u64(at, offset_of!(Chooser, turn))?;
            let after = Turn::from_word(before).restarted(passes).word();
            if self.choosers.exchange_u64(at, offset_of!(Chooser, turn), before, after)? {
                return Ok(());
            }
        }
    }

    /// Empties loads, from `first` on.
    ///
    /// # Errors
    /// When they are outside the table.
    pub fn clear_loads(&mut self, first: u32, count: u32) -> anyhow::Result<()> {
        (first..first + count).try_for_each(|index| self.loads.write(index as usize, Load::default()))
    }

    /// Copies loads.
    ///
    /// # Errors
    /// When they are outside the table.
    pub fn move_loads(&mut self, from: u32, to: u32, count: u32) -> anyhow::Result<()> {
        (0..count).try_for_each(|index| {
            let load = self.loads.read((from + index) as usize)?;
            self.loads.write((to + index) as usize, load)
        })
    }

    /// Replaces what a backend may take.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn change_load(&self, index: u32, load: &Load) -> anyhow::Result<()> {
        let at = index as usize;
        self.loads.store_u32(at, offset_of!(Load, upper), load.upper)?;
        self.loads.store_u32(at, offset_of!(Load, lower), load.lower)?;
        self.judge(index)?;
        self.loads.store_u32(at, offset_of!(Load, weight), load.weight)
    }

    /// Changes what a backend has.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn count(&self, index: u32, change: Counted) -> anyhow::Result<()> {
        let at = index as usize;
        self.loads.add_i32(at, offset_of!(Load, active_count), change.active)?;
        self.loads.add_i32(at, offset_of!(Load, inactive_count), change.inactive)?;
        self.judge(index)
    }

    /// Says whether a backend is full as things are now.
    fn judge(&self, index: u32) -> anyhow::Result<()> {
        let load = self.loads.read(index as usize)?;
        let Load { upper, lower, .. } = load;
        let is_full = (Thresholds { upper, lower }).is_full(load.full != 0, load.connections());
        if is_full != (load.full != 0) {
            self.loads.store_u32(index as usize, offset_of!(Load, full), is_full.into())?;
        }
        Ok(())
    }

    /// What a backend may take, and has.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn load(&self, index: u32) -> anyhow::Result<Load> {
        self.loads.read(index as usize)
    }

    /// Whose turn it is.
    ///
    /// # Errors
    /// When it is outside the table.
    pub fn turn(&self, index: u32) -> anyhow::Result<u64> {
        self.choosers.load_u64(index as usize, offset_of!(Chooser, turn))
    }
}
