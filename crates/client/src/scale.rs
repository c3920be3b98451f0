//! Scaling: how many instances of processes there should be, and asking for it.

use quorate_core::{Name, plan::ProcessScaling};
use quorate_proto::{ConvertError, v1};

use crate::{
    call::{Call, Carried, Operation, Read, Write, rpc},
    client::Client,
};

impl Client {
    /// What [`Client::scale_network`] would do now, for each process whose bounds leave a choice. An error of
    /// kind `NotFound` when there is no such network.
    pub fn plan_scale(&self, network: &Name) -> Call<PlanScale> {
        Call::new(self, PlanScale { network: network.clone() })
    }

    /// Changes how many instances of a network's processes run, by observed load, as the leader does by itself:
    /// at once, and also while it is told not to.
    pub fn scale_network(&self, network: &Name) -> Call<ScaleNetwork> {
        Call::new(self, ScaleNetwork { network: network.clone() })
    }
}

/// Asks how a network should be scaled.
#[derive(Debug, Clone)]
pub struct PlanScale {
    network: Name,
}

impl Read for PlanScale {}

impl Operation for PlanScale {
    type Output = Vec<ProcessScaling>;
    rpc!(
        Read,
        network_service_client::NetworkServiceClient.plan_scale(PlanScaleRequest)
            -> PlanScaleResponse
    );

    fn request(&self, carried: Carried) -> v1::PlanScaleRequest {
        v1::PlanScaleRequest { name: self.network.to_string(), read: Some(carried.read.into()) }
    }

    fn read(&self, answer: v1::PlanScaleResponse) -> Result<Self::Output, ConvertError> {
        decisions(answer.decisions)
    }
}

/// Scales a network.
#[derive(Debug, Clone)]
pub struct ScaleNetwork {
    network: Name,
}

/// What scaling did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaled {
    /// What was decided.
    pub decisions: Vec<ProcessScaling>,
    /// How many processes were changed by it.
    pub changed: u32,
}

impl Write for ScaleNetwork {}

impl Operation for ScaleNetwork {
    type Output = Scaled;
    rpc!(
        Write,
        network_service_client::NetworkServiceClient.scale(ScaleNetworkRequest)
            -> ScaleNetworkResponse
    );

    fn request(&self, carried: Carried) -> v1::ScaleNetworkRequest {
        v1::ScaleNetworkRequest { name: self.network.to_string(), context: carried.context }
    }

    fn read(&self, answer: v1::ScaleNetworkResponse) -> Result<Scaled, ConvertError> {
        Ok(Scaled { decisions: decisions(answer.decisions)?, changed: answer.changed })
    }
}

fn decisions(found: Vec<v1::ProcessScaling>) -> Result<Vec<ProcessScaling>, ConvertError> {
    let decisions = found.into_iter().enumerate().map(|(at, one)| {
        let field = format!("decisions[{at}]");
        one.try_into().map_err(|error: ConvertError| error.within(&field))
    });
    decisions.collect()
}
