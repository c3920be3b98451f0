//! Rules that hold in every state.
