use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{ArgGroup, ValueEnum, ValueHint};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::error::CliError;
use super::models::{self, local_embedder};
use super::session::Session;
use super::terminal::{Terminal, print, warn};
use crate::embedder::{ApiKey, Roles, Service};
use crate::serve::{Limits, Reloader, Server, Source, Tenants, Upstream};

/// The default variable of the upstream's key.
const KEY: &str = "EMBOSK_API_KEY";

/// Open files beside those of connections: the program's own, and those that are reread.
const OTHER_FILES: usize = 64;

/// What most systems let a process open.
#[cfg(unix)]
const MOST_FILES: usize = 1 << 20;

/// Serve protected vectors to clients of OpenAI's /v1/embeddings.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("protection").args(["defense", "tenants"]).required(true).multiple(true))]
pub(crate) struct Args {
    /// The service that embeds: http(s)://host[:port]/v1; with #model behind it, only that model is served.
    #[arg(long, value_name = "URL", conflicts_with = "embedder", value_hint = ValueHint::Url)]
    upstream: Option<String>,
    /// The embedder that runs here, if there is no upstream: a sentence-transformers folder, its name on the hub, or the
    /// shipped embedder.
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// The defense, such as "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)". With --tenants, that of tenants
    /// without their own.
    #[arg(long, value_name = "SPEC")]
    defense: Option<String>,
    /// A TOML file with the tenants' tokens and defenses. SIGHUP rereads it.
    #[arg(long, value_name = "FILE.toml")]
    tenants: Option<PathBuf>,
    /// The address to listen on. Other machines can only be let in with --tenants.
    #[arg(long, default_value = "127.0.0.1:8787", value_name = "ADDR")]
    listen: String,
    /// The environment variable that holds the upstream's key. Default: EMBOSK_API_KEY, if that is set.
    #[arg(long, value_name = "NAME", requires = "upstream")]
    api_key_env: Option<String>,
    /// Ask the upstream for vectors in Base64, which are shorter. Both forms are read in any case.
    #[arg(long, requires = "upstream")]
    api_base64: bool,
    /// How the upstream is told whether a text is a document or a query: none (the clients do it, if it matters), auto (by
    /// the model's name), or the preset of e5, e5-instruct, bge, mxbai, arctic, nomic, qwen, cohere, voyage, nvidia or
    /// jina.
    #[arg(long, default_value = "none", value_name = "PRESET", requires = "upstream")]
    api_roles: String,
    /// The certificate authorities to trust for the upstream, in place of the public ones.
    #[arg(long, value_name = "FILE.pem", requires = "upstream", value_hint = ValueHint::FilePath)]
    upstream_ca: Option<PathBuf>,
    /// The server's certificate, followed by its intermediates. Turns TLS on. SIGHUP rereads it and its key.
    #[arg(long, value_name = "FILE.pem", requires = "tls_key", value_hint = ValueHint::FilePath)]
    tls_cert: Option<PathBuf>,
    /// The private key of the server's certificate.
    #[arg(long, value_name = "FILE.pem", requires = "tls_cert", value_hint = ValueHint::FilePath)]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    limits: LimitOptions,
    /// How much is logged. Default: info, with --verbose debug, with --quiet warn.
    #[arg(long, value_enum, value_name = "LEVEL")]
    log_level: Option<Level>,
    /// How logs are written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

/// How much is taken, and how long it may take.
#[derive(Debug, clap::Args)]
struct LimitOptions {
    /// The maximum size of a request body, in bytes.
    #[arg(long, default_value_t = Limits::default().body, value_name = "BYTES", value_parser = count)]
    max_body: usize,
    /// The maximum size of an upstream answer, in bytes.
    #[arg(long, default_value_t = Limits::default().answer, value_name = "BYTES", value_parser = count)]
    max_answer: usize,
    /// The maximum number of inputs per request.
    #[arg(long, default_value_t = Limits::default().inputs, value_name = "N", value_parser = count)]
    max_inputs: usize,
    /// The maximum number of requests handled at the same time. Default: 64 with an upstream, otherwise one for each
    /// processor core.
    #[arg(long, value_name = "N", value_parser = count)]
    concurrency: Option<usize>,
    /// How many more requests may wait; others are refused with status 429.
    #[arg(long, default_value_t = Limits::default().queue, value_name = "N")]
    queue: usize,
    /// The maximum number of open connections.
    #[arg(long, default_value_t = Limits::default().connections, value_name = "N", value_parser = count)]
    max_connections: usize,
    /// How many seconds a request may take, waiting included.
    #[arg(long, default_value_t = Limits::default().timeout.as_secs_f64(), value_name = "SECONDS", value_parser = seconds)]
    timeout: f64,
    /// How many seconds a shutdown waits for requests that are under way. Default: 5 more than --timeout.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    grace: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    leave_no_core();
    let tenants = tenants(args, session)?;
    let source = source(args, session.terminal)?;
    let mut limits = args.limits.limits(args.upstream.is_some());
    limits.connections = possible_connections(&limits);
    let has_fewer = limits.connections < args.limits.max_connections;
    let connections = limits.connections;
    let server = Server::new(source, tenants.clone())?.limits(limits);
    let server = match (&args.tls_cert, &args.tls_key) {
        (Some(certificates), Some(key)) => server.tls(certificates, key)?,
        _ => server,
    };
    let fingerprints = tenants.fingerprints();
    drop(tenants);
    log(args, session.terminal);
    if has_fewer {
        tracing::warn!(
            connections,
            "the process may open too few files for --max-connections; raise the hard limit (ulimit -Hn)"
        );
    }
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve(args, session, server, fingerprints));
    // vectors that nobody waits for any longer may take minutes
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// Turns core dumps off, because memory holds keys and texts.
fn leave_no_core() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // a limit may always be lowered
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// Raises the limit of open files as far as needed and allowed, because each connection is one. Returns how many
/// connections are then possible, up to those that are wanted.
fn possible_connections(limits: &Limits) -> usize {
    // for each request to the upstream, one that is used and one that is kept for the next
    let others = limits.concurrency.saturating_mul(2).saturating_add(OTHER_FILES);
    let files = allow_files(limits.connections.saturating_add(others));
    files.saturating_sub(others).clamp(1, limits.connections)
}

/// Lets the process open this many files, or as many as it may. Returns how many.
#[cfg(unix)]
fn allow_files(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let count = |limit: Option<u64>| limit.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX));
    let (now, raised) = (count(current), wanted.min(count(maximum)));
    if raised <= now {
        return now;
    }
    let raise = |to: usize| {
        let limit = Rlimit { current: Some(to as u64), maximum };
        (to > now && setrlimit(Resource::Nofile, limit).is_ok()).then_some(to)
    };
    // a system may refuse more than a bound of its own, also where the hard limit is none
    raise(raised).or_else(|| raise(raised.min(MOST_FILES))).unwrap_or(now)
}

#[cfg(not(unix))]
fn allow_files(wanted: usize) -> usize {
    wanted
}

async fn serve(
    args: &Args,
    session: &Session,
    server: Server,
    fingerprints: Vec<(String, String)>,
) -> Result<(), CliError> {
    let listener = TcpListener::bind(&args.listen).await.map_err(|error| {
        CliError::new(match error.kind() {
            std::io::ErrorKind::InvalidInput => {
                "--listen: it is not an address with a port; write HOST:PORT, as in 127.0.0.1:8787".into()
            }
            kind => format!("--listen: the address cannot be listened on ({kind})"),
        })
    })?;
    let address = listener.local_addr()?;
    let signals = signals()?;
    let (reloader, running) = server.start(listener, signals.stop)?;
    for (tenant, fingerprint) in fingerprints {
        tracing::info!(tenant, fingerprint, "protects");
    }
    tracing::info!(%address, "listening");
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    print(&format!("{scheme}://{address}/v1\n"))?;
    // a task of its own, because a reload takes this thread for seconds
    let running = tokio::spawn(running);
    tokio::select! {
        ended = running => ended.map_err(|_| CliError::new("the server made a mistake and ended; start it again")),
        () = reload_on(signals.reload, args, session, reloader) => Ok(()),
    }
}

/// Who may ask.
fn tenants(args: &Args, session: &Session) -> Result<Tenants, CliError> {
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let (registry, usual) = (&session.names.defenses, args.defense.as_deref());
    match (&args.tenants, usual) {
        (Some(file), usual) => Ok(Tenants::read(file, registry, usual)?),
        (None, Some(spec)) => Tenants::everyone_by(spec, registry).map_err(|error| {
            // says more of a spec with ranges
            session.names.stack(spec).err().unwrap_or_else(|| error.into())
        }),
        (None, None) => Err(CliError::new("name a defense with --defense, or a file with --tenants")),
    }
}

/// Where the vectors come from.
fn source(args: &Args, terminal: Terminal) -> Result<Source, CliError> {
    let Some(address) = &args.upstream else {
        if Service::is_address(&args.embedder) {
            return Err(CliError::new(
                "--embedder names an embedder that runs here; name an address with --upstream",
            ));
        }
        let embedder = local_embedder(&args.embedder, &candle_core::Device::Cpu, terminal)?;
        return Ok(Source::local(models::title(&args.embedder), embedder));
    };
    let key = match &args.api_key_env {
        None => ApiKey::from_env(KEY)?,
        // the name may be a key that was written in the wrong place
        Some(name) => Some(ApiKey::from_env(name)?.ok_or_else(|| {
            CliError::new(
                "--api-key-env names a variable that is not set or empty; it takes the variable's name, not the key",
            )
        })?),
    };
    let upstream = Upstream::new(address).map_err(|error| CliError::new(format!("--upstream: {error}")))?;
    if !has_path(address) {
        warn("warning: --upstream has no path, and most services have /v1 behind the host");
    }
    let mut upstream = upstream.base64(args.api_base64);
    upstream = match args.api_roles.as_str() {
        "auto" => upstream.roles_by_model(),
        name => upstream.roles(Roles::preset(name)?)?,
    };
    if let Some(file) = &args.upstream_ca {
        upstream = upstream.authorities(file)?;
    }
    Ok(Source::upstream(match key {
        Some(key) => upstream.key(key)?,
        None => upstream,
    }))
}

/// Whether something stands between an address's host and its model.
fn has_path(address: &str) -> bool {
    let base = address.split_once(['#', '?']).map_or(address, |(base, _)| base);
    let behind = base.split_once("://").map_or(base, |(_, behind)| behind);
    behind.trim_end_matches('/').contains('/')
}

impl LimitOptions {
    fn limits(&self, has_upstream: bool) -> Limits {
        let mut limits = Limits::default();
        let cores = available_parallelism().map_or(1, usize::from);
        limits.body = self.max_body;
        limits.answer = self.max_answer;
        limits.inputs = self.max_inputs;
        limits.concurrency =
            self.concurrency.unwrap_or(if has_upstream { limits.concurrency } else { cores });
        limits.queue = self.queue;
        limits.connections = self.max_connections;
        limits.timeout = Duration::from_secs_f64(self.timeout);
        limits.grace = Duration::from_secs_f64(self.grace.unwrap_or(self.timeout + 5.0));
        limits
    }
}

/// Reads a number of things that cannot be 0.
fn count(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it is a whole number, and at least 1"),
        Ok(count) => Ok(count),
    }
}

/// Reads a time, which is limited because far points in time cannot be computed with.
fn seconds(text: &str) -> Result<f64, &'static str> {
    let seconds: f64 = text.parse().unwrap_or(0.0);
    if seconds > 0.0 && seconds <= 86_400.0 {
        Ok(seconds)
    } else {
        Err("a time is above 0 and at most 86400 s")
    }
}

/// Writes logs of our own to stderr. Those of other crates may hold texts and keys, so they are never written,
/// whatever the environment says.
fn log(args: &Args, terminal: Terminal) {
    let level = match args.log_level {
        Some(Level::Off) => LevelFilter::OFF,
        Some(Level::Error) => LevelFilter::ERROR,
        Some(Level::Warn) => LevelFilter::WARN,
        Some(Level::Debug) => LevelFilter::DEBUG,
        Some(Level::Trace) => LevelFilter::TRACE,
        None if terminal.is_quiet() => LevelFilter::WARN,
        None if terminal.is_verbose() => LevelFilter::DEBUG,
        Some(Level::Info) | None => LevelFilter::INFO,
    };
    let ours = Targets::new().with_target("embosk", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let layer = match args.log_format {
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => lines.with_target(false).boxed(),
    };
    // a panic's own words may hold the text that it is about
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "the server made a mistake");
    }));
    // a program of a user's own may have set up its own logs
    let _ = tracing_subscriber::registry().with(layer.with_filter(ours)).try_init();
}

/// What the process is told from outside.
struct Signals<S> {
    stop: S,
    reload: Reload,
}

#[cfg(unix)]
type Reload = tokio::signal::unix::Signal;
#[cfg(not(unix))]
type Reload = ();

/// Listens from now on, so that no signal is missed.
#[cfg(unix)]
fn signals() -> Result<Signals<impl Future<Output = ()>>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(Signals { stop, reload: signal(SignalKind::hangup())? })
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn signals() -> Result<Signals<impl Future<Output = ()>>, CliError> {
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(Signals { stop, reload: () })
}

/// Reads the tenants and the certificate anew at each signal. A file that cannot be read changes nothing.
#[cfg(unix)]
async fn reload_on(mut signal: Reload, args: &Args, session: &Session, reloader: Reloader) {
    while signal.recv().await.is_some() {
        if args.tls_cert.is_some() {
            match reloader.reread_tls() {
                Ok(()) => tracing::info!("the certificate is reread"),
                Err(error) => tracing::error!(%error, "the certificate stays as it was"),
            }
        }
        if args.tenants.is_none() {
            tracing::info!("there is no tenants file to read anew");
            continue;
        }
        let read = tokio::task::block_in_place(|| match tenants(args, session) {
            Ok(tenants) => reloader.reload(Ok(tenants)),
            Err(error) => reloader.reload(Err(crate::Error::Setting(error.to_string()))),
        });
        match read {
            Ok(()) => tracing::info!("the tenants are read anew"),
            Err(error) => tracing::error!(%error, "the tenants stay as they were"),
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(not(unix))]
async fn reload_on((): Reload, _: &Args, _: &Session, _: Reloader) {
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_is_noticed() {
        for (address, expected) in [
            ("http://localhost:11434", false),
            ("http://localhost:11434/#BAAI/bge", false),
            ("http://localhost:11434/v1", true),
            ("https://a.example/openai/deployments/d?api-version=1", true),
        ] {
            assert_eq!(has_path(address), expected, "{address}");
        }
    }
}
