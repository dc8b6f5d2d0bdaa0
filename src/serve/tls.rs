//! Certificates: those that an upstream must show, and the server's own.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use crate::Error;
use crate::defenses::is_open_to_others;

/// The most bytes of a PEM file; the authorities of the public web take a quarter of it.
const LONGEST: u64 = 1 << 20;

/// The server's certificate and private key, and the settings made from them.
#[derive(Debug)]
pub(super) struct Tls {
    certificates: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub(super) fn read(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let config = RwLock::new(server(certificates, key)?);
        Ok(Self { certificates: certificates.to_owned(), key: key.to_owned(), config })
    }

    /// Reads the files anew. If they cannot be used, everything stays as it is.
    pub(super) fn reread(&self) -> Result<(), Error> {
        let config = server(&self.certificates, &self.key)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// As it is now; a connection keeps what it began with.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The authorities of the public web, which ureq takes too.
pub(super) fn public_authorities() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The authorities of a file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|_| {
            Error::file(path, "it holds a certificate that cannot be used as an authority; leave it out")
        })?;
    }
    Ok(roots)
}

/// Returns the TLS settings for an upstream whose certificate one of these authorities signed.
pub(super) fn client(roots: RootCertStore) -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn server(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let certificates = certificates(chain)?;
    let secret = PrivateKeyDer::from_pem_slice(&read_key(key)?).map_err(|_| {
        Error::file(
            key,
            "it holds no private key in PEM that needs no passphrase; remove one with `openssl pkey`",
        )
    })?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| unusable())?;
    let mut config = config.with_no_client_auth().with_single_cert(certificates, secret).map_err(|_| {
        Error::file(
            key,
            format!(
                "it does not match the first certificate in {}, or its type is not supported",
                chain.display()
            ),
        )
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        // what the reader says may repeat a line, and the file may hold a key too
        _ => Err(Error::file(path, "it holds no certificates in PEM (-----BEGIN CERTIFICATE-----)")),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_from(open(path)?, path)
}

/// Reads a file that others cannot. It is the opened file that is asked, because another one may get its name meanwhile.
fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let file = open(path)?;
    if file.metadata().map_or(true, |metadata| is_open_to_others(&metadata)) {
        return Err(Error::file(path, "others can read the key in it; close it with `chmod 600`"));
    }
    read_from(file, path)
}

fn open(path: &Path) -> Result<File, Error> {
    // a pipe would be waited for, and has nothing to be read again
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Error::file(path, "it is not a regular file"));
    }
    File::open(path).map_err(|error| Error::unreadable(path, &error, ""))
}

/// Makes room for the whole beforehand: a buffer that grows would leave copies of the key behind.
fn read_from(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| Error::unreadable(path, &error, ""))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::file(path, "it is longer than 1 MiB, and no such PEM file is"));
    }
    Ok(bytes)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unusable() -> Error {
    Error::Setting("TLS could not be set up".into())
}
