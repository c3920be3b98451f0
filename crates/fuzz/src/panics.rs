//! Catches panics and keeps what they say to itself: while a failure is made smaller there are many.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Calls it. A panic becomes its message, with its place.
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(hook);
    CATCHING.set(true);
    let called = panic::catch_unwind(AssertUnwindSafe(call));
    CATCHING.set(false);
    called.map_err(|_| SAID.take())
}

/// Panics of other threads, and outside of calls, are told as before.
fn hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !CATCHING.get() {
            return before(info);
        }
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let said = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        SAID.set(format!("{said}, at {place}"));
    }));
}
