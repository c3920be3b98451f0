//! Reads the log at open, checks it against the durability record, and adds what only the journal
//! has.
//!
//! What the record of the last settlement covers must be in the database, to the bit. What comes
//! after it is taken when it is whole, and dropped when its end was cut off; then the blocks of the
//! journal that are missing are added. What the newest record does not cover was told to nobody.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    BLOCK_PREFIX, COMMITTED_KEY, VOTE_KEY,
    block::{self, Decoded},
    block_key,
    shared::{BlockInfo, LogView},
    tail::Tail,
};
use crate::{
    disk::{Batch, Database},
    durability::{Keeper, Record},
    error::OpenError,
    format::{Position, VoteRecord, seal, unseal},
    fragment::{self, Found},
    raft_types::{LogId, Vote},
};

/// Reads and checks the log, makes it durable, and brings the record up to date. Gives the log as
/// readers see it.
pub(crate) fn recover(
    db: &Arc<dyn Database>,
    keeper: &mut Keeper,
    tail_bytes_max: usize,
) -> Result<LogView, OpenError> {
    let (settled, newest) = (keeper.settled.clone(), keeper.record.clone());
    let mut log = Log::new(&settled, &newest, tail_bytes_max);
    fragment::scan(&**db, BLOCK_PREFIX, |found| log.take(found))?;
    log.check_end(&settled)?;
    let found = read_vote(&**db)?;
    check_vote(found, &settled)?;
    let vote = found.max(newest.vote);
    let committed = match db.get(COMMITTED_KEY)? {
        Some(bytes) => unseal::<Option<Position>>(&bytes)
            .map_err(|error| damaged(format!("the committed position: {error}")))?,
        None => None,
    };

    for stale in std::mem::take(&mut log.stale).chunks(64) {
        let mut batch = Batch::default();
        for (key, pieces) in stale {
            fragment::delete(&mut batch, key, *pieces);
        }
        db.apply(batch)?;
    }
    log.cut = false;
    for block in std::mem::take(&mut keeper.blocks) {
        log.replay(&**db, block)?;
    }
    log.check_end(&newest)?;
    if let Some(vote) = vote.filter(|_| vote != found) {
        let mut batch = Batch::default();
        batch.put(VOTE_KEY, seal(&vote));
        db.apply(batch)?;
    }
    db.sync()?;
    keeper.record.vote = vote;
    keeper.record.last = log.last;
    keeper.record.chain = log.chain;
    (keeper.record.base, keeper.record.base_chain) =
        if log.view.blocks.is_empty() { (log.next, log.chain) } else { log.base };
    keeper.settle()?;

    let mut view = log.view;
    view.vote = vote.map(Vote::from);
    view.purged = settled.purged.map(LogId::from);
    view.last = log.last.map(LogId::from);
    view.committed = committed.map(LogId::from);
    if let Some(purged) = view.purged {
        view.tail.purge(purged.index() + 1);
    }
    Ok(view)
}

fn read_vote(db: &dyn Database) -> Result<Option<VoteRecord>, OpenError> {
    let Some(bytes) = db.get(VOTE_KEY)? else { return Ok(None) };
    let vote = unseal(&bytes).map_err(|error| damaged(format!("the vote: {error}")))?;
    Ok(Some(vote))
}

/// The vote found must be at least the one recorded.
fn check_vote(found: Option<VoteRecord>, record: &Record) -> Result<(), OpenError> {
    if found >= record.vote {
        return Ok(());
    }
    let say = |vote: Option<VoteRecord>| match vote {
        Some(vote) => format!("a vote in term {} for member {}", vote.term, vote.voted_for),
        None => "no vote".to_owned(),
    };
    Err(damaged(format!(
        "the vote is missing: {} was recorded as durable, {} was found",
        say(record.vote),
        say(found)
    )))
}

/// The log as far as it was read.
struct Log<'a> {
    /// What the database must hold.
    settled: &'a Record,
    /// What it must hold with the journal.
    newest: &'a Record,
    view: LogView,
    /// The index of the entry to come.
    next: u64,
    last: Option<Position>,
    chain: u64,
    /// The first entry of the first block, and the chain before it.
    base: (u64, u64),
    tail_bytes_max: usize,
    /// Set when the end of the log was cut off: nothing may follow.
    cut: bool,
    /// What a purge or a crash left behind.
    stale: Vec<(Vec<u8>, u16)>,
}

impl<'a> Log<'a> {
    fn new(settled: &'a Record, newest: &'a Record, tail_bytes_max: usize) -> Self {
        Self {
            settled,
            newest,
            view: LogView::new(Tail::new(settled.base)),
            next: settled.base,
            last: settled.purged,
            chain: settled.base_chain,
            base: (settled.base, settled.base_chain),
            tail_bytes_max,
            cut: false,
            stale: Vec::new(),
        }
    }

    fn take(&mut self, found: Found) -> Result<(), OpenError> {
        let Some(first) = found.key.get(1..).and_then(|key| key.try_into().ok()) else {
            return Err(damaged("a log block has a key that is none".into()));
        };
        let first = u64::from_be_bytes(first);
        if first < self.next && !self.is_new() {
            // Purged before the crash: recorded as gone, not deleted yet.
            self.stale.push((found.key.to_vec(), found.pieces));
            return Ok(());
        }
        let Some(bytes) = found.value else {
            if self.covered(first) {
                return Err(damaged(format!("the log block of entry {first} is incomplete")));
            }
            self.cut = true;
            self.stale.push((found.key.to_vec(), found.pieces));
            return Ok(());
        };
        let decoded = block::decode(bytes)
            .map_err(|error| damaged(format!("the log block of entry {first}: {error}")))?;
        if decoded.first != first {
            return Err(self.gap(first));
        }
        self.add(decoded, found.pieces)
    }

    /// Adds a block of the journal, unless the database has it.
    fn replay(&mut self, db: &dyn Database, bytes: Bytes) -> Result<(), OpenError> {
        let decoded = block::decode(bytes.clone())
            .map_err(|error| damaged(format!("a log block in the journal: {error}")))?;
        if decoded.first < self.next && !self.is_new() {
            return Ok(());
        }
        let mut batch = Batch::default();
        let pieces = fragment::put(&mut batch, &block_key(decoded.first), &bytes)?;
        self.add(decoded, pieces)?;
        Ok(db.apply(batch)?)
    }

    /// Whether nothing is known of the log yet: the first block found is the first one ever.
    fn is_new(&self) -> bool {
        self.settled.last.is_none() && self.view.blocks.is_empty()
    }

    fn add(&mut self, decoded: Decoded, pieces: u16) -> Result<(), OpenError> {
        let first = decoded.first;
        if self.is_new() {
            self.base = (first, decoded.chain_before);
            (self.next, self.chain) = self.base;
        }
        if self.cut || first != self.next || decoded.chain_before != self.chain {
            return Err(self.gap(first));
        }
        for (entry, chain) in decoded.entries {
            let position = Position::from(entry.log_id);
            for record in [self.settled, self.newest] {
                if let Some(last) = record.last
                    && last.index == position.index
                    && (last != position || record.chain != chain)
                {
                    return Err(damaged(format!(
                        "the log differs from what was recorded as durable: {position} was found \
                         where {last} with another history was recorded"
                    )));
                }
            }
            self.chain = chain;
            self.next = position.index + 1;
            if self.last.is_none_or(|last| last.index < position.index) {
                self.last = Some(position);
            }
            self.view.tail.push(entry);
        }
        self.view.blocks.insert(first, BlockInfo { last: self.next - 1, pieces });
        self.view.tail.evict(self.next, self.tail_bytes_max);
        Ok(())
    }

    /// Whether the database must hold this entry.
    fn covered(&self, index: u64) -> bool {
        self.settled.last.is_some_and(|last| index <= last.index)
    }

    fn gap(&self, found: u64) -> OpenError {
        damaged(format!(
            "log entries from {} on are missing: the next block found begins with entry {found} or \
             does not continue the log",
            self.next
        ))
    }

    /// Everything that was recorded must have been found.
    fn check_end(&self, record: &Record) -> Result<(), OpenError> {
        let Some(recorded) = record.last else { return Ok(()) };
        if self.next > recorded.index {
            return Ok(());
        }
        let found = match self.last {
            Some(last) => format!("the log found ends with {last}"),
            None => "no log was found".to_owned(),
        };
        Err(damaged(format!(
            "log entries {}..={} are missing: {recorded} was recorded as durable, {found}",
            self.next, recorded.index
        )))
    }
}

fn damaged(message: String) -> OpenError {
    OpenError::Damaged(message)
}

/// Whether a database holds a log at all.
pub(crate) fn holds_log(db: &dyn Database) -> io::Result<bool> {
    let some_block = db.scan(&block_key(0), &[BLOCK_PREFIX + 1], 1)?;
    Ok(!some_block.is_empty() || db.get(VOTE_KEY)?.is_some())
}
