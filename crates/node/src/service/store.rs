//! `StoreService`: keys, values and transactions.

use quorate_core::Transaction;
use quorate_proto::{
    convert::{
        key::required_range,
        transaction::{PutKeys, delete_response, put_response, transaction_response},
    },
    v1::{self, store_service_server::StoreService},
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    page::{Bounds, Detail, page},
    read::Reader,
    write::{Sender, Writer},
};

/// Where a put is in the transaction that it becomes.
const PUT: &str = "success[0].put";
/// Where a delete is.
const DELETE: &str = "success[0].delete";

/// `StoreService`.
pub(super) struct Store {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    pub(super) response_bytes_max: usize,
}

#[async_trait]
impl StoreService for Store {
    async fn range(
        &self,
        request: Request<v1::RangeRequest>,
    ) -> Result<Response<v1::RangeResponse>, Status> {
        let (request, deadline) = self.reader.open(request);
        let range = required_range(request.selector, "selector")?;
        let (view, header) = self.reader.view(request.read, deadline).await?;
        let bounds = Bounds {
            records_max: records_max(request.limit, view.state.settings().range_records_max),
            bytes_max: self.response_bytes_max,
        };
        let detail = match (request.count_only, request.keys_only) {
            (true, _) => Detail::CountOnly,
            (false, true) => Detail::KeysOnly,
            (false, false) => Detail::Full,
        };
        let page = page(&view.state, &range, detail, bounds);
        Ok(Response::new(v1::RangeResponse {
            header: Some(header.into()),
            records: page.records,
            more: page.more,
            count: page.count,
        }))
    }

    async fn put(
        &self,
        request: Request<v1::PutRequest>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let (mut request, deadline) = self.writer.open(request);
        let context = request.context.take();
        let transaction = Transaction::try_from(request)?;
        let sender = Sender::new(context, &transaction, deadline)?;
        let keys = PutKeys::of(&transaction);
        let (header, reply) = self.writer.transaction(transaction, PUT, &sender).await?;
        Ok(Response::new(put_response(header, &keys, &reply)))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let (mut request, deadline) = self.writer.open(request);
        let context = request.context.take();
        let transaction = Transaction::try_from(request)?;
        let sender = Sender::new(context, &transaction, deadline)?;
        let (header, reply) = self.writer.transaction(transaction, DELETE, &sender).await?;
        Ok(Response::new(delete_response(header, &reply)))
    }

    async fn transaction(
        &self,
        request: Request<v1::TransactionRequest>,
    ) -> Result<Response<v1::TransactionResponse>, Status> {
        let (mut request, deadline) = self.writer.open(request);
        let context = request.context.take();
        let transaction = Transaction::try_from(request)?;
        let sender = Sender::new(context, &transaction, deadline)?;
        let keys = PutKeys::of(&transaction);
        let (header, reply) = self.writer.transaction(transaction, "", &sender).await?;
        Ok(Response::new(transaction_response(header, &keys, &reply)))
    }
}

/// The caller's limit, within the setting; 0: the setting.
fn records_max(asked: u32, most: u64) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    match usize::try_from(asked) {
        Ok(0) | Err(_) => most,
        Ok(asked) => asked.min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_within_the_setting() {
        assert_eq!(records_max(0, 10), 10);
        assert_eq!(records_max(3, 10), 3);
        assert_eq!(records_max(30, 10), 10);
    }
}
