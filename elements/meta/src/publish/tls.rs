// SPDX-License-Identifier: Apache-2.0
//! Encryption of connections to brokers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::target::TargetError;

/// What users say of it, files in PEM.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tls {
    /// Certificates of those who sign brokers'; nothing: the system's.
    pub ca: Option<PathBuf>,
    /// Certificate chain and key of this client, where the broker wants one.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Reads the files.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TargetError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(path) => {
                for certificate in certificates("tls-ca-file", path)? {
                    roots
                        .add(certificate)
                        .map_err(|err| unreadable("tls-ca-file", path, err))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(TargetError::NoAuthorities);
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|err| TargetError::Tls(err.to_string()))?
            .with_root_certificates(roots);
        let config = match &self.client {
            Some((certificate, key)) => {
                let chain = certificates("tls-cert-file", certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key)
                    .map_err(|err| unreadable("tls-key-file", key, err))?;
                builder
                    .with_client_auth_cert(chain, secret)
                    .map_err(|err| unreadable("tls-cert-file", certificate, err))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn unreadable(property: &'static str, path: &Path, err: impl std::fmt::Display) -> TargetError {
    TargetError::Pem {
        property,
        path: path.to_path_buf(),
        reason: err.to_string(),
    }
}

fn certificates(
    property: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let read = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|err| unreadable(property, path, err))?;
    match read.is_empty() {
        true => Err(unreadable(
            property,
            path,
            "there is no certificate in it (PEM is expected)",
        )),
        false => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_missing_or_no_certificates_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing.pem");
        let text = folder.path().join("text.pem");
        std::fs::write(&text, "no certificate").expect("written");
        for (path, reason) in [(&missing, "missing.pem"), (&text, "no certificate in it")] {
            let tls = Tls {
                ca: Some(path.clone()),
                client: None,
            };
            let error = tls.load().expect_err("refused").to_string();
            assert!(
                error.contains("tls-ca-file") && error.contains(reason),
                "{error}"
            );
        }
    }
}
