//! How single values are read from the command line.
//!
//! Pure functions; each error names the rule that was broken, clap adds the argument.

use std::time::Duration;

use quorate_client::Consistency;
use quorate_core::{
    ClusterId, ConnectionId, Epoch, Kind, Name, PartitionId, Resources, RestoreEpoch, Revision,
    SessionId,
};

/// Reads `linearizable`, `local` or `at-least=REV`.
pub(super) fn consistency(text: &str) -> Result<Consistency, String> {
    match text.split_once('=') {
        None if text == "linearizable" => Ok(Consistency::Linearizable),
        None if text == "local" => Ok(Consistency::Local),
        Some(("at-least", revision)) => revision
            .parse()
            .map(|revision| Consistency::AtLeast(Revision(revision)))
            .map_err(|error| format!("at-least=REV takes a revision: {error}")),
        _ => Err("expected linearizable, local or at-least=REV".to_owned()),
    }
}

/// Reads a number and a unit: `500ms`, `5s`, `1m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const RULE: &str = "expected a number and a unit, such as 500ms, 5s or 1m";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(RULE)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| RULE)?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => return Err(RULE.to_owned()),
    };
    match millis {
        Some(0) => Err("must be longer than nothing".to_owned()),
        Some(millis) if millis <= DURATION_MS_MAX => Ok(Duration::from_millis(millis)),
        _ => Err("must be at most 1440m".to_owned()),
    }
}

/// Reads seconds, `0` for not at all, or a duration with its unit.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if Duration::from_secs(seconds) <= Duration::from_millis(DURATION_MS_MAX) => {
            Ok(Duration::from_secs(seconds))
        }
        Ok(_) => Err("must be at most 86400 seconds".to_owned()),
        Err(_) => duration(text),
    }
}

/// The longest duration that makes sense on a command line: a day.
const DURATION_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

/// Reads `host:port`; a scheme in front and spaces around are forgiven.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim();
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let (host, port) = address.rsplit_once(':').ok_or("expected host:port")?;
    if host.is_empty() || host.contains('/') {
        return Err("expected host:port".to_owned());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(address.to_owned()),
        _ => Err("the port must be 1 to 65535".to_owned()),
    }
}

/// Reads a name of a network.
pub(super) fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| error.to_string())
}

/// Reads a partition's id, such as `net/0`.
pub(super) fn partition(text: &str) -> Result<PartitionId, String> {
    PartitionId::parse(text).ok_or_else(|| "expected NETWORK/NUMBER, such as net/0".to_owned())
}

/// Reads a connection's id, such as `net/0->net/1`.
pub(super) fn connection(text: &str) -> Result<ConnectionId, String> {
    let rule = || "expected FROM->TO, such as net/0->net/1 (in quotes)".to_owned();
    ConnectionId::parse(text).ok_or_else(rule)
}

/// Reads a session's id, such as `0.7`.
pub(super) fn session(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text).ok_or_else(|| "expected RESTORE.REVISION, such as 0.7".to_owned())
}

/// Reads an epoch, such as `0.7`.
pub(super) fn epoch(text: &str) -> Result<Epoch, String> {
    session(text).map(|SessionId { restore, revision }| Epoch { restore, revision })
}

/// Reads amounts of resources: `cpu=4,memory=8GiB`. Nothing: nothing of anything.
pub(super) fn resources(text: &str) -> Result<Resources, String> {
    text.split(',').filter(|part| !part.is_empty()).map(amount).collect()
}

fn amount(text: &str) -> Result<(Name, u64), String> {
    const RULE: &str = "expected RESOURCE=AMOUNT, such as cpu=4, cpu=0.5 or memory=8GiB";
    let (name, amount) = text.split_once('=').ok_or(RULE)?;
    let (name, amount) = match name {
        "cpu" => (Resources::CPU_MILLIS, thousandths(amount)),
        "memory" => (Resources::MEMORY_BYTES, bytes(amount)),
        name => (name, amount.parse().ok()),
    };
    let name = Name::new(name).map_err(|error| error.to_string())?;
    Ok((name, amount.ok_or(RULE)?))
}

/// Reads a number with at most three digits after the point.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 3 {
        return None;
    }
    let part: u64 = format!("{part:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(part)
}

/// Reads a number of bytes, with or without a unit.
fn bytes(text: &str) -> Option<u64> {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let found = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = found.unwrap_or((text, 1_u64));
    number.parse::<u64>().ok()?.checked_mul(size)
}

/// Reads a label: `zone=a`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as zone=a".to_owned()),
    }
}

/// Reads a kind of records.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_text(text).ok_or_else(|| {
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", kinds.join(", "))
    })
}

/// Reads a revision.
pub(super) fn revision(text: &str) -> Result<Revision, String> {
    text.parse().map(Revision).map_err(|error| format!("a revision is a number: {error}"))
}

/// Reads a cluster's id as it is shown: 16 hex digits.
pub(super) fn cluster_id(text: &str) -> Result<ClusterId, String> {
    match u64::from_str_radix(text, 16).map(ClusterId) {
        Ok(id) if id.get() > 0 && id.to_string() == text => Ok(id),
        _ => Err("expected 16 hex digits".to_owned()),
    }
}

/// Reads a restore epoch.
pub(super) fn restore_epoch(text: &str) -> Result<RestoreEpoch, String> {
    text.parse().map(RestoreEpoch).map_err(|error| format!("a restore epoch is a number: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "5 s", "-1s", "1.5s", "5h", "0s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
        assert!(duration("18446744073709551615m").is_err(), "overflow");
    }

    #[test]
    fn endpoints_are_host_and_port() {
        assert_eq!(endpoint("127.0.0.1:7101").as_deref(), Ok("127.0.0.1:7101"));
        assert_eq!(endpoint(" http://node1:7101/ ").as_deref(), Ok("node1:7101"));
        assert_eq!(endpoint("[::1]:7101").as_deref(), Ok("[::1]:7101"));
        for bad in ["", "node1", ":7101", "node1:0", "node1:70000", "https://node1:7101", "a/b:1"] {
            assert!(endpoint(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn consistencies() {
        assert_eq!(consistency("linearizable"), Ok(Consistency::Linearizable));
        assert_eq!(consistency("local"), Ok(Consistency::Local));
        assert_eq!(consistency("at-least=7"), Ok(Consistency::AtLeast(Revision(7))));
        for bad in ["", "local=1", "at-least", "at-least=", "at-least=x", "eventual"] {
            assert!(consistency(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cluster_ids_are_read_as_they_are_shown() {
        let id = ClusterId(0x0123_4567_89ab_cdef);
        assert_eq!(cluster_id(&id.to_string()), Ok(id));
        for bad in ["", "1", "0000000000000000", "+123456789abcdef", "0123456789abcdeg"] {
            assert!(cluster_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn amounts_have_units() {
        let read = |text: &str| {
            let amounts = resources(text)?;
            Ok(amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>())
        };
        assert_eq!(read(""), Ok::<_, String>(Vec::new()));
        let expected = ["cpu_millis=4000", "gpu=1", "memory_bytes=8589934592"].map(String::from);
        assert_eq!(read("memory=8GiB,cpu=4,gpu=1"), Ok(expected.to_vec()));
        assert_eq!(
            read("cpu=0.25,memory=7"),
            Ok(vec!["cpu_millis=250".to_owned(), "memory_bytes=7".to_owned()])
        );
        for bad in ["cpu", "cpu=", "cpu=-1", "cpu=1.2345", "cpu=.", "memory=8GB", "a b=1", "x=1.5"]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_have_a_name() {
        assert_eq!(label("zone=a=b"), Ok(("zone".to_owned(), "a=b".to_owned())));
        assert!(label("zone").is_err() && label("=a").is_err());
    }

    #[test]
    fn kinds_are_listed_when_wrong() {
        assert_eq!(kind("network"), Ok(Kind::Network));
        assert!(kind("net").unwrap_err().contains("entry, session, worker"));
    }
}
