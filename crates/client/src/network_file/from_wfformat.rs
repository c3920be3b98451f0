//! WfFormat 1.5, the JSON of recorded scientific workflows
//! (<https://github.com/wfcommons/WfFormat>).
//!
//! A task is a process: its component is the command's program, else the task's name; it needs
//! `avgCPU` / 100 cores (1 when it was not recorded) and `memoryInBytes` (0 when not recorded).
//! An edge is a pair of a parent and its child, whichever of the two names the other; its rate is
//! the size of all files that the one writes and the other reads, so bytes per run.
//!
//! Invariants: what else is in the document is ignored; what is used is checked. The name in the
//! document is not used.

use std::collections::{BTreeMap, BTreeSet};

use quorate_core::{
    Name, NetworkSpec, PartitionPolicy, Process, Resources, network::COMPONENT_BYTES_MAX,
};

use super::{
    canonical::Processes,
    field::{Field, Invalid},
};

const VERSION: &str = "1.5";
const MILLIS_PER_CORE: u64 = 1000;
/// `avgCPU` is in percent of a core.
const MILLIS_PER_PERCENT: f64 = 10.0;

/// The network that a document describes.
pub(super) fn network(root: &Field<'_, '_>) -> Result<NetworkSpec, Invalid> {
    let version = root.required("schemaVersion")?;
    if version.text()? != VERSION {
        return Err(version.invalid(format!("must be {VERSION:?}, is {:?}", version.text()?)));
    }
    let workflow = root.required("workflow")?;
    let specification = workflow.required("specification")?;
    let tasks = specification.required("tasks")?;
    let mut processes = Processes::default();
    for task in tasks.items()? {
        let id = task.required("id")?;
        let component = match task.optional("name")? {
            Some(name) => name.bounded_text(COMPONENT_BYTES_MAX)?.to_owned(),
            None => id.name()?.to_string(),
        };
        let cpu = (cpu_millis(), MILLIS_PER_CORE);
        let process =
            Process { needs: [cpu].into_iter().collect(), ..Process::new(id.name()?, component) };
        processes.add(process, &task)?;
    }
    if let Some(execution) = workflow.optional("execution")? {
        add_recorded(&execution, &mut processes)?;
    }
    let sizes = specification.optional("files")?.map_or(Ok(BTreeMap::new()), |f| sizes(&f))?;
    let connections = connections(&tasks, &processes, &sizes)?;
    processes.into_spec(connections, PartitionPolicy::default(), &tasks)
}

fn cpu_millis() -> Name {
    Name::new(Resources::CPU_MILLIS).expect("the constant is a valid name")
}

fn memory_bytes() -> Name {
    Name::new(Resources::MEMORY_BYTES).expect("the constant is a valid name")
}

/// What was measured when the workflow ran.
fn add_recorded(execution: &Field<'_, '_>, processes: &mut Processes) -> Result<(), Invalid> {
    let Some(tasks) = execution.optional("tasks")? else { return Ok(()) };
    let mut seen = BTreeSet::new();
    for task in tasks.items()? {
        let field = task.required("id")?;
        let id = processes.named_by(&field)?;
        if !seen.insert(id.clone()) {
            return Err(field.invalid(format!("{:?} was recorded already", id.as_str())));
        }
        let Some(process) = processes.get_mut(&id) else { continue };
        if let Some(percent) = task.optional("avgCPU")? {
            let millis = whole((percent.amount()? * MILLIS_PER_PERCENT).round(), &percent)?;
            process.needs.set(cpu_millis(), millis);
        }
        if let Some(memory) = task.optional("memoryInBytes")? {
            process.needs.set(memory_bytes(), whole(memory.amount()?.ceil(), &memory)?);
        }
        let Some(command) = task.optional("command")? else { continue };
        if let Some(program) = command.optional("program")? {
            process.component = program.bounded_text(COMPONENT_BYTES_MAX)?.to_owned();
        }
    }
    Ok(())
}

/// Larger measurements than this are mistakes, and this is exact in a float.
const MEASURED_MAX: f64 = 9_007_199_254_740_992.0;

fn whole(number: f64, field: &Field<'_, '_>) -> Result<u64, Invalid> {
    if number > MEASURED_MAX {
        return Err(field.invalid(format!("must be at most {MEASURED_MAX}")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "0 to 2^53, and whole")]
    #[expect(clippy::cast_sign_loss, reason = "an amount is at least 0")]
    Ok(number as u64)
}

/// The sizes of files by id.
fn sizes<'d>(files: &Field<'d, '_>) -> Result<BTreeMap<&'d str, u64>, Invalid> {
    let mut sizes = BTreeMap::new();
    for file in files.items()? {
        let id = file.required("id")?;
        let size = file.required("sizeInBytes")?.integer(0, u64::MAX)?;
        if sizes.insert(id.text()?, size).is_some() {
            return Err(id.invalid(format!("{:?} is listed already", id.text()?)));
        }
    }
    Ok(sizes)
}

/// All edges with their rates.
fn connections<'d>(
    tasks: &Field<'d, '_>,
    processes: &Processes,
    sizes: &BTreeMap<&str, u64>,
) -> Result<BTreeMap<(Name, Name), u64>, Invalid> {
    let mut edges: BTreeMap<(Name, Name), u64> = BTreeMap::new();
    let mut total = 0_u64;
    let mut writers: BTreeMap<&'d str, BTreeSet<Name>> = BTreeMap::new();
    for task in tasks.items()? {
        let id = task.required("id")?.name()?;
        for parent in list(task.optional("parents")?.as_ref())? {
            edges.insert((processes.named_by(&parent)?, id.clone()), 0);
        }
        for child in list(task.optional("children")?.as_ref())? {
            edges.insert((id.clone(), processes.named_by(&child)?), 0);
        }
        for file in list(task.optional("outputFiles")?.as_ref())? {
            writers.entry(file.text()?).or_default().insert(id.clone());
        }
    }
    for task in tasks.items()? {
        let id = task.required("id")?.name()?;
        let mut read = BTreeSet::new();
        for file in list(task.optional("inputFiles")?.as_ref())? {
            let name = file.text()?;
            let writers = writers.get(name).filter(|_| read.insert(name)).into_iter().flatten();
            for writer in writers {
                let Some(rate) = edges.get_mut(&(writer.clone(), id.clone())) else { continue };
                let size = sizes.get(name).ok_or_else(|| file.invalid(UNLISTED))?;
                let sum = total.checked_add(*size);
                total = sum.ok_or_else(|| file.invalid(RATES_OVERFLOW))?;
                *rate += size;
            }
        }
    }
    Ok(edges)
}

const UNLISTED: &str = "must be listed with its size in workflow.specification.files";
const RATES_OVERFLOW: &str = "the sum of all rates must be below 2^64";

/// The items of a list that may be absent.
fn list<'d, 'p>(
    field: Option<&'p Field<'d, '_>>,
) -> Result<impl Iterator<Item = Field<'d, 'p>>, Invalid> {
    Ok(field.map(Field::items).transpose()?.into_iter().flatten())
}
