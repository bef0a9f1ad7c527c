//! The data plane, which is only there when something is to be forwarded: virtual routers alone need neither XDP nor
//! CAP_BPF. It is opened with the first configuration that names interfaces, and stays. What is decided before is kept
//! and written then.

use lb_common::counters::Fate;
use tracing::error;

use crate::config::Config;
use crate::controller::outliers::Counted;
use crate::controller::status::Telemetry;
use crate::controller::view::Problem;
use crate::effects::dataplane::object::Sizes;
use crate::effects::dataplane::{Account, Dataplane, Sender};
use crate::effects::supervisor::heritage;
use crate::reconcile::rows::RowIndex;
use crate::reconcile::write::Write;

/// See the module's description.
pub(super) struct Forwarding {
    sizes: Sizes,
    dataplane: Option<Dataplane>,
    /// Writes that wait for the data plane. Without services there are hardly any: each is of a change of services.
    deferred: Vec<Write>,
    /// VLAN interfaces that wait for it: index, the one below, tags.
    vlans: Vec<(u32, u32, [u32; 2])>,
}

impl Forwarding {
    /// Nothing yet; tables will have these sizes.
    pub(super) fn new(sizes: Sizes) -> Self {
        Self { sizes, dataplane: None, deferred: Vec::new(), vlans: Vec::new() }
    }

    /// Opens the data plane if this configuration needs one and it is not open yet. Call it within the async runtime.
    ///
    /// # Errors
    /// When the kernel refuses; it is as if nothing had been tried.
    pub(super) fn prepare_for(&mut self, config: &Config) -> anyhow::Result<()> {
        if self.dataplane.is_some() || config.dataplane.interfaces.is_empty() {
            return Ok(());
        }
        let mut dataplane = Dataplane::open(self.sizes)?;
        dataplane.write(&self.deferred)?;
        for (interface, below, tags) in &self.vlans {
            dataplane.set_vlan(*interface, *below, *tags)?;
        }
        if let Some(ring) = dataplane.unresolved() {
            let sender = Sender::new(ring)?;
            tokio::spawn(async move {
                if let Err(error) = sender.run().await {
                    error!(error = format!("{error:#}"), "replies without a neighbour are not sent any more");
                }
            });
        }
        dataplane.inherit(heritage::claim(&config.node.name));
        self.dataplane = Some(dataplane);
        (self.deferred, self.vlans) = (Vec::new(), Vec::new());
        Ok(())
    }

    /// The data plane, if there is one.
    pub(super) fn get(&self) -> Option<&Dataplane> {
        self.dataplane.as_ref()
    }

    /// The data plane, if there is one.
    pub(super) fn get_mut(&mut self) -> Option<&mut Dataplane> {
        self.dataplane.as_mut()
    }

    /// The data plane, for what makes no sense without.
    ///
    /// # Errors
    /// When there is none, in the words for whoever asked.
    pub(super) fn required(&mut self) -> Result<&mut Dataplane, Problem> {
        self.dataplane.as_mut().ok_or_else(|| Problem {
            exit: 1,
            message: "nothing is forwarded here: the configuration names no interfaces in [dataplane]".to_owned(),
        })
    }

    /// Carries out writes, now or when there is a data plane.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn write(&mut self, writes: Vec<Write>) -> anyhow::Result<()> {
        match &mut self.dataplane {
            Some(dataplane) => dataplane.write(&writes),
            None => {
                self.deferred.extend(writes);
                Ok(())
            }
        }
    }

    /// Takes note of who has which row, for the counters.
    ///
    /// # Errors
    /// When the kernel does not tell a row's counters.
    pub(super) fn assign_rows(&mut self, index: &RowIndex) -> anyhow::Result<()> {
        self.dataplane.as_mut().map_or(Ok(()), |dataplane| dataplane.assign_rows(index))
    }

    /// Says which interface and tags a VLAN interface stands for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn set_vlan(&mut self, interface: u32, below: u32, tags_wire: [u32; 2]) -> anyhow::Result<()> {
        match &mut self.dataplane {
            Some(dataplane) => dataplane.set_vlan(interface, below, tags_wire),
            None => {
                self.vlans.retain(|(known, ..)| *known != interface);
                self.vlans.push((interface, below, tags_wire));
                Ok(())
            }
        }
    }

    /// What was forwarded by services that `wanted` takes; `None` if nothing can be told.
    pub(super) fn totals(&self, wanted: impl Fn(&str) -> bool) -> Option<Counted> {
        let by_name =
            |((service, identity), totals): (Account, _)| ((service.to_string(), identity.to_string()), totals);
        match self.dataplane.as_ref()?.totals(wanted) {
            Ok(totals) => Some(totals.into_iter().map(by_name).collect()),
            Err(error) => {
                error!(error = format!("{error:#}"), "counters cannot be read");
                None
            }
        }
    }

    /// Fills in what was counted, by these loads and at these places of services that go by connection IDs, among others.
    pub(super) fn count<'a>(
        &self,
        telemetry: &mut Telemetry,
        loads: impl Iterator<Item = ((&'a str, &'a str), u32)>,
        places: impl Iterator<Item = u16>,
    ) {
        let Some(dataplane) = &self.dataplane else { return };
        telemetry.totals = self.totals(|_| true).unwrap_or_else(|| std::mem::take(&mut telemetry.totals));
        telemetry.refusals = dataplane.refusals().unwrap_or_default();
        telemetry.unrecorded = dataplane.unrecorded().unwrap_or_default();
        let load = |((service, identity), load): ((&str, &str), u32)| {
            Some(((service.to_owned(), identity.to_owned()), dataplane.choosers().load(load).ok()?))
        };
        telemetry.loads = loads.filter_map(load).collect();
        telemetry.quic = places.filter_map(|place| Some((place, dataplane.quic(place).ok()?))).collect();
        telemetry.passes = dataplane.reasons(Fate::Pass).unwrap_or_default();
        telemetry.drops = dataplane.reasons(Fate::Drop).unwrap_or_default();
    }
}
