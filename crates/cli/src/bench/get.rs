//! `bench get`: reads. Every reply is the value that was written before the measurement, and a
//! client never reads from before what it has read.

use std::sync::Arc;

use anyhow::Result;
use quorate_client::{Client, Consistency};
use quorate_core::{Record, Revision};

use super::{
    Finished,
    drive::{Work, drive},
    fleet::Fleet,
    payload::Payload,
    put::{report, spread},
};
use crate::{args::BenchGet, commands::Context};

/// Measures reads.
///
/// # Errors
/// When the cluster does not answer at all. Single failures are counted.
pub(crate) async fn get(context: &Context, args: &BenchGet) -> Result<Finished> {
    let load = &args.load;
    let fleet = Arc::new(Fleet::connect(context, load).await?);
    let payload = Payload::new(args.value_size);
    fleet.prepare(context, &payload).await?;
    let works = (0..load.clients as usize).map(|index| Reader {
        client: fleet.client(index).clone(),
        fleet: fleet.clone(),
        payload: payload.clone(),
        consistency: args.consistency,
        last: Revision(0),
    });
    let driven = drive("get", load, works.collect()).await?;
    if !load.keep {
        fleet.remove(context).await?;
    }
    let report = report("get", load, args.value_size, fleet.connections(), &driven);
    Ok(Finished { report, first_error: driven.first_error })
}

struct Reader {
    client: Client,
    fleet: Arc<Fleet>,
    payload: Payload,
    consistency: Consistency,
    last: Revision,
}

impl Work for Reader {
    async fn request(&mut self, sequence: u64) -> Result<(), String> {
        let index = spread(sequence, self.fleet.keys.len());
        let key = &self.fleet.keys[index];
        let get = self.client.get(key).consistency(self.consistency);
        let answer = get.await.map_err(|error| error.to_string())?;
        let (revision, last) = (answer.revision(), self.last);
        if revision < last {
            return Err(format!("read at revision {revision}, after {last}"));
        }
        self.last = revision;
        match answer.value.as_ref().map(|record| &record.value) {
            Some(Record::Entry(entry)) if entry.value == self.payload.value(index as u64) => Ok(()),
            Some(_) => Err(format!("{key} has another value than was written")),
            None => Err(format!("{key} is absent although it was written")),
        }
    }
}
