//! Downloads into the cache.

use std::env;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::{Hub, Name};

/// Fetches a file, or all that a model needs, and returns the file or the model's folder.
pub(super) fn fetch(hub: &Hub, name: &Name<'_>, file: Option<&str>) -> Result<PathBuf, String> {
    let mut client =
        ApiBuilder::from_cache(Cache::new(hub.cache.clone())).with_progress(hub.progress).with_retries(2);
    if let Some(endpoint) = &hub.endpoint {
        client = client.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    if let Ok(token) = env::var("HF_TOKEN") {
        client = client.with_token(Some(token).filter(|token| !token.is_empty()));
    }
    let repo = Repo::with_revision(name.model.to_owned(), RepoType::Model, name.revision.to_owned());
    let repo = client.build().map_err(|error| error.to_string())?.repo(repo);
    match file {
        Some(file) => download(&repo, file),
        None => whole(&repo),
    }
}

fn whole(repo: &ApiRepo) -> Result<PathBuf, String> {
    let info = repo.info().map_err(|error| error.to_string())?;
    let all: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let mut folder = None;
    for file in needed(&all) {
        let path = download(repo, file)?;
        folder = path.ancestors().nth(1 + file.matches('/').count()).map(PathBuf::from);
    }
    folder.ok_or_else(|| "the hub lists no file that a model is made of".into())
}

fn download(repo: &ApiRepo, file: &str) -> Result<PathBuf, String> {
    repo.download(file).map_err(|error| format!("{file}: {error}"))
}

/// The files that a model or an embedder is made of. The transformer's weights come last, so that a folder with them
/// is complete.
fn needed<'a>(all: &[&'a str]) -> Vec<&'a str> {
    let of = |file: &'a str| file.rsplit_once('/').unwrap_or(("", file));
    // the modules of an embedder are in folders such as 2_Dense
    let module = |folder: &str| {
        folder.is_empty()
            || !folder.contains('/') && folder.split_once('_').is_some_and(|(n, _)| n.parse::<u32>().is_ok())
    };
    let plain = |file: &str| file.split('/').all(super::plain);
    let weights =
        |name: &str, kind: &str, extension: &str| name.starts_with(kind) && name.ends_with(extension);
    let safe = |folder: &str| {
        all.iter().any(|file| of(file).0 == folder && weights(of(file).1, "model", ".safetensors"))
    };
    let mut needed: Vec<(u8, &str)> = Vec::new();
    for file in all.iter().copied().filter(|file| plain(file)) {
        let (folder, name) = of(file);
        let place = u8::from(folder.is_empty() || folder.ends_with("_Transformer"));
        if !module(folder) {
            continue;
        }
        if Path::new(name).extension().is_some_and(|ending| ending == "json") {
            if !name.contains("bin.index") || !safe(folder) {
                needed.push((0, file));
            }
        } else if weights(name, "model", ".safetensors")
            || weights(name, "pytorch_model", ".bin") && !safe(folder)
        {
            needed.push((1 + place, file));
        }
    }
    needed.sort_by_key(|(place, _)| *place);
    needed.into_iter().map(|(_, file)| file).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_what_a_model_needs_is_fetched() {
        let files = [
            "pytorch_model.bin",
            "README.md",
            "2_Dense/pytorch_model.bin",
            "2_Dense/config.json",
            "config.json",
            "model.safetensors",
            "onnx/model.safetensors",
            "rust_model.ot",
            "training_args.bin",
            "checkpoint-1/pytorch_model.bin",
            "modules.json",
            "../model.safetensors",
        ];
        let expected = [
            "2_Dense/config.json",
            "config.json",
            "modules.json",
            "2_Dense/pytorch_model.bin",
            "model.safetensors",
        ];
        assert_eq!(needed(&files), expected);
        let apart = ["0_Transformer/model.safetensors", "2_Dense/model.safetensors", "modules.json"];
        assert_eq!(needed(&apart), [apart[2], apart[1], apart[0]]);
        let shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"];
        assert_eq!(needed(&shards), [shards[1], shards[0]]);
    }

    /// A hub of one model, which counts its requests.
    fn serve(files: HashMap<String, Vec<u8>>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = answer(&stream.unwrap(), &files);
            }
        });
        (address, asked)
    }

    fn answer(mut stream: &TcpStream, files: &HashMap<String, Vec<u8>>) -> std::io::Result<()> {
        let lines: Vec<String> = BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let range =
            lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(String::from));
        let Some(body) = files.get(&path) else {
            return stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let (from, to) = range.as_deref().unwrap_or("0-").split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let to = to.parse().map_or(body.len(), |to: usize| (to + 1).min(body.len())).max(from);
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{}\r\n\
             ETag: \"{}\"\r\nx-repo-commit: 0a1b\r\nConnection: close\r\n\r\n",
            to - from,
            to.saturating_sub(1),
            body.len(),
            path.replace('/', "-"),
        )?;
        stream.write_all(&body[from..to])
    }

    #[test]
    fn a_model_is_fetched_once_and_then_found() {
        let at = |file: &str| format!("/owner/model/resolve/main/{file}");
        let info =
            r#"{"sha":"0a1b","siblings":[{"rfilename":"model.safetensors"},{"rfilename":"config.json"}]}"#;
        let files = HashMap::from([
            ("/api/models/owner/model/revision/main".to_owned(), info.into()),
            (at("config.json"), b"{}".to_vec()),
            (at("model.safetensors"), vec![7; 100_000]),
        ]);
        let (address, asked) = serve(files);
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub::new(cache.path().join("hub")).endpoint(address);
        let folder = hub.model("owner/model").unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), vec![7; 100_000]);
        assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}");
        let before = asked.load(Ordering::Relaxed);
        assert_eq!(hub.model("owner/model").unwrap(), folder);
        assert_eq!(asked.load(Ordering::Relaxed), before, "the cache is enough");
        assert_eq!(hub.clone().offline(true).model("owner/model").unwrap(), folder);
        let message = hub.model("owner/none").unwrap_err().to_string();
        assert!(message.contains("cannot be fetched") && message.contains("404"), "{message}");
        let message = hub.file("owner/model", "tokenizer.json").unwrap_err().to_string();
        assert!(message.contains("tokenizer.json"), "{message}");
    }
}
