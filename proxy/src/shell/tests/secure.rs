//! TLS on either side and on both.

use std::io::{Read, Write};
use std::path::PathBuf;

use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection, StreamOwned};

use super::*;
use crate::tls::{Identity, TargetTls, Trust, client_config, server_config, server_name, ticketer};

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for localhost, as both sides need it.
struct Certified {
    server: Arc<rustls::ServerConfig>,
    roots: PathBuf,
}

impl Certified {
    fn new(name: &str) -> Certified {
        let identity = Identity::self_made(&["localhost".to_owned()]).unwrap();
        let roots = std::env::temp_dir().join(format!("weir-{}-{name}.pem", std::process::id()));
        let body = base64(identity.certificate());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n");
        std::fs::write(&roots, pem).unwrap();
        let server = server_config(&identity, ticketer().unwrap()).unwrap();
        Certified { server, roots }
    }

    fn client(&self) -> Arc<ClientConfig> {
        client_config(&Trust::File(self.roots.clone())).unwrap()
    }

    fn contexts(&self, name: &str) -> TlsContexts {
        let target = TargetTls {
            config: self.client(),
            name: server_name(name).unwrap(),
        };
        TlsContexts {
            listeners: vec![Some(Arc::clone(&self.server)); Mode::ALL.len()],
            groups: vec![None, Some(target)],
        }
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.roots);
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [
            chunk[0],
            *chunk.get(1).unwrap_or(&0),
            *chunk.get(2).unwrap_or(&0),
        ];
        let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for digit in 0..4 {
            if digit <= chunk.len() {
                text.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    lines.join("\n") + "\n"
}

fn wrap(config: &Arc<ClientConfig>, stream: TcpStream) -> Secure {
    let name = server_name("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(connection, stream)
}

fn secure_target(config: Arc<rustls::ServerConfig>) -> SocketAddr {
    target(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut buffer = [0; 16_384];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    })
}

#[test]
fn direct_tls_in_both_versions_and_resumed() {
    on_both(|io| {
        let certified = Certified::new(&format!("direct-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        let only_12 = {
            let mut config =
                ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
                    .with_root_certificates(roots(&certified))
                    .with_no_client_auth();
            config.alpn_protocols = vec![crate::tls::ALPN_POSTGRESQL.to_vec()];
            Arc::new(config)
        };
        for config in [certified.client(), only_12] {
            for round in 0..3 {
                let mut stream = wrap(&config, plane.connect(Mode::SecureEcho));
                for len in [1, 100, 16_384, 16_385, 200_000] {
                    let request = pattern(len, len as u32);
                    let mut sender = request.as_slice();
                    let mut answer = Vec::new();
                    while answer.len() < len {
                        let (now, later) = sender.split_at(sender.len().min(30_000));
                        stream.write_all(now).unwrap();
                        stream.flush().unwrap();
                        sender = later;
                        let mut part = vec![0; now.len()];
                        stream.read_exact(&mut part).unwrap();
                        answer.extend_from_slice(&part);
                    }
                    assert!(answer == request);
                }
                let kind = stream.conn.handshake_kind();
                assert_eq!(kind == Some(HandshakeKind::Resumed), round > 0, "{kind:?}");
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                // Answered in kind, not cut: read_to_end tells the difference.
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).unwrap();
                assert!(rest.is_empty());
            }
        }
        plane.assert_empties();
    });
}

fn roots(certified: &Certified) -> rustls::RootCertStore {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&certified.roots).unwrap())
        .unwrap();
    roots
}

#[test]
fn tls_starts_in_the_middle() {
    on_both(|io| {
        let certified = Certified::new(&format!("upgrade-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        for _ in 0..10 {
            let mut stream = plane.connect(Mode::Upgrade);
            assert_eq!(exchange(&mut stream, b"plain"), b"plain");
            assert_eq!(exchange(&mut stream, b"S"), b"S");
            let mut stream = wrap(&certified.client(), stream);
            assert_eq!(exchange(&mut stream, b"secret"), b"secret");
            assert!(stream.conn.alpn_protocol() == Some(b"postgresql"));
        }
        plane.assert_empties();
    });
}

#[test]
fn both_sides_encrypted_large_and_slow() {
    on_both(|io| {
        let certified = Certified::new(&format!("both-{io:?}"));
        let plane = Plane::new(io, 2, certified.contexts("localhost"));
        plane.target(1, vec![secure_target(Arc::clone(&certified.server))]);
        let config = certified.client();
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let mut stream = wrap(&config, plane.connect(Mode::SecureRelay));
                std::thread::spawn(move || {
                    for round in 0..40u32 {
                        let request = pattern(50_000 + round as usize * 1000, round * 10 + i);
                        stream.write_all(&request).unwrap();
                        stream.flush().unwrap();
                        std::thread::sleep(Duration::from_millis(u64::from(round % 3)));
                        let mut answer = vec![0; request.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert!(answer == request);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        plane.assert_empties();
    });
}

#[test]
fn a_target_of_another_name_or_issuer_is_refused() {
    on_both(|io| {
        let certified = Certified::new(&format!("name-{io:?}"));
        let stranger = Certified::new(&format!("stranger-{io:?}"));
        for (name, server, cause) in [
            ("elsewhere.example", &certified.server, "not valid for name"),
            ("localhost", &stranger.server, "invalid peer certificate"),
        ] {
            let plane = Plane::new(io, 1, certified.contexts(name));
            plane.target(1, vec![secure_target(Arc::clone(server))]);
            let mut stream = wrap(&certified.client(), plane.connect(Mode::SecureRelay));
            let _ = stream.write_all(b"hello");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty());
            assert!(plane.log.has(cause), "{}", plane.log.all());
            plane.assert_empties();
        }
    });
}

#[test]
fn garbage_instead_of_tls_is_answered_with_an_end() {
    on_both(|io| {
        let certified = Certified::new(&format!("garbage-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0x16, 3, 1, 0xff, 0xff, 0, 0],
            &[0; 4096],
        ] {
            let mut stream = plane.connect(Mode::SecureEcho);
            stream.write_all(garbage).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.len() < 100);
        }
        // In the middle of a connection that was good.
        let mut stream = wrap(&certified.client(), plane.connect(Mode::SecureEcho));
        exchange(&mut stream, b"good");
        stream.sock.write_all(&[0x17, 3, 3, 0, 40]).unwrap();
        stream.sock.write_all(&[9; 40]).unwrap();
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_err(), "no alert came");
        drop(stream);
        plane.assert_empties();
    });
}

/// Logins come in slices: an open connection is served while hundreds shake hands.
#[test]
fn a_storm_of_handshakes_lets_others_through() {
    on_both(|io| {
        let certified = Certified::new(&format!("storm-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        let mut open = plane.connect(Mode::Echo);
        exchange(&mut open, b"hello");
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (config, address) = (certified.client(), plane.address(Mode::SecureEcho));
                std::thread::spawn(move || {
                    let mut streams: Vec<_> =
                        (0..75).map(|_| wrap(&config, connect(address))).collect();
                    for stream in &mut streams {
                        // All hellos first, so that they wait together.
                        stream.conn.write_tls(&mut stream.sock).unwrap();
                    }
                    for stream in &mut streams {
                        assert_eq!(exchange(stream, b"hello"), b"hello");
                    }
                })
            })
            .collect();
        for _ in 0..100 {
            assert_eq!(exchange(&mut open, b"hi"), b"hi");
        }
        threads.into_iter().for_each(|t| t.join().unwrap());
        drop(open);
        plane.assert_empties();
    });
}

/// All that a client sends before its end is read, also when it does not wait for the handshake's last word.
#[test]
fn bytes_right_before_the_end_are_read_first() {
    on_both(|io| {
        let certified = Certified::new(&format!("end-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        for _ in 0..20 {
            let mut stream = wrap(&certified.client(), plane.connect(Mode::SecureEcho));
            stream.write_all(b"last words").unwrap();
            stream.flush().unwrap();
            stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"last words");
        }
        plane.assert_empties();
    });
}

/// Half a handshake message from a client makes rustls remember a place in the buffer. What weir sends meanwhile must not
/// call it with another one: it would panic, and with it the whole process.
#[test]
fn half_a_handshake_message_is_no_harm() {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    use rustls::ConnectionTrafficSecrets::Aes128Gcm;
    on_both(|io| {
        let certified = Certified::new(&format!("half-{io:?}"));
        let plane = Plane::new(io, 1, certified.contexts("localhost"));
        let mut config = (*certified.client()).clone();
        config.enable_secret_extraction = true;
        let mut stream = wrap(&Arc::new(config), plane.connect(Mode::SecureEcho));
        assert_eq!(exchange(&mut stream, b"hello"), b"hello");
        let mut sock = stream.sock;
        let (number, secrets) = stream.conn.dangerous_extract_secrets().unwrap().tx;
        let Aes128Gcm { key, iv } = secrets else {
            panic!("another cipher suite was chosen");
        };
        let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
        for (byte, count) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= count;
        }
        // The first three bytes of a KeyUpdate (24), and the record's inner type: handshake (22).
        let mut record = vec![24, 0, 0, 22];
        let header = [23, 3, 3, 0, record.len() as u8 + 16];
        LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap())
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(header),
                &mut record,
            )
            .unwrap();
        sock.write_all(&header).unwrap();
        sock.write_all(&record).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        // Makes weir send a record and a close_notify, and end the connection.
        plane.running().drain();
        let mut words = Vec::new();
        sock.read_to_end(&mut words).unwrap();
        // "bye" and an alert, encrypted: 5 + 3 + 1 + 16 and 5 + 2 + 1 + 16 bytes.
        assert_eq!(words.len(), 25 + 24);
        drop(sock);
        plane.assert_empties();
    });
}
