//! Certificates made for one test run, each signed by an authority of its own.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate with its key and the authority that signed it.
pub(crate) struct Certificate {
    /// The name that URLs of the origin use.
    pub(crate) host: String,
    /// What `--cacert` needs to trust it.
    pub(crate) authority_pem: String,
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
    chain: CertificateDer<'static>,
    key: KeyPair,
    client_roots: Option<RootCertStore>,
    client_optional: bool,
}

impl Certificate {
    /// Good for `host`, a name or an address.
    pub(crate) fn valid_for(host: &str) -> Self {
        Self::signed(host, params_for(host))
    }

    /// For another host than `localhost`, under which it is served.
    pub(crate) fn wrong_host() -> Self {
        Self::signed("localhost", params_for("elsewhere.invalid"))
    }

    /// With this text for every name in it, served under `localhost`. Names are ASCII by the format; others
    /// stand in the subject alone.
    pub(crate) fn named(text: &str) -> Self {
        let mut params = match CertificateParams::new(vec![text.to_owned()]) {
            Ok(params) => params,
            Err(_) => params_for("elsewhere.invalid"),
        };
        params.distinguished_name.push(DnType::CommonName, text);
        params.distinguished_name.push(DnType::OrganizationName, text);
        Self::signed("localhost", params)
    }

    /// Ended long ago.
    pub(crate) fn expired() -> Self {
        let mut params = params_for("localhost");
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        Self::signed("localhost", params)
    }

    /// Begins in another century.
    pub(crate) fn not_yet_valid() -> Self {
        let mut params = params_for("localhost");
        params.not_before = date_time_ymd(2201, 1, 1);
        params.not_after = date_time_ymd(2202, 1, 1);
        Self::signed("localhost", params)
    }

    /// Its own authority.
    pub(crate) fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        let signed = params_for("localhost").self_signed(&key).unwrap();
        Self::new("localhost", signed.pem(), &signed, key)
    }

    /// Makes the server ask for a certificate that the authority of `client` signed.
    pub(crate) fn asks_for(mut self, client: &Self) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(client.authority()).unwrap();
        self.client_roots = Some(roots);
        self
    }

    /// As [`Self::asks_for`], but serves clients without a certificate too.
    pub(crate) fn asks_for_if_there_is_one(self, client: &Self) -> Self {
        Self { client_optional: true, ..self.asks_for(client) }
    }

    /// What a TLS server needs to show this certificate.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let config = match self.client_roots.clone() {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
                let verifier = match self.client_optional {
                    true => verifier.allow_unauthenticated(),
                    false => verifier,
                };
                ServerConfig::builder().with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        Arc::new(config.with_single_cert(vec![self.chain.clone()], key).unwrap())
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> CertificateDer<'static> {
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_slice(self.authority_pem.as_bytes()).unwrap()
    }

    fn signed(host: &str, params: CertificateParams) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &authority).unwrap();
        Self::new(host, authority.pem(), &signed, key)
    }

    fn new(host: &str, authority_pem: String, signed: &rcgen::Certificate, key: KeyPair) -> Self {
        Self {
            host: host.to_owned(),
            authority_pem,
            chain_pem: signed.pem(),
            key_pem: key.serialize_pem(),
            chain: signed.der().clone(),
            key,
            client_roots: None,
            client_optional: false,
        }
    }
}

fn params_for(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    // Another name than the authority's: OpenSSL takes a certificate with one name twice for self-signed.
    params.distinguished_name.push(DnType::CommonName, host);
    params
}
