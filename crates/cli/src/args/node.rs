//! Arguments of `dev` and `serve`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct Logging {
    /// What to log: a level (error, warn, info, debug, trace), or levels by module, such as
    /// info,quorate_node=debug; openraft logs errors only, unless it is named
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
    /// How logs look
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Starts three coordinators on this machine.
#[derive(Debug, Args)]
#[command(after_help = DEV_EXAMPLES)]
pub(crate) struct Dev {
    /// Keep the data in this directory; without it, in a temporary one that is removed at the end
    #[arg(long, value_name = "DIR", env = "QUORATE_DEV_DIR", hide_env_values = true)]
    pub(crate) dir: Option<PathBuf>,
    /// Coordinator N listens on this + N for clients, + 100 + N for peers and + 200 + N for
    /// metrics; 0 takes free ports; without it 7100, or what the directory's cluster has
    #[arg(long, value_name = "PORT", value_parser = base_port)]
    pub(crate) base_port: Option<u16>,
    /// Run each coordinator as a process of its own, so that one can be killed
    #[arg(long)]
    pub(crate) processes: bool,
    /// What is logged
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// The highest port used is the base + 203.
fn base_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port <= u16::MAX - 203 => Ok(port),
        _ => Err(format!("must be 0 to {}", u16::MAX - 203)),
    }
}

const DEV_EXAMPLES: &str = "\
Stops on Ctrl-C, and with it everything it started.

Examples:
  quorate dev                          data in a temporary directory
  quorate dev --dir ./quorate-data     data survives: start it again and everything is there
  quorate dev --processes              prints the process ids: kill one and watch the rest go on
  quorate dev --base-port 0            free ports, printed at the start";

/// Runs one coordinator.
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub(crate) struct Serve {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG", hide_env_values = true)]
    pub(crate) config: PathBuf,
    /// Where the data is; overrides the file's node.data_dir
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA_DIR", hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop when standard input ends: for a parent process whose end must be ours
    #[arg(long, hide = true)]
    pub(crate) stop_with_stdin: bool,
    /// What is logged
    #[command(flatten)]
    pub(crate) logging: Logging,
}

const SERVE_EXAMPLES: &str = "\
A flag wins over the environment, that over the file, that over the default. SIGTERM and Ctrl-C
stop it gracefully. It ends with an error when its data is damaged or cannot be written.

Examples:
  quorate serve --config config/node1.toml --data-dir /var/lib/quorate
  QUORATE_DATA_DIR=/var/lib/quorate quorate serve --config node1.toml --log-format json";

/// What to do with configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check configuration files as `serve` would, and start nothing
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The configuration files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a complete, commented file for the first of three coordinators
    #[command(after_help = DEFAULT_EXAMPLES)]
    Default,
}

const CHECK_EXAMPLES: &str = "\
The environment (QUORATE_DATA_DIR, ...) counts, as it does when a coordinator starts. Everything that is wrong
is told at once; the exit code is 2 then.

Examples:
  quorate config check config/node1.toml
  quorate config check config/node1.toml config/node2.toml config/node3.toml --output json";

const DEFAULT_EXAMPLES: &str = "\
Examples:
  quorate config default > node1.toml";
