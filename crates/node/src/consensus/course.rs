//! How a stream of appends goes: whether its requests make sense, and whether they are answered.
//!
//! What goes wrong ends a stream with an error, so that openraft decides anew what to send:
//!
//! - a request waits for its answer longer than the limit;
//! - the answers end while requests wait. Taken for a good end, openraft would go on with whatever
//!   it was last told to send on this stream, which may be long over and purged;
//! - a request says nothing new: no entries, at the place and with the commit position of the one
//!   before. openraft sends these, every few milliseconds and for ever, when the entries that a
//!   stream is to send are no longer in the log; nothing that it is told meanwhile reaches it.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use quorate_proto::v1;
use quorate_storage::{LogId, TypeConfig};

use super::{
    network::{RpcResult, rpc_error},
    wire,
};
use crate::transport::{PeerError, PeerErrorKind, PeerStream};

/// One stream of appends, seen from the leader.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    /// How many requests have no answer yet.
    waiting: Arc<AtomicU64>,
    /// Whether the stream was ended because a request said nothing new.
    idles: Arc<AtomicBool>,
}

type Place = (Option<LogId>, Option<LogId>);

impl Course {
    /// Passes requests on, up to the first that says nothing new.
    pub(super) fn requests<S>(
        &self,
        requests: S,
    ) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + use<S>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
    {
        let course = self.clone();
        let mut before: Option<Place> = None;
        requests.take_while(move |request| {
            let place = (request.prev_log_id, request.leader_commit);
            let idles = request.entries.is_empty() && before == Some(place);
            before = Some(place);
            if idles {
                course.idles.store(true, Ordering::Relaxed);
            } else {
                course.waiting.fetch_add(1, Ordering::Relaxed);
            }
            ready(!idles)
        })
    }

    /// Passes answers on; ends with an error unless every request was answered within `idle_max`
    /// and said something new.
    pub(super) fn answers(
        self,
        answers: PeerStream<v1::AppendResponse>,
        idle_max: Duration,
    ) -> BoxStream<'static, RpcResult<StreamAppendResult<TypeConfig>>> {
        let next = move |state: Option<PeerStream<v1::AppendResponse>>| {
            let course = self.clone();
            async move {
                let mut answers = state?;
                let answer = next_in_time(&mut answers, &course.waiting, idle_max).await;
                let answer = match answer {
                    Some(answer) => {
                        course.waiting.fetch_sub(1, Ordering::Relaxed);
                        answer.and_then(wire::append_response)
                    }
                    None => Err(course.end()?),
                };
                match answer {
                    Ok(result) => Some((Ok(result), Some(answers))),
                    Err(error) => Some((Err(rpc_error(error)), None)),
                }
            }
        };
        stream::unfold(Some(answers), next).boxed()
    }

    /// What is wrong with the end of the answers.
    fn end(&self) -> Option<PeerError> {
        if self.idles.load(Ordering::Relaxed) {
            let message = "the entries to send are no longer in the log";
            return Some(PeerError::new(PeerErrorKind::Invalid, message));
        }
        (self.waiting.load(Ordering::Relaxed) > 0).then(|| {
            let message = "the stream ended without an answer";
            PeerError::new(PeerErrorKind::Unreachable, message)
        })
    }
}

/// The next answer, or that there is none in time. None: the stream has ended.
async fn next_in_time(
    answers: &mut PeerStream<v1::AppendResponse>,
    waiting: &AtomicU64,
    idle_max: Duration,
) -> Option<Result<v1::AppendResponse, PeerError>> {
    // Looked at twice per limit: a request that waits at two looks in a row, without an answer in
    // between, has waited for half of it at least and all of it at most.
    let mut waited_before = false;
    loop {
        match tokio::time::timeout(idle_max / 2, answers.next()).await {
            Ok(answer) => return answer,
            Err(_) if waiting.load(Ordering::Relaxed) == 0 => waited_before = false,
            Err(_) if !waited_before => waited_before = true,
            Err(_) => {
                let message = format!("no answer to an append for {idle_max:?}");
                return Some(Err(PeerError::new(PeerErrorKind::Timeout, message)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures::future;
    use quorate_storage::Entry;

    use super::*;

    const IDLE_MAX: Duration = Duration::from_secs(1);

    fn at(index: u64) -> Option<LogId> {
        Some(LogId::new_term_index(1, index))
    }

    fn request(prev: u64, commit: u64, entries: u64) -> AppendEntriesRequest<TypeConfig> {
        let entry =
            |index| Entry { log_id: at(index).unwrap(), payload: openraft::EntryPayload::Blank };
        AppendEntriesRequest {
            vote: quorate_storage::Vote::new_committed(1, 1),
            prev_log_id: at(prev),
            leader_commit: at(commit),
            entries: (prev + 1..=prev + entries).map(entry).collect(),
        }
    }

    fn appended(index: u64) -> Result<v1::AppendResponse, PeerError> {
        Ok(wire::to_append_response(Ok(at(index))))
    }

    /// What a stream of these requests passes on, and how it ends when all are answered.
    async fn course(requests: Vec<AppendEntriesRequest<TypeConfig>>) -> (usize, bool) {
        let course = Course::default();
        // Like openraft's own stream, it does not end by itself.
        let requests = stream::iter(requests).chain(stream::once(pending()).boxed());
        let mut requests = course.requests(requests.boxed());
        let passed = Arc::new(AtomicU64::new(0));
        let counted = passed.clone();
        // A peer that answers each and ends when the requests do.
        let answers = stream::poll_fn(move |context| {
            requests.poll_next_unpin(context).map(|request| request.map(|_| appended(1)))
        });
        let answers = answers.inspect(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
        let answers = course.answers(answers.boxed(), IDLE_MAX);
        let mut ends = Box::pin(answers.filter(|answer| ready(answer.is_err())));
        let ended = tokio::time::timeout(10 * IDLE_MAX, ends.next()).await;
        let failed = matches!(ended, Ok(Some(Err(_))));
        (usize::try_from(passed.load(Ordering::Relaxed)).unwrap(), failed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_says_nothing_new_is_ended() {
        let entries_gone = vec![request(7, 3, 0), request(7, 3, 0), request(7, 3, 0)];
        assert_eq!(course(entries_gone).await, (1, true));
        let after_some =
            vec![request(5, 3, 2), request(7, 3, 0), request(7, 4, 0), request(7, 4, 0)];
        assert_eq!(course(after_some).await, (3, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_says_something_goes_on() {
        let commits = vec![request(7, 3, 0), request(7, 4, 0), request(7, 5, 0)];
        assert_eq!(course(commits).await, (3, false));
        let entries = vec![request(7, 3, 1), request(8, 3, 1), request(9, 3, 0), request(9, 9, 0)];
        assert_eq!(course(entries).await, (4, false));
        let again = vec![request(7, 3, 2), request(7, 3, 2)];
        assert_eq!(course(again).await, (2, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends_the_stream() {
        let course = Course::default();
        let mut requests = course.requests(stream::iter([request(7, 3, 1)]));
        assert!(requests.next().await.is_some());
        let began = tokio::time::Instant::now();
        let mut answers = course.answers(stream::pending().boxed(), IDLE_MAX);
        assert!(answers.next().await.is_some_and(|answer| answer.is_err()));
        assert_eq!(began.elapsed(), IDLE_MAX);
        assert!(answers.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_leaves_requests_unanswered_is_an_error() {
        let course = Course::default();
        let requests: Vec<_> = vec![request(7, 3, 1), request(8, 3, 1)];
        let taken = course.requests(stream::iter(requests)).collect::<Vec<_>>().await.len();
        let one = stream::iter([appended(8)]).boxed();
        let answers: Vec<_> = course.answers(one, IDLE_MAX).collect().await;
        let good: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!((taken, good), (2, vec![true, false]));
        // All are answered: nothing is wrong.
        let course = Course::default();
        let taken = course.requests(stream::iter([request(7, 3, 0)])).count().await;
        let one = stream::iter([appended(7)]).boxed();
        let answers: Vec<_> = course.answers(one, IDLE_MAX).collect().await;
        assert!(taken == 1 && answers.len() == 1 && answers[0].is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn without_requests_there_is_nothing_to_wait_for() {
        let mut answers = Course::default().answers(stream::pending().boxed(), IDLE_MAX);
        let silence = future::select(answers.next(), Box::pin(tokio::time::sleep(100 * IDLE_MAX)));
        assert!(matches!(silence.await, future::Either::Right(_)));
    }
}
