//! `fairway vrrp`: planned hand-overs.

use clap::{Args, Subcommand};

use super::Asking;
use super::failure::Failure;
use super::output::{self, Output};
use crate::controller::view::OrderReport;
use crate::runtime::request::OrderBody;

/// What virtual routers can be told.
#[derive(Debug, Subcommand)]
pub enum VrrpCommand {
    /// Hand over to another node, and hold back until `resume`, over restarts too
    Resign(OrderOptions),
    /// Take part again
    Resume(OrderOptions),
}

/// Whom it is for.
#[derive(Args, Debug)]
pub struct OrderOptions {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Which {
    /// Name of the virtual router
    name: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Gives the order.
pub async fn order(command: &VrrpCommand) -> Result<(), Failure> {
    let (path, options, done) = match command {
        VrrpCommand::Resign(options) => ("/api/v1/vrrp/resign", options, "resigns, and holds back until resumed"),
        VrrpCommand::Resume(options) => ("/api/v1/vrrp/resume", options, "takes part again"),
    };
    let body = OrderBody { router: options.which.name.clone(), all: options.which.all };
    let report: OrderReport = options.asking.client().post(path, &body).await?;
    match options.asking.output {
        Output::Json => output::json(&report),
        Output::Table => output::text(&told(&report, done)),
    }
}

fn told(report: &OrderReport, done: &str) -> String {
    if report.routers.is_empty() {
        return "there is no virtual router\n".to_owned();
    }
    report.routers.iter().map(|router| format!("virtual router {router} {done}\n")).collect()
}
