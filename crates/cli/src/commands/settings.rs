//! `settings` and `maintenance`.

use anyhow::Result;
use quorate_client::Consistency;
use quorate_core::{
    Key, KeyRange, Kind, Name, Record,
    setting::{SETTINGS, SettingDefinition, definition},
};

use super::{Context, follow};
use crate::{
    args::{Follow, SettingsCommand, Switch},
    failure::Failure,
    output::settings::SettingRow,
};

/// Runs a command on settings.
pub(super) async fn run(context: &Context, command: SettingsCommand) -> Result<()> {
    match command {
        SettingsCommand::List(Follow { watch: true }) => {
            follow::follow(context, follow::Settings).await
        }
        SettingsCommand::List(_) => list(context).await,
        SettingsCommand::Get { name } => get(context, &name).await,
        SettingsCommand::Set { name, value } => set(context, &name, &value).await,
        SettingsCommand::Reset { name } => reset(context, &name).await,
    }
}

/// `maintenance`.
pub(super) async fn maintenance(context: &Context, switch: Switch) -> Result<()> {
    let name = Name::new("maintenance")?;
    match switch {
        Switch::On => set(context, &name, "1").await,
        Switch::Off => reset(context, &name).await,
    }
}

async fn list(context: &Context) -> Result<()> {
    let all = KeyRange::Prefix(Kind::Setting, bytes::Bytes::new());
    let page = context.client()?.range(all).await.map_err(|error| context.explain(&error))?.value;
    let stored = |wanted: &SettingDefinition| {
        page.records.iter().find_map(|(key, record)| match &record.value {
            Record::Setting(text) if key.bytes == wanted.name.as_bytes() => text.parse().ok(),
            _ => None,
        })
    };
    let rows = SETTINGS.iter().map(|setting| SettingRow::new(setting, stored(setting)));
    context.output.rows(&rows.collect::<Vec<_>>())
}

async fn get(context: &Context, name: &Name) -> Result<()> {
    show(context, name, Consistency::Linearizable).await
}

/// Shows a setting as of a time.
async fn show(context: &Context, name: &Name, consistency: Consistency) -> Result<()> {
    let setting = known(name)?;
    let call = context.client()?.get(Key::setting(name)).consistency(consistency);
    let found = call.await.map_err(|error| context.explain(&error))?.value;
    let stored = found.and_then(|found| match &found.value {
        Record::Setting(text) => text.parse().ok(),
        _ => None,
    });
    let row = SettingRow::new(setting, stored);
    context.output.one(&format!("{} = {}", row.name, row.value), &row)
}

async fn set(context: &Context, name: &Name, value: &str) -> Result<()> {
    let setting = known(name)?;
    let number =
        setting.parse(value).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let call = context.client()?.put(Key::setting(name), number.to_string());
    let written = call.await.map_err(|error| context.explain(&error))?;
    show(context, name, Consistency::AtLeast(written.revision())).await
}

async fn reset(context: &Context, name: &Name) -> Result<()> {
    known(name)?;
    let call = context.client()?.delete(Key::setting(name));
    let written = call.await.map_err(|error| context.explain(&error))?;
    show(context, name, Consistency::AtLeast(written.revision())).await
}

fn known(name: &Name) -> Result<&'static SettingDefinition> {
    let unknown =
        || Failure::not_found(format!("no setting {name}")).hint("see `quorate settings list`");
    Ok(definition(name).ok_or_else(unknown)?)
}
