//! Takes a frozen state apart into blocks, keeping those of an older checkpoint that have not
//! changed.
//!
//! Records: every block of the older checkpoint that holds a changed key is encoded again from the
//! new state, together with changed neighbours; what gets larger than the target is split. A rest
//! that is smaller than a quarter of it is put together with the next block, which is not split
//! again then: or the rests would push each other through all blocks to the end. Events: whole
//! blocks are kept, the front is trimmed, the end grows.

use bytes::Bytes;
use quorate_core::{Key, Kind as RecordKind, Revision, State};

use super::{
    block::{Encoder, Kind},
    manifest::{BlockRef, Span},
};

/// A block of the new checkpoint.
pub(crate) enum Piece {
    /// One of the older checkpoint, by its number there.
    Kept(usize),
    /// A new one.
    New(BlockRef, Bytes),
}

/// The older checkpoint.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    /// Its blocks.
    pub(crate) blocks: &'a [BlockRef],
    /// Its state, from which the new one came.
    pub(crate) state: &'a State,
}

/// Takes a state apart; `emit` gets the blocks in their order.
pub(crate) fn take_apart<E>(
    state: &State,
    base: Option<Base<'_>>,
    block_bytes: usize,
    emit: &mut impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    // A state that did not come from the base shares nothing with it.
    let base = base.filter(|base| base.state.revision() <= state.revision());
    records(state, base, block_bytes, emit)?;
    events(state, base, block_bytes, emit)
}

/// The first key of a block of records.
fn first_key(block: &BlockRef) -> Option<&Key> {
    match &block.span {
        Span::Records { first } => Some(first),
        Span::Events { .. } => None,
    }
}

fn records<E>(
    state: &State,
    base: Option<Base<'_>>,
    block_bytes: usize,
    emit: &mut impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let changed = base.map(|base| state.changed_since(base.state)).unwrap_or_default();
    let old: Vec<&Key> =
        base.map(|base| base.blocks.iter().map_while(first_key).collect()).unwrap_or_default();
    let mut changed = changed.iter().peekable();
    let mut run = RecordRun { state, block_bytes, open: None };
    // Without an older block, one run covers everything.
    if old.is_empty() {
        run.encode(None, None, block_bytes, emit)?;
        return run.close(emit);
    }
    for (number, &first) in old.iter().enumerate() {
        let end = old.get(number + 1).copied();
        let before_end = |key: &&Key| end.is_none_or(|end| *key < end);
        let mut dirty = false;
        while changed.next_if(before_end).is_some() {
            dirty = true;
        }
        // The first block begins where all keys begin.
        let from = (number > 0).then_some(first);
        if dirty {
            run.encode(from, end, block_bytes, emit)?;
        } else if run.is_small() {
            run.encode(from, end, block_bytes * 2, emit)?;
        } else {
            run.close(emit)?;
            emit(Piece::Kept(number))?;
        }
    }
    run.close(emit)
}

/// Encodes consecutive ranges of records.
struct RecordRun<'a> {
    state: &'a State,
    block_bytes: usize,
    open: Option<(Key, Encoder)>,
}

impl RecordRun<'_> {
    /// Whether there is a rest that is too small to be a block.
    fn is_small(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, open)| open.len() < self.block_bytes / 4)
    }

    fn encode<E>(
        &mut self,
        from: Option<&Key>,
        to: Option<&Key>,
        block_bytes_max: usize,
        emit: &mut impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let lowest = Key { kind: RecordKind::ALL[0], bytes: Bytes::new() };
        for (key, record) in self.state.records_from(from.unwrap_or(&lowest)) {
            if to.is_some_and(|to| key >= *to) {
                break;
            }
            let (_, open) =
                self.open.get_or_insert_with(|| (key.clone(), Encoder::new(Kind::Records)));
            open.push(&(key, record));
            if open.len() >= block_bytes_max {
                self.close(emit)?;
            }
        }
        Ok(())
    }

    fn close<E>(&mut self, emit: &mut impl FnMut(Piece) -> Result<(), E>) -> Result<(), E> {
        let Some((first, open)) = self.open.take() else { return Ok(()) };
        let count = open.count();
        let block = open.finish();
        emit(Piece::New(BlockRef::new(Span::Records { first }, count, &block), block))
    }
}

/// The revisions of a block of events.
fn revisions(block: &BlockRef) -> Option<(Revision, Revision)> {
    match &block.span {
        Span::Records { .. } => None,
        Span::Events { first, last } => Some((*first, *last)),
    }
}

fn events<E>(
    state: &State,
    base: Option<Base<'_>>,
    block_bytes: usize,
    emit: &mut impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let history = state.history();
    let mut all = history.from(history.oldest()).peekable();
    let Some(first) = all.peek().map(|event| event.revision) else { return Ok(()) };
    let blocks = base.map_or(&[][..], |base| base.blocks).iter().enumerate();
    let mut kept: Vec<(usize, Revision, Revision)> = blocks
        .filter_map(|(number, block)| revisions(block).map(|(from, to)| (number, block, from, to)))
        // The newest block grows until it is large enough.
        .filter(|(_, block, from, _)| *from >= first && block.bytes as usize >= block_bytes / 2)
        .map(|(number, _, from, to)| (number, from, to))
        .collect();
    kept.reverse();
    let mut open: Option<(Revision, Revision, Encoder)> = None;
    while let Some(event) = all.next() {
        if let Some(&(number, from, to)) = kept.last()
            && event.revision == from
        {
            kept.pop();
            close_events(&mut open, emit)?;
            emit(Piece::Kept(number))?;
            while all.next_if(|event| event.revision <= to).is_some() {}
            continue;
        }
        let (_, last, encoder) = open
            .get_or_insert_with(|| (event.revision, event.revision, Encoder::new(Kind::Events)));
        *last = event.revision;
        encoder.push(event);
        if encoder.len() >= block_bytes {
            close_events(&mut open, emit)?;
        }
    }
    close_events(&mut open, emit)
}

fn close_events<E>(
    open: &mut Option<(Revision, Revision, Encoder)>,
    emit: &mut impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let Some((first, last, encoder)) = open.take() else { return Ok(()) };
    let count = encoder.count();
    let block = encoder.finish();
    emit(Piece::New(BlockRef::new(Span::Events { first, last }, count, &block), block))
}
