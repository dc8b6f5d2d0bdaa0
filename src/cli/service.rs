//! How embedders behind an address are asked, as arguments and budget files state it.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::ValueHint;
use serde::Deserialize;

use super::error::CliError;
use super::terminal::Terminal;
use crate::embedder::{ApiKey, EmbeddingCache, RoleSettings, Roles, Service};

/// The default variable of the key.
const KEY: &str = "EMBOSK_API_KEY";

const HEADING: &str = "Embedders behind an address";

/// The preset that follows from the model's name.
const AUTO: &str = "auto";

/// The options for all addresses that a command names. A budget file has them in `[address]`.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServiceOptions {
    /// The environment variable that holds the key; HOST=NAME for one host only, and may be repeated for others.
    /// Default: EMBOSK_API_KEY, if that is set.
    #[arg(long, help_heading = HEADING, value_name = "[HOST=]NAME")]
    #[serde(rename = "key_env")]
    api_key_env: Vec<String>,
    /// How documents and queries are marked: auto (by the model's name), none, or the preset of e5, e5-instruct, bge,
    /// mxbai, arctic, nomic, qwen, cohere, voyage, nvidia or jina. Default: auto, or only what the options below say.
    #[arg(long, help_heading = HEADING, value_name = "PRESET")]
    #[serde(rename = "roles")]
    api_roles: Option<String>,
    /// The text put before each document.
    #[arg(long, help_heading = HEADING, value_name = "TEXT", value_hint = ValueHint::Other)]
    #[serde(rename = "document_prompt")]
    api_document_prompt: Option<String>,
    /// The text put before each query.
    #[arg(long, help_heading = HEADING, value_name = "TEXT", value_hint = ValueHint::Other)]
    #[serde(rename = "query_prompt")]
    api_query_prompt: Option<String>,
    /// The value of `input_type` in requests for documents; NAME=VALUE sets another field instead.
    #[arg(long, help_heading = HEADING, value_name = "TYPE")]
    #[serde(rename = "document_type")]
    api_document_type: Option<String>,
    /// The value of `input_type` in requests for queries; NAME=VALUE sets another field instead.
    #[arg(long, help_heading = HEADING, value_name = "TYPE")]
    #[serde(rename = "query_type")]
    api_query_type: Option<String>,
    /// The model for queries, if it differs from the one in the address.
    #[arg(long, help_heading = HEADING, value_name = "MODEL")]
    #[serde(rename = "query_model")]
    api_query_model: Option<String>,
    /// Ask for vectors with this many dimensions.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    #[serde(rename = "dimensions")]
    api_dimensions: Option<usize>,
    /// Ask for vectors in Base64, which are shorter. Both forms are read in any case.
    #[arg(long, help_heading = HEADING)]
    #[serde(rename = "base64")]
    api_base64: bool,
    /// The maximum number of texts in one request. Default: 64, or fewer if a server refuses that many.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    #[serde(rename = "batch")]
    api_batch: Option<usize>,
    /// The maximum size of the texts in one request, in bytes. Default: 100000.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    #[serde(rename = "batch_bytes")]
    api_batch_bytes: Option<usize>,
    /// How many requests are sent at a time. Default: 4.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    #[serde(rename = "concurrency")]
    api_concurrency: Option<usize>,
    /// How many seconds one attempt may take. Default: 120.
    #[arg(long, help_heading = HEADING, value_name = "SECONDS")]
    #[serde(rename = "timeout")]
    api_timeout: Option<f64>,
    /// How often a request with a transient failure is retried. Default: 6.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    #[serde(rename = "retries")]
    api_retries: Option<u32>,
    /// The most texts that may be sent to each address in all, including the attack's hypotheses.
    #[arg(long, help_heading = HEADING, value_name = "N")]
    max_queries: Option<usize>,
    /// Say how many texts and tokens would be sent, and send none.
    #[arg(long, help_heading = HEADING)]
    #[serde(skip)]
    dry_run: bool,
}

impl ServiceOptions {
    /// Sets whether this is a dry run, if a budget file has the other options.
    pub(crate) fn rehearse(&mut self, is_rehearsal: bool) {
        self.dry_run = is_rehearsal;
    }

    /// Whether nothing is to be sent.
    pub(crate) fn is_rehearsal(&self) -> bool {
        self.dry_run
    }

    /// The service at an address.
    pub(crate) fn service(
        &self,
        address: &str,
        cache: EmbeddingCache,
        terminal: Terminal,
    ) -> Result<Service, CliError> {
        let service = Service::new(address)?
            .roles(self.roles(address, terminal)?)
            .base64(self.api_base64)
            .cache(cache)
            .rehearsal(self.dry_run)
            .notice(move |message| terminal.remark(message));
        let service = self.api_dimensions.into_iter().fold(service, Service::dimensions);
        let service = self.api_batch.into_iter().fold(service, Service::batch);
        let service = self.api_batch_bytes.into_iter().fold(service, Service::batch_bytes);
        let service = self.api_concurrency.into_iter().fold(service, Service::concurrency);
        let service = self.timeout()?.into_iter().fold(service, Service::timeout);
        let service = self.api_retries.into_iter().fold(service, Service::retries);
        let service = self.max_queries.into_iter().fold(service, Service::max_queries);
        Ok(self.key(service.host())?.into_iter().fold(service, Service::key))
    }

    fn timeout(&self) -> Result<Option<Duration>, CliError> {
        let read = |seconds: f64| Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
        match self.api_timeout.map(read) {
            Some(None) => Err(CliError::new("--api-timeout takes a number of seconds above 0")),
            timeout => Ok(timeout.flatten()),
        }
    }

    /// The key for a host: that of its own variable, or of the one for all hosts.
    fn key(&self, host: &str) -> Result<Option<ApiKey>, CliError> {
        let own = self.key_variables().find(|(of, _)| *of == Some(host));
        match own.or_else(|| self.key_variables().find(|(of, _)| of.is_none())) {
            None => Ok(ApiKey::from_env(KEY)?),
            Some((_, name)) => match ApiKey::from_env(name)? {
                Some(key) => Ok(Some(key)),
                // the name may be a key that was written in the wrong place
                None => Err(CliError::new(
                    "--api-key-env names a variable that is not set or empty; it takes the variable's name, not the key",
                )),
            },
        }
    }

    /// Hosts and the variables of their keys; no host means all.
    fn key_variables(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.api_key_env.iter().map(|named| match named.rsplit_once('=') {
            Some((host, name)) => (Some(host), name),
            None => (None, named.as_str()),
        })
    }

    /// Refuses to send one key to several hosts, and a key for a host that is not asked.
    fn check_keys(&self, hosts: &BTreeSet<String>) -> Result<(), CliError> {
        if self.key_variables().any(|(of, _)| of.is_some_and(|host| !hosts.contains(host))) {
            return Err(CliError::new(format!(
                "--api-key-env names a host that no address has; addresses have {}",
                hosts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
            )));
        }
        let has_own = |host: &String| self.key_variables().any(|(of, _)| of == Some(host));
        let is_shared = self.key_variables().any(|(of, _)| of.is_none()) || ApiKey::from_env(KEY)?.is_some();
        if hosts.len() > 1 && is_shared && !hosts.iter().all(has_own) {
            return Err(CliError::new(
                "addresses of several hosts are named, and one key would go to all of them; name a variable for each: \
                 --api-key-env HOST=NAME, with the port where the address has one",
            ));
        }
        Ok(())
    }

    fn roles(&self, address: &str, terminal: Terminal) -> Result<Roles, CliError> {
        let of =
            |prompt: &Option<String>, kind: &Option<String>, model: &Option<String>, preset: RoleSettings| {
                let settings = prompt.iter().fold(preset, RoleSettings::prompt);
                let settings = kind.iter().fold(settings, |settings, kind| {
                    let (name, value) = kind.split_once('=').unwrap_or(("input_type", kind));
                    settings.field(name, value)
                });
                model.iter().fold(settings, RoleSettings::model)
            };
        let Roles { document, query } = self.preset(address, terminal)?;
        Ok(Roles {
            document: of(&self.api_document_prompt, &self.api_document_type, &None, document),
            query: of(&self.api_query_prompt, &self.api_query_type, &self.api_query_model, query),
        })
    }

    fn preset(&self, address: &str, terminal: Terminal) -> Result<Roles, CliError> {
        let says_itself = [
            &self.api_document_prompt,
            &self.api_query_prompt,
            &self.api_document_type,
            &self.api_query_type,
            &self.api_query_model,
        ]
        .into_iter()
        .any(Option::is_some);
        let name = match self.api_roles.as_deref() {
            None if says_itself => "none",
            None | Some(AUTO) => {
                let model = address.split_once('#').map_or("", |(_, model)| model);
                let preset = Roles::preset_of(model);
                if preset != "none" {
                    terminal.remark(&format!(
                        "{address}: documents and queries are marked as {preset} models want it (--api-roles none turns this off)"
                    ));
                }
                preset
            }
            Some(name) => name,
        };
        Ok(Roles::preset(name)?)
    }

    /// Refuses these options if no embedder of `names` is behind an address.
    pub(crate) fn check(&self, names: &[&str]) -> Result<(), CliError> {
        let addresses = names.iter().filter(|name| Service::is_address(name));
        let hosts = addresses.map(|address| Ok(Service::new(address)?.host().to_owned()));
        let hosts = hosts.collect::<Result<BTreeSet<String>, CliError>>()?;
        if !hosts.is_empty() {
            return self.check_keys(&hosts);
        }
        let given = [
            ("--api-key-env", !self.api_key_env.is_empty()),
            ("--api-roles", self.api_roles.is_some()),
            ("--api-document-prompt", self.api_document_prompt.is_some()),
            ("--api-query-prompt", self.api_query_prompt.is_some()),
            ("--api-document-type", self.api_document_type.is_some()),
            ("--api-query-type", self.api_query_type.is_some()),
            ("--api-query-model", self.api_query_model.is_some()),
            ("--api-dimensions", self.api_dimensions.is_some()),
            ("--api-base64", self.api_base64),
            ("--api-batch", self.api_batch.is_some()),
            ("--api-batch-bytes", self.api_batch_bytes.is_some()),
            ("--api-concurrency", self.api_concurrency.is_some()),
            ("--api-timeout", self.api_timeout.is_some()),
            ("--api-retries", self.api_retries.is_some()),
            ("--max-queries", self.max_queries.is_some()),
            ("--dry-run", self.dry_run),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(CliError::new(format!(
                "{option} is for embedders behind an address, and none is named; name one \
                 (http(s)://host[:port]/v1#model), or leave the option out"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_as_the_options_say() {
        let roles = |options: &ServiceOptions, model: &str| {
            options.roles(&format!("http://localhost/v1#{model}"), Terminal::Quiet)
        };
        let named = |name: &str| Some(name.to_owned());
        let none = ServiceOptions::default();
        assert_eq!(roles(&none, "all-minilm").unwrap(), Roles::default());
        assert_eq!(roles(&none, "intfloat/e5-small").unwrap(), Roles::preset("e5").unwrap());
        let off = ServiceOptions { api_roles: named("none"), ..none.clone() };
        assert_eq!(roles(&off, "intfloat/e5-small").unwrap(), Roles::default());
        let own = ServiceOptions { api_query_prompt: named("Q: "), ..none.clone() };
        let found = roles(&own, "intfloat/e5-small").unwrap();
        assert_eq!((found.document.prompt.as_str(), found.query.prompt.as_str()), ("", "Q: "));
        let typed = ServiceOptions {
            api_roles: named("cohere"),
            api_query_type: named("task=search"),
            api_query_model: named("other"),
            ..none.clone()
        };
        let found = roles(&typed, "m").unwrap();
        let field = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(found.document.field, field("input_type", "search_document"));
        assert_eq!((found.query.field, found.query.model), (field("task", "search"), named("other")));
        let unknown = ServiceOptions { api_roles: named("bert"), ..none };
        assert!(roles(&unknown, "m").unwrap_err().to_string().contains("no such preset"));
    }

    #[test]
    fn options_that_nothing_asks_for_are_refused() {
        let options = ServiceOptions { api_dimensions: Some(2), ..ServiceOptions::default() };
        assert!(options.check(&["reference"]).unwrap_err().to_string().contains("--api-dimensions"));
        options.check(&["reference", "http://localhost/v1#m"]).unwrap();
        ServiceOptions::default().check(&["reference"]).unwrap();
        let keyed = |names: &[&str]| ServiceOptions {
            api_key_env: names.iter().map(|&name| name.into()).collect(),
            ..ServiceOptions::default()
        };
        let message = keyed(&["sk-hunter2"]).key("localhost").unwrap_err().to_string();
        assert!(message.contains("not the key") && !message.contains("hunter2"), "{message}");
        let two = ["http://localhost/v1#m", "http://127.0.0.1:80/v1#m"];
        let message = keyed(&["NAME"]).check(&two).unwrap_err().to_string();
        assert!(message.contains("one key would go to all of them"), "{message}");
        keyed(&["localhost=ONE", "127.0.0.1:80=OTHER"]).check(&two).unwrap();
        keyed(&["NAME"]).check(&[two[0], two[0]]).unwrap();
    }
}
