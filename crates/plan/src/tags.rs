//! Which processes must not meet in one partition, by number.
//!
//! Each process has tags, a key and a value. Two processes that have one key with different values must
//! not meet: those that require different values of one label, and those of one anti-affinity group,
//! for which the group is the key and each process is a value of its own.
//!
//! Invariant: what everybody who has a key agrees on is left out, so that a network without conflicts
//! has no tags.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use quorate_core::{Name, Process};

/// Something that a process says of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// What it is about.
    pub key: u32,
    /// What it says.
    pub value: u32,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagKey {
    /// A label that processes require different values of.
    Label(String),
    /// An anti-affinity group.
    Group(Name),
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "label {name:?}"),
            Self::Group(name) => write!(f, "anti-affinity group {:?}", name.as_str()),
        }
    }
}

/// The tags of all processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tags {
    keys: Vec<TagKey>,
    /// Sorted by process, then by key.
    all: Vec<Tag>,
    /// Where the tags of a process begin, and of one more. Empty: nobody has any.
    starts: Vec<usize>,
}

impl Tags {
    /// The tags of processes, those of one unit together. Units are numbered from 0 to below `units`.
    pub(crate) fn of(processes: &[Process], unit_of: impl Fn(usize) -> u32, units: u32) -> Self {
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut groups: BTreeMap<&Name, u32> = BTreeMap::new();
        for process in processes {
            for (name, value) in &process.requires {
                labels.entry(name).or_default().insert(value);
            }
            if let Some(group) = &process.anti_affinity {
                *groups.entry(group).or_default() += 1;
            }
        }
        labels.retain(|_, values| values.len() > 1);
        groups.retain(|_, members| *members > 1);
        if labels.is_empty() && groups.is_empty() {
            return Self::default();
        }
        let label_keys = labels.keys().map(|name| TagKey::Label((*name).to_owned()));
        let keys: Vec<TagKey> =
            label_keys.chain(groups.keys().map(|name| TagKey::Group((*name).clone()))).collect();
        let mut numbers = 0..;
        let labels: BTreeMap<&str, (u32, BTreeMap<&str, u32>)> = labels
            .into_iter()
            .zip(&mut numbers)
            .map(|((name, values), key)| (name, (key, values.into_iter().zip(0..).collect())))
            .collect();
        let groups: BTreeMap<&Name, u32> = groups.into_keys().zip(numbers).collect();
        let mut of_units: Vec<(u32, Tag)> = Vec::new();
        for (at, process) in processes.iter().enumerate() {
            let unit = unit_of(at);
            for (name, value) in &process.requires {
                let known = labels.get(name.as_str());
                let tag = known.and_then(|(key, values)| {
                    Some(Tag { key: *key, value: *values.get(value.as_str())? })
                });
                of_units.extend(tag.map(|tag| (unit, tag)));
            }
            let key = process.anti_affinity.as_ref().and_then(|group| groups.get(group));
            of_units.extend(key.map(|key| (unit, Tag { key: *key, value: unit })));
        }
        of_units.sort_unstable();
        of_units.dedup();
        let starts = (0..=units).map(|unit| of_units.partition_point(|(of, _)| *of < unit));
        let starts = starts.collect();
        Self { keys, all: of_units.into_iter().map(|(_, tag)| tag).collect(), starts }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The tags of a process, by key.
    pub(crate) fn of_process(&self, process: u32) -> &[Tag] {
        let at = process as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.all[*start..*end],
            _ => &[],
        }
    }

    pub(crate) fn keys(&self) -> &[TagKey] {
        &self.keys
    }

    /// The processes that have tags, those with which the most others conflict first, then by number.
    pub(crate) fn tagged(&self) -> Vec<u32> {
        let mut with_key: BTreeMap<u32, u64> = BTreeMap::new();
        let mut with_tag: BTreeMap<Tag, u64> = BTreeMap::new();
        for tag in &self.all {
            *with_key.entry(tag.key).or_default() += 1;
            *with_tag.entry(*tag).or_default() += 1;
        }
        let against = |tag: &Tag| with_key[&tag.key] - with_tag[tag];
        let units = u32::try_from(self.starts.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let tagged = (0..units).filter(|unit| !self.of_process(*unit).is_empty());
        let mut tagged: Vec<u32> = tagged.collect();
        tagged.sort_by_cached_key(|unit| {
            let conflicts: u64 = self.of_process(*unit).iter().map(against).sum();
            (std::cmp::Reverse(conflicts), *unit)
        });
        tagged
    }
}

/// What the processes of each partition say of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// By partition and key: the value, and how many say so.
    said: BTreeMap<(u32, u32), (u32, u32)>,
}

impl Held {
    /// What keeps a process with these tags out of a partition.
    pub(crate) fn against(&self, tags: &[Tag], partition: u32) -> Option<u32> {
        let differs = |tag: &&Tag| {
            let said = self.said.get(&(partition, tag.key));
            said.is_some_and(|(value, _)| *value != tag.value)
        };
        tags.iter().find(differs).map(|tag| tag.key)
    }

    pub(crate) fn fits(&self, tags: &[Tag], partition: u32) -> bool {
        self.against(tags, partition).is_none()
    }

    /// A process comes into a partition that it fits.
    pub(crate) fn put(&mut self, tags: &[Tag], partition: u32) {
        for tag in tags {
            let said = self.said.entry((partition, tag.key)).or_insert((tag.value, 0));
            said.1 += 1;
        }
    }

    /// A process leaves the partition that it is in.
    pub(crate) fn take(&mut self, tags: &[Tag], partition: u32) {
        for tag in tags {
            if let Some((_, count)) = self.said.get_mut(&(partition, tag.key)) {
                *count -= 1;
                if *count == 0 {
                    self.said.remove(&(partition, tag.key));
                }
            }
        }
    }
}
