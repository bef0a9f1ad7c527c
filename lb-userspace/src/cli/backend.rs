//! `fairway backend`: what an operator wants of backends, beside the configuration and over restarts.

use std::net::IpAddr;

use clap::{Args, Subcommand};

use super::Asking;
use super::failure::Failure;
use super::output::{self, Output};
use crate::controller::view::BackendReport;
use crate::runtime::request::BackendBody;

/// What can be done with a backend.
#[derive(Debug, Subcommand)]
pub enum BackendCommand {
    /// No new connections; established ones stay, until the service's drain_timeout if it has one
    Drain(OneOrEverywhere),
    /// New connections again
    Undrain(OneOrEverywhere),
    /// No connections at all: established ones are cut off at once
    Disable(One),
    /// Connections again
    Enable(One),
    /// Another weight than the configured one
    Weight(Weighted),
    /// Take back whatever was wanted of it, also of one that has left the configuration
    Clear(One),
}

/// One backend.
#[derive(Args, Debug)]
pub struct One {
    /// Name of the service
    service: String,
    /// Name of the backend; its address, if it has no other
    backend: String,
    #[command(flatten)]
    asking: Asking,
}

/// One backend and a weight.
#[derive(Args, Debug)]
pub struct Weighted {
    /// Name of the service
    service: String,
    /// Name of the backend; its address, if it has no other
    backend: String,
    /// The weight; 0 drains
    weight: u16,
    #[command(flatten)]
    asking: Asking,
}

/// One backend, or an address in all services.
#[derive(Args, Debug)]
pub struct OneOrEverywhere {
    /// Name of the service
    #[arg(required_unless_present = "everywhere", requires = "backend")]
    service: Option<String>,
    /// Name of the backend; its address, if it has no other
    backend: Option<String>,
    /// Wherever a service has this address, also those to come
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["service", "backend"])]
    everywhere: Option<IpAddr>,
    #[command(flatten)]
    asking: Asking,
}

/// Gives the order.
pub async fn order(command: &BackendCommand) -> Result<(), Failure> {
    let (action, body, asking) = match command {
        BackendCommand::Drain(options) => ("drain", options.body(), &options.asking),
        BackendCommand::Undrain(options) => ("undrain", options.body(), &options.asking),
        BackendCommand::Disable(options) => ("disable", options.body(), &options.asking),
        BackendCommand::Enable(options) => ("enable", options.body(), &options.asking),
        BackendCommand::Weight(options) => ("weight", options.body(), &options.asking),
        BackendCommand::Clear(options) => ("clear", options.body(), &options.asking),
    };
    let report: BackendReport = asking.client().post(&format!("/api/v1/backend/{action}"), &body).await?;
    match asking.output {
        Output::Json => output::json(&report),
        Output::Table => output::text(&report.lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
    }
}

impl One {
    fn body(&self) -> BackendBody {
        let (service, backend) = (Some(self.service.clone()), Some(self.backend.clone()));
        BackendBody { service, backend, ..BackendBody::default() }
    }
}

impl Weighted {
    fn body(&self) -> BackendBody {
        let (service, backend) = (Some(self.service.clone()), Some(self.backend.clone()));
        BackendBody { service, backend, weight: Some(self.weight), ..BackendBody::default() }
    }
}

impl OneOrEverywhere {
    fn body(&self) -> BackendBody {
        let Self { service, backend, everywhere, .. } = self;
        BackendBody { service: service.clone(), backend: backend.clone(), everywhere: *everywhere, weight: None }
    }
}
