//! Strategies by name.
//!
//! Invariant: a name stands for one strategy, for good. An embedder adds its own beside
//! Quorate's; the registry knows nothing of what they do.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    load_based::LoadBased, multilevel::Multilevel, round_robin::RoundRobin,
    strategy::BalanceStrategy,
};

/// The strategies that networks may ask for. A clone shares them.
#[derive(Clone, Default)]
pub struct Strategies {
    by_name: BTreeMap<String, Arc<dyn BalanceStrategy>>,
}

/// No strategy has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no strategy {name:?}; known: {}", known.join(", "))]
pub struct UnknownStrategy {
    /// What was asked for.
    pub name: String,
    /// The names that there are, sorted.
    pub known: Vec<String>,
}

/// A strategy of that name is registered already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a strategy {name:?} is registered already")]
pub struct DuplicateStrategy {
    /// The name.
    pub name: String,
}

impl Strategies {
    /// No strategies.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The strategies that come with Quorate.
    #[must_use]
    pub fn builtin() -> Self {
        let strategies: [Arc<dyn BalanceStrategy>; 3] =
            [Arc::new(LoadBased), Arc::new(Multilevel::default()), Arc::new(RoundRobin)];
        let by_name = strategies.map(|strategy| (strategy.name().to_owned(), strategy));
        Self { by_name: by_name.into() }
    }

    /// Adds a strategy under its own name.
    ///
    /// # Errors
    /// [`DuplicateStrategy`] when the name is taken.
    pub fn register(
        &mut self,
        strategy: Arc<dyn BalanceStrategy>,
    ) -> Result<(), DuplicateStrategy> {
        let name = strategy.name().to_owned();
        if self.by_name.contains_key(&name) {
            return Err(DuplicateStrategy { name });
        }
        self.by_name.insert(name, strategy);
        Ok(())
    }

    /// The strategy of that name.
    ///
    /// # Errors
    /// [`UnknownStrategy`], which lists the names that there are.
    pub fn get(&self, name: &str) -> Result<&dyn BalanceStrategy, UnknownStrategy> {
        let found = self.by_name.get(name).map(AsRef::as_ref);
        found.ok_or_else(|| UnknownStrategy {
            name: name.to_owned(),
            known: self.names().map(str::to_owned).collect(),
        })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

impl fmt::Debug for Strategies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
