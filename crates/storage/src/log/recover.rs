//! Reads the log at open, checks it against the durability record and the checkpoint, and adds what
//! only the journal has.
//!
//! What the record of the last settlement covers must be in the database, to the bit. What comes
//! after it is taken when it is whole, and dropped when its end was cut off; then the blocks of the
//! journal that are missing are added. What the newest record does not cover was told to nobody.
//!
//! A log that ends before the checkpoint begins anew after it: a crash came between the install of
//! the checkpoint and the purge, and what the log holds was replaced, or is in the checkpoint.
//!
//! Invariant: everything is checked before anything is changed.

use std::io;

use bytes::Bytes;

use super::{
    BLOCK_PREFIX, COMMITTED_KEY, VOTE_KEY,
    block::{self, Decoded},
    block_key,
    flush::{DELETES_PER_BATCH, restart},
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

/// A log that was read and checked, and what is left to do before it is used.
pub(crate) struct Recovery {
    view: LogView,
    /// What is to be recorded.
    record: Record,
    /// What a purge or a crash left behind: keys and pieces.
    stale: Vec<(Vec<u8>, u16)>,
    /// The blocks that only the journal has.
    missing: Vec<(u64, Bytes)>,
    /// The vote, when only the journal has it.
    vote: Option<VoteRecord>,
    /// Blocks that go once the record says so.
    gone: Vec<(Vec<u8>, u16)>,
}

impl Recovery {
    /// Reads the log and checks it against the record, and against the last entry that the
    /// checkpoint covers. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn read(
        db: &dyn Database,
        keeper: &mut Keeper,
        covered: Option<Position>,
        tail_bytes_max: usize,
    ) -> Result<Self, OpenError> {
        let (settled, newest) = (keeper.settled.clone(), keeper.record.clone());
        let mut log = Log::new(&settled, &newest, covered, tail_bytes_max);
        fragment::scan(db, BLOCK_PREFIX, |found| log.take(found))?;
        log.check_end(&settled)?;
        let found = read_vote(db)?;
        check_vote(found, &settled)?;
        let vote = found.max(newest.vote);
        let committed = read_committed(db)?;
        log.cut = false;
        for block in std::mem::take(&mut keeper.blocks) {
            log.replay(block)?;
        }
        log.check_end(&newest)?;

        let mut record = newest.clone();
        (record.vote, record.last, record.chain) = (vote, log.last, log.chain);
        (record.base, record.base_chain) =
            if log.view.blocks.is_empty() { (log.next, log.chain) } else { log.base };
        let joined = log.joined()?;
        let Log { view, stale, missing, .. } = log;
        let vote = vote.filter(|_| vote != found);
        let mut this = Self { view, record, stale, missing, vote, gone: Vec::new() };
        if let (Some(covered), false) = (covered, joined) {
            this.begin_after(covered);
        }
        this.finish_view(committed);
        Ok(this)
    }

    /// Lets the log begin anew after this entry.
    fn begin_after(&mut self, covered: Position) {
        let blocks = std::mem::take(&mut self.view.blocks);
        self.missing.clear();
        self.gone = blocks
            .into_iter()
            .map(|(first, info)| (block_key(first).to_vec(), info.pieces))
            .collect();
        let record = &mut self.record;
        record.chain = restart(covered);
        (record.base, record.base_chain) = (covered.index + 1, record.chain);
        (record.last, record.purged) = (Some(covered), Some(covered));
        self.view.tail = Tail::new(covered.index + 1);
    }

    fn finish_view(&mut self, committed: Option<Position>) {
        self.view.vote = self.record.vote.map(Vote::from);
        self.view.purged = self.record.purged.map(LogId::from);
        self.view.last = self.record.last.map(LogId::from);
        self.view.committed = committed.map(LogId::from);
        if let Some(purged) = self.view.purged {
            self.view.tail.purge(purged.index() + 1);
        }
    }

    /// Makes the log durable as it was read, and brings the record up to date. Gives the log as
    /// readers see it.
    ///
    /// # Errors
    /// Of the disk.
    pub(crate) fn apply(self, db: &dyn Database, keeper: &mut Keeper) -> io::Result<LogView> {
        delete(db, &self.stale)?;
        for (first, block) in &self.missing {
            let mut batch = Batch::default();
            fragment::put(&mut batch, &block_key(*first), block)?;
            db.apply(batch)?;
        }
        if let Some(vote) = self.vote {
            let mut batch = Batch::default();
            batch.put(VOTE_KEY, seal(&vote));
            db.apply(batch)?;
        }
        db.sync()?;
        let (sequence, journal) = (keeper.record.sequence, keeper.record.journal);
        keeper.record = Record { sequence, journal, ..self.record };
        keeper.begin()?;
        delete(db, &self.gone)?;
        Ok(self.view)
    }
}

fn delete(db: &dyn Database, blocks: &[(Vec<u8>, u16)]) -> io::Result<()> {
    for some in blocks.chunks(DELETES_PER_BATCH) {
        let mut batch = Batch::default();
        some.iter().for_each(|(key, pieces)| fragment::delete(&mut batch, key, *pieces));
        db.apply(batch)?;
    }
    Ok(())
}

fn read_committed(db: &dyn Database) -> Result<Option<Position>, OpenError> {
    let Some(bytes) = db.get(COMMITTED_KEY)? else { return Ok(None) };
    unseal(&bytes).map_err(|error| damaged(format!("the committed position: {error}")))
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
    /// The last entry that the checkpoint covers.
    covered: Option<Position>,
    /// What the log holds at that index.
    there: Option<Position>,
    view: LogView,
    /// The index of the entry to come.
    next: u64,
    last: Option<Position>,
    chain: u64,
    /// The first entry of the first block, and the chain before it.
    base: (u64, u64),
    /// Whether the record says with which entry the log begins. Otherwise the first block found
    /// says it: the log never held an entry that was told of.
    begun: bool,
    tail_bytes_max: usize,
    /// Set when the end of the log was cut off: nothing may follow.
    cut: bool,
    /// See [`Recovery`].
    stale: Vec<(Vec<u8>, u16)>,
    missing: Vec<(u64, Bytes)>,
}

impl<'a> Log<'a> {
    fn new(
        settled: &'a Record,
        newest: &'a Record,
        covered: Option<Position>,
        tail_bytes_max: usize,
    ) -> Self {
        // In its first lap only the frames know where the log begins.
        let first = if settled.last.is_some() { settled } else { newest };
        Self {
            settled,
            newest,
            covered,
            there: None,
            view: LogView::new(Tail::new(first.base)),
            next: first.base,
            last: settled.purged,
            chain: first.base_chain,
            base: (first.base, first.base_chain),
            begun: first.last.is_some(),
            tail_bytes_max,
            cut: false,
            stale: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn take(&mut self, found: Found) -> Result<(), OpenError> {
        let Some(first) = found.key.get(1..).and_then(|key| key.try_into().ok()) else {
            return Err(damaged("a log block has a key that is none".into()));
        };
        let first = u64::from_be_bytes(first);
        if self.settled.last.is_some() && first < self.settled.base {
            // Purged before the crash: recorded as gone, not deleted yet.
            self.stale.push((found.key.to_vec(), found.pieces));
            return Ok(());
        }
        let Some(bytes) = found.value else {
            if self.recorded(first) {
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
    fn replay(&mut self, bytes: Bytes) -> Result<(), OpenError> {
        let decoded = block::decode(bytes.clone())
            .map_err(|error| damaged(format!("a log block in the journal: {error}")))?;
        let first = decoded.first;
        if self.begun && self.base.0 <= first && first < self.next {
            return Ok(());
        }
        self.add(decoded, fragment::pieces(bytes.len()))?;
        self.missing.push((first, bytes));
        Ok(())
    }

    fn add(&mut self, decoded: Decoded, pieces: u16) -> Result<(), OpenError> {
        let first = decoded.first;
        if !self.begun {
            self.begun = true;
            (self.next, self.base.0) = (first, first);
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
            if self.covered.is_some_and(|covered| covered.index == position.index) {
                self.there = Some(position);
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

    /// Whether the log goes on after the checkpoint, or joins it; false: it ends before it.
    fn joined(&self) -> Result<bool, OpenError> {
        let (covered, purged) = (self.covered, self.settled.purged);
        if let Some(purged) = purged
            && covered.is_none_or(|covered| covered.index < purged.index)
        {
            let covered = covered.map_or(0, |covered| covered.index);
            return Err(damaged(format!(
                "the log was purged up to entry {}, the checkpoint covers only {covered}",
                purged.index
            )));
        }
        let Some(covered) = covered else { return Ok(true) };
        let there = purged.filter(|purged| purged.index == covered.index).or(self.there);
        match there {
            Some(there) if there == covered => Ok(true),
            Some(there) => {
                Err(damaged(format!("the log holds {there} where the checkpoint covers {covered}")))
            }
            None if self.next <= covered.index => Ok(false),
            None => Err(self.gap(self.next)),
        }
    }

    /// Whether the database must hold this entry.
    fn recorded(&self, index: u64) -> bool {
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
