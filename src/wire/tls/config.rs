//! Whom TLS trusts and who it says we are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, Escaped, Kind, Result};

/// What a user may choose about TLS.
#[derive(Clone, Debug, Default)]
pub(in crate::wire) struct Settings {
    /// PEM file of trusted authorities; the system's if `None`.
    pub(in crate::wire) roots: Option<PathBuf>,
    /// PEM files of our certificate chain and key.
    pub(in crate::wire) identity: Option<(PathBuf, PathBuf)>,
    pub(in crate::wire) insecure: bool,
}

/// The rustls configuration; our certificate only if the connection goes `home`, to the origin that was
/// typed.
///
/// # Errors
/// `Kind::Usage` naming the file that cannot be used.
pub(in crate::wire) fn config(settings: &Settings, home: bool) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, format!("TLS cannot be set up: {error}")))?;
    let builder = if settings.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(TrustAll(provider)))
    } else {
        builder.with_root_certificates(roots(settings.roots.as_deref())?)
    };
    let mut config = match &settings.identity {
        Some((certificates, key)) if home => {
            let chain = certificates_in(certificates)?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable(key, "a private key in PEM form", &error))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable(key, "the key of that certificate", &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if let Some(file) = file {
        for certificate in certificates_in(file)? {
            store
                .add(certificate)
                .map_err(|error| unusable(file, "usable certificates", &error))?;
        }
        return Ok(store);
    }
    // Unreadable or odd certificates of the system are skipped: one bad file must not end all downloads.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(store)
}

fn certificates_in(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unusable(file, "certificates in PEM form", &error))?;
    if read.is_empty() {
        return Err(unusable(file, "certificates in PEM form", &"there are none"));
    }
    Ok(read)
}

fn unusable(file: &Path, what: &str, why: &dyn std::fmt::Display) -> Error {
    let file = file.to_string_lossy();
    let why = why.to_string();
    let message = format!("{} does not hold {what}: {}", Escaped(&file), Escaped(&why));
    Error::new(Kind::Usage, message).hint("see --cacert, --cert and --key")
}

/// Accepts every certificate: `--insecure`. Signatures are still checked, so that the session is at least
/// consistent.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
