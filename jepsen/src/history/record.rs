//! Writes a history while it happens, and reads one back.
//!
//! Owns the run's clock: a line's time is taken under the same lock that gives it its number, so
//! that numbers and times have one order. Lines are in memory for the checks and in a file for
//! afterwards. Must not know what the lines mean.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::Context;

use super::{Line, LineIndex, Nanos, What};

/// The history in the making. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    began: Instant,
    lines: Vec<Line>,
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl Recorder {
    /// Begins a history in `path`; the clock starts now.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let shared = Shared {
            began: Instant::now(),
            lines: Vec::new(),
            file: BufWriter::new(file),
            failed: None,
        };
        Ok(Self { shared: Arc::new(Mutex::new(shared)) })
    }

    /// Adds a line that happens now.
    pub(crate) fn add(&self, what: What) -> LineIndex {
        let mut shared = self.lock();
        let index = LineIndex(shared.lines.len() as u64);
        let time = Nanos(u64::try_from(shared.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let line = Line { index, time, what };
        let written = serde_json::to_writer(&mut shared.file, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| shared.file.write_all(b"\n"));
        if let Err(error) = written {
            shared.failed.get_or_insert(error);
        }
        shared.lines.push(line);
        index
    }

    /// Hands what is buffered to the operating system.
    pub(crate) fn flush(&self) -> anyhow::Result<()> {
        let mut shared = self.lock();
        if let Some(error) = shared.failed.take() {
            return Err(error).context("write the history");
        }
        shared.file.flush().context("write the history")
    }

    /// Everything so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// What `look` makes of everything so far, without a copy.
    pub(crate) fn with_lines<T>(&self, look: impl FnOnce(&[Line]) -> T) -> T {
        look(&self.lock().lines)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a history that a run has written.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut lines = Vec::new();
    for (number, text) in BufReader::new(file).lines().enumerate() {
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let line = serde_json::from_str(&text)
            .with_context(|| format!("{}: line {} of the file", path.display(), number + 1))?;
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::sample::{History, mismatch, seen};
    use crate::history::{Call, Value};

    #[test]
    fn what_was_written_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let recorder = Recorder::create(&path).unwrap();
        let mut sample = History::new();
        let cas = Call::Cas { expected: None, value: Value(6) };
        sample.run(1, 7, cas, mismatch(seen(5, 1, 1)), 1);
        for line in sample.lines {
            recorder.add(line.what);
        }
        recorder.add(What::Healed);
        recorder.flush().unwrap();
        assert_eq!(read(&path).unwrap(), recorder.lines());
        assert_eq!(recorder.lines().len(), 3);
    }

    #[test]
    fn lines_of_every_workload_read_back() {
        let ok = ["set", "append", "kv", "once", "effect", "guarded", "save"];
        let text = include_str!("../../tests/histories/kinds.jsonl");
        let lines: Vec<Line> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for (line, written) in lines.iter().zip(text.lines()) {
            let value: serde_json::Value = serde_json::from_str(written).unwrap();
            assert_eq!(serde_json::to_value(line).unwrap(), value);
        }
        for kind in ok.into_iter().chain(["stream", "holding", "ownership", "fact", "restored"]) {
            assert!(text.contains(&format!("\"kind\":\"{kind}\"")), "{kind} is among them");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        std::fs::write(&path, "{\"index\":0,\"time\":0,\"kind\":\"healed\"}\nnonsense\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }
}
