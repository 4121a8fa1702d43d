//! HTTPS and Unix sockets, over real sockets, and a certificate that is replaced while the tracker runs.

#![allow(clippy::unwrap_used)]

mod http_client;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http_client::{announce_path, ask, reply, rest, text};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracker::app::App;
use tracker::config::{Config, Plan};
use wire::bencode::Value;

/// Writes a new certificate for `localhost` and its key.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("t.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("t.key"), made.signing_key.serialize_pem()).unwrap();
}

fn https(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "  addr: ''\n  https_addr: 127.0.0.1:0\n  tls_cert_path: {folder}/t.crt\n  tls_key_path: {folder}/t.key"
    )
}

/// A client that trusts the certificate that is in the folder now, and nothing else.
async fn connect(app: &App, folder: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("t.crt")).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(app.https_address.unwrap()).await?;
    TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn https_answers_as_http_does_and_is_counted_as_https() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let app = http_client::start(&https(folder.path()), "").await;
    assert_eq!(app.http_address.port(), 0, "plain HTTP is off");
    let stream = connect(&app, folder.path()).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let reply = reply(&ask(stream, &announce_path(), "").await);
    assert_eq!(reply.get("complete").and_then(Value::as_integer), Some(1));
    let page = ask(TcpStream::connect(app.admin_address).await.unwrap(), "/stats", "").await;
    let stats: serde_json::Value = serde_json::from_slice(http_client::body(&page)).unwrap();
    assert_eq!(stats["requests"][0]["frontend"], "https", "{stats}");
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_shows_the_new_certificate_and_a_bad_one_keeps_the_old() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let text = format!("metrics_addr: 127.0.0.1:0\nhttp:\n{}\n", https(folder.path()));
    let config = Config::load(Some(&text), []).unwrap();
    let mut app = App::start(Plan::of(config.clone()).unwrap()).await.unwrap();
    let first = fs::read(folder.path().join("t.crt")).unwrap();
    let old = connect(&app, folder.path()).await.unwrap();

    certify(folder.path());
    connect(&app, folder.path()).await.unwrap_err();
    app.reload(Plan::of(config.clone()).unwrap()).unwrap();
    connect(&app, folder.path()).await.unwrap();
    assert!(reply(&ask(old, &announce_path(), "").await).get("peers").is_some(), "old connections go on");

    let second = fs::read(folder.path().join("t.crt")).unwrap();
    fs::write(folder.path().join("t.crt"), first).unwrap();
    let problem = Plan::of(config.clone()).unwrap_err().to_string();
    assert!(problem.contains("`http.tls_key_path`"), "{problem}");
    assert!(Config::load(Some(&text), []).unwrap_err().to_string().contains("`http.tls_key_path`"));
    fs::write(folder.path().join("t.crt"), second).unwrap();
    connect(&app, folder.path()).await.unwrap();
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_shakes_hands_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let app = http_client::start(&format!("{}\n  read_timeout: 200ms", https(folder.path())), "").await;
    let silent = TcpStream::connect(app.https_address.unwrap()).await.unwrap();
    assert!(rest(silent).await.is_empty());
    app.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_on_a_unix_socket_says_whom_it_speaks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tracker.sock");
    // Left by a tracker that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let http = format!("  addr: unix:{}\n  real_ip_header: x-real-ip", path.display());
    let app = http_client::start(&http, "").await;
    let connect = async || UnixStream::connect(&path).await.unwrap();

    let told = reply(&ask(connect().await, &announce_path(), "X-Real-IP: 192.0.2.7\r\n").await);
    assert_eq!(told.get("external ip").and_then(Value::as_bytes), Some(&[192, 0, 2, 7][..]));
    let untold = reply(&ask(connect().await, &announce_path(), "").await);
    assert!(text(&untold, "failure reason").unwrap().contains("does not say who you are"));

    app.stop().await.unwrap();
    assert!(!path.exists(), "the socket file goes with the tracker");
}

#[test]
fn listeners_that_cannot_work_are_refused_with_the_reason() {
    let problem = |http: &str| Config::load(Some(&format!("http: {http}")), []).unwrap_err().to_string();
    assert!(problem("{https_addr: ':443'}").contains("needs `http.tls_cert_path`"));
    let missing = problem("{https_addr: ':443', tls_cert_path: /nowhere/c, tls_key_path: /nowhere/k}");
    assert!(missing.contains("/nowhere/c") && missing.contains("/nowhere/k"), "{missing}");
    assert!(problem("{https_addr: 'unix:/x'}").contains("needs no TLS"));
    assert!(problem("{addr: 'unix:/x'}").contains("needs `http.real_ip_header`"));
    assert!(problem("{addr: localhost}").contains("`http.addr`: expected an address"));
    assert!(
        Config::load(Some("metrics_addr: unix:/x"), []).unwrap_err().to_string().contains("`metrics_addr`")
    );
    Config::load(Some("metrics_addr: ':6880'\nhttp: {addr: ':6969', enable_request_timing: true}"), [])
        .unwrap();
}
