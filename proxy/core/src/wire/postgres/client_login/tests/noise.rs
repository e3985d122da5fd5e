//! Good bytes in any pieces, and bytes that mean nothing.

use super::*;

/// Runs a whole SCRAM login whose client bytes are cut into pieces of `size` bytes.
fn login_in_pieces(size: usize) {
    let feed_all = |login: &mut ClientLogin, bytes: &[u8]| {
        let mut steps = bytes
            .chunks(size)
            .map(|piece| feed(login, piece))
            .collect::<Vec<_>>();
        let last = steps.pop().unwrap();
        assert!(steps.iter().all(|s| matches!(s, LoginStep::NeedMore)));
        last
    };
    let mut login = scram(ClientTls::Required);
    assert!(matches!(
        feed_all(&mut login, SSL),
        LoginStep::StartTls { .. }
    ));
    login.tls_ready(false);
    assert!(matches!(
        feed_all(&mut login, &startup()),
        LoginStep::Identify(_)
    ));
    let request = sent(identify(&mut login, Some(&app())));
    let mut client = Client::new("secret", &request, Some(END_POINT));
    let challenge = sent(feed_all(&mut login, &client.first()));
    let end = sent(feed_all(&mut login, &client.last(&challenge)));
    client.verify(&end);
    assert!(matches!(
        feed(&mut login, b""),
        LoginStep::Authenticated { .. }
    ));
}

#[test]
fn any_pieces_make_the_same_login() {
    for size in [1, 2, 3, 5, 7, 8, 11, 64] {
        login_in_pieces(size);
    }
}

#[test]
fn a_startup_packet_split_anywhere_is_the_same() {
    let raw = startup();
    for at in 1..raw.len() {
        let mut login = scram(ClientTls::Off);
        assert!(matches!(feed(&mut login, &raw[..at]), LoginStep::NeedMore));
        assert!(
            matches!(feed(&mut login, &raw[at..]), LoginStep::Identify(_)),
            "{at}"
        );
    }
}

#[test]
fn what_follows_the_proof_is_left_alone() {
    let mut login = inside_tls(ClientAuthMethod::Cleartext);
    begin(&mut login, Some(&app()));
    let bytes = [password(b"secret"), b"Q\0\0\0\x05\0".to_vec()].concat();
    let mut used = 0;
    sent(login.next(&bytes, &mut used));
    assert!(matches!(
        login.next(&bytes, &mut used),
        LoginStep::Authenticated { .. }
    ));
    assert_eq!(&bytes[used..], b"Q\0\0\0\x05\0");
}

/// xorshift: the same numbers every time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// A valid conversation with some bytes changed, cut anywhere: an answer or a close, never a panic or an endless loop.
#[test]
fn noise_is_survived() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let app = app();
    let methods = [
        ClientAuthMethod::ScramSha256,
        ClientAuthMethod::Md5,
        ClientAuthMethod::Cleartext,
    ];
    let scraps: [&[u8]; 6] = [
        SSL,
        GSS,
        &startup(),
        b"p\0\0\0\x26SCRAM-SHA-256\0\0\0\0\x10n,,n=,r=abcdefgh",
        b"p\0\0\0\x0bsecret\0",
        b"\x16\x03\x01",
    ];
    let mut ends = 0;
    for _ in 0..20_000 {
        let tls = if noise.below(2) == 0 {
            ClientTls::Off
        } else {
            ClientTls::Required
        };
        let mut login = new(tls, methods[noise.below(3)]);
        let mut bytes: Vec<u8> = (0..noise.below(5))
            .flat_map(|_| scraps[noise.below(6)].to_vec())
            .collect();
        for _ in 0..noise.below(4) {
            let at = noise.below(bytes.len().max(1));
            let byte = noise.next().to_le_bytes()[0];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        ends += usize::from(drive(&mut login, &bytes, &app, &mut noise));
    }
    assert!(ends > 1000, "{ends}");
}

/// Whether the login came to an end.
fn drive(login: &mut ClientLogin, bytes: &[u8], app: &User, noise: &mut Noise) -> bool {
    let mut used = 0;
    for _ in 0..100 {
        let upto = used + noise.below(bytes.len() - used + 1);
        let before = used;
        match login.next(&bytes[..upto], &mut used) {
            LoginStep::NeedMore if used == bytes.len() => return false,
            LoginStep::NeedMore | LoginStep::Send(_) => {}
            LoginStep::StartTls { .. } => login.tls_ready(noise.below(2) == 0),
            LoginStep::Identify(_) => {
                let user = (noise.below(2) == 0).then_some(app);
                identify(login, user);
            }
            _ => return true,
        }
        assert!(before <= used && used <= upto);
    }
    false
}
