//! `embosk serve` over TLS: to its clients, and to an upstream whose authority is not a public one.

use std::fs;
use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::json;
use tempfile::TempDir;

use crate::common::server::{Reply, Server};
use crate::common::sidecar::{self, Answer, Sidecar, fails_in, vectors};

const VECTOR: [f32; 4] = [0.5, -0.5, 0.5, 0.5];
const TLS: &str = "--tls-cert server.pem --tls-key server.key";

/// A file that `tests/golden/tls.py` wrote.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).unwrap()
}

/// A folder with these files.
fn folder(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in names {
        put(name, &folder.path().join(name));
    }
    folder
}

/// Copies a file, so that only its owner can read it.
fn put(name: &str, to: &Path) {
    fs::copy(file(name), to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A connection of a client that trusts one authority.
fn connect(sidecar: &Sidecar, authority: &str) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, sidecar.connect());
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn ask(sidecar: &Sidecar) -> Answer {
    let mut stream = connect(sidecar, "authority.pem").unwrap();
    let request = sidecar::request("/v1/embeddings", &[], &json!({"model": "m", "input": "a"}));
    stream.write_all(request.as_bytes()).unwrap();
    sidecar::read(stream)
}

fn upstream() -> Server {
    Server::start(|_, _| Reply::Vectors(vec![VECTOR.to_vec()]))
}

#[test]
fn clients_may_speak_tls() {
    let upstream = upstream();
    let line = format!("--upstream {} --defense none {TLS}", upstream.base());
    let sidecar = Sidecar::start_in(folder(&["server.pem", "server.key"]), &line, &[]);
    assert_eq!(vectors(&ask(&sidecar)), [VECTOR]);
    assert!(connect(&sidecar, "stranger.pem").is_err());
    // plain HTTP gets no answer, and disturbs nobody
    let mut stream = sidecar.connect();
    let request = sidecar::request("/v1/embeddings", &[], &json!({"model": "m", "input": "planted"}));
    stream.write_all(request.as_bytes()).unwrap();
    assert!(!sidecar::read_bytes(stream).starts_with(b"HTTP"));
    let silent = sidecar.connect();
    assert_eq!(vectors(&ask(&sidecar)), [VECTOR]);
    drop(silent);
    sidecar.stop();
}

#[test]
fn a_renewed_certificate_is_read_on_a_signal() {
    let upstream = upstream();
    let line = format!("--upstream {} --defense none {TLS}", upstream.base());
    let sidecar = Sidecar::start_in(folder(&["server.pem", "server.key"]), &line, &[]);
    let shown = || {
        let stream = connect(&sidecar, "authority.pem").unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_eq!(shown(), certificate("server.pem"));
    // not with the key of another
    put("renewed.pem", &sidecar.folder().join("server.pem"));
    sidecar.signal("HUP");
    sidecar.until_logged("the certificate stays as it was");
    assert_eq!(shown(), certificate("server.pem"));
    put("renewed.key", &sidecar.folder().join("server.key"));
    sidecar.signal("HUP");
    sidecar.until_logged("the certificate is reread");
    assert_eq!(shown(), certificate("renewed.pem"));
    assert_eq!(vectors(&ask(&sidecar)), [VECTOR]);
    sidecar.stop();
}

#[test]
fn an_upstream_may_have_an_authority_of_its_own() {
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate("server.pem")], key)
        .unwrap();
    let upstream = Server::start_tls(Arc::new(config), |_, _| Reply::Vectors(vec![VECTOR.to_vec()]));
    for (authority, is_trusted) in
        [("--upstream-ca authority.pem", true), ("--upstream-ca stranger.pem", false), ("", false)]
    {
        let line = format!("--upstream {} --defense none {authority}", upstream.base());
        let sidecar = Sidecar::start_in(folder(&["authority.pem", "stranger.pem"]), &line, &[]);
        let answer = sidecar.ask(json!({"model": "m", "input": "a"}));
        if is_trusted {
            assert_eq!(vectors(&answer), [VECTOR]);
            assert_eq!(sidecar.get("/ready").status, 200);
        } else {
            assert_eq!(answer.code(502), "upstream_unreachable");
            assert_eq!(sidecar.get("/ready").code(503), "upstream_unreachable");
        }
        sidecar.stop();
    }
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn files_that_cannot_be_used_are_refused() {
    for (line, expected) in [
        ("--tls-cert server.pem", "--tls-key"),
        ("--tls-key server.key", "--tls-cert"),
        ("--tls-cert missing.pem --tls-key server.key", "missing.pem: there is no such file"),
        ("--tls-cert bad.pem --tls-key server.key", "bad.pem: it holds no certificates in PEM"),
        ("--tls-cert server.pem --tls-key bad.pem", "bad.pem: it holds no private key in PEM"),
        ("--tls-cert server.pem --tls-key locked.key", "needs no passphrase"),
        (
            "--tls-cert server.pem --tls-key renewed.key",
            "renewed.key: it does not match the first certificate",
        ),
        ("--tls-cert . --tls-key server.key", "not a regular file"),
        ("--tls-cert server.pem --tls-key open.key", "open.key: others can read the key"),
        ("--tls-cert server.pem --tls-key large.key", "large.key: it is longer than 1 MiB"),
        ("--upstream https://localhost/v1 --upstream-ca bad.pem", "bad.pem: it holds no certificates in PEM"),
        ("--upstream https://localhost/v1 --upstream-ca server.key", "server.key: it holds no certificates"),
        ("--upstream http://localhost/v1 --upstream-ca authority.pem", "begins with http"),
        ("--upstream-ca authority.pem", "--upstream"),
    ] {
        let folder = folder(&["server.pem", "server.key", "renewed.key", "locked.key", "authority.pem"]);
        let open = folder.path().join("open.key");
        fs::copy(folder.path().join("server.key"), &open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
        let large = fs::File::create(folder.path().join("large.key")).unwrap();
        large.set_len((1 << 20) + 1).unwrap();
        large.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
        let bad = folder.path().join("bad.pem");
        fs::write(&bad, "-----BEGIN CERTIFICATE-----\nplanted\n-----END planted-----\n").unwrap();
        fs::set_permissions(&bad, fs::Permissions::from_mode(0o600)).unwrap();
        let (code, stderr) = fails_in(folder, &format!("--defense none {line}"));
        assert_eq!(code, 2, "{line}: {stderr}");
        assert!(stderr.contains(expected), "{line}: {stderr}");
    }
}
