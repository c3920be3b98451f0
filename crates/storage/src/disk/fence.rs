//! Calls of sled, which panics when it meets damage or when the disk fails it: here a panic is an
//! error like any other, and nothing is printed of it.
//!
//! Owns the process's panic hook as far as it concerns threads that are in such a call: what they
//! panic with goes to the caller. All other panics go where they went before. sled's own threads
//! are not in a call. Must not know what is called.

use std::{
    cell::{Cell, RefCell},
    io,
    panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::Once,
    thread,
};

thread_local! {
    /// Whether this thread is in a call.
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
    /// Where in the source its call panicked.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What came of a call of sled.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Sled(sled::Error),
    #[error("sled panicked in {what}: {message}")]
    Panic { what: String, message: String },
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sled(sled::Error::Io(error)) => error,
            fault => io::Error::new(io::ErrorKind::InvalidData, fault),
        }
    }
}

/// From now on panics in calls are not printed. To be called before any call; once is enough.
pub(super) fn keep_quiet() {
    static KEPT: Once = Once::new();
    // The hook cannot be changed by a thread that panics.
    if thread::panicking() {
        return;
    }
    KEPT.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(
            move |panic| {
                if IN_CALL.get() { note_place(panic) } else { others(panic) }
            },
        ));
    });
}

/// Calls sled and turns a panic into an error.
pub(super) fn fence<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    let outer = IN_CALL.replace(true);
    let called = catch_unwind(AssertUnwindSafe(call));
    IN_CALL.set(outer);
    match called {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Fault::Sled(error)),
        Err(panic) => {
            let mut message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_else(|| "no message".to_owned());
            if let Ok(Some(place)) = PLACE.try_with(RefCell::take) {
                message.push_str(&format!(" ({place})"));
            }
            Err(Fault::Panic { what: what.to_owned(), message })
        }
    }
}

fn note_place(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    // At the end of a thread there is no room for it any more.
    let noted = PLACE.try_with(|noted| noted.replace(place));
    drop(noted);
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// One test: the hook belongs to the whole process.
    #[test]
    fn only_panics_outside_of_calls_are_printed() {
        let printed = Arc::new(Mutex::new(Vec::new()));
        let told = printed.clone();
        panic::set_hook(Box::new(move |panic| {
            let message = panic.payload().downcast_ref::<&str>().map(ToString::to_string);
            told.lock().unwrap().extend(message);
        }));
        keep_quiet();
        keep_quiet();
        let fault = fence::<()>("open", || panic!("in a call")).unwrap_err().to_string();
        assert!(fault.starts_with("sled panicked in open: in a call ("), "{fault}");
        assert!(fault.contains("fence.rs:"), "{fault}");
        let outside = thread::spawn(|| panic!("outside")).join();
        assert!(outside.is_err());
        assert_eq!(fence("get", || Ok(1)).unwrap(), 1);
        let after = catch_unwind(|| panic!("afterwards"));
        assert!(after.is_err());
        let printed = printed.lock().unwrap();
        let ours = |text: &&String| ["in a call", "outside", "afterwards"].contains(&text.as_str());
        assert_eq!(printed.iter().filter(ours).collect::<Vec<_>>(), ["outside", "afterwards"]);
    }
}
