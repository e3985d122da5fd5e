//! Servers that say anything: an end or a wait, never a panic.

use super::*;

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

fn scraps() -> Vec<Vec<u8>> {
    let mut server = Server::new("secret", false);
    let initial = sent(feed(&mut plain(app()), &Server::request(false)));
    vec![
        OK.to_vec(),
        IDLE.to_vec(),
        b"S\0\0\0\x08b\0x\0".to_vec(),
        b"K\0\0\0\x0c\0\0\0\x07abcd".to_vec(),
        b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04".to_vec(),
        b"R\0\0\0\x08\0\0\0\x03".to_vec(),
        b"N\0\0\0\x05\0".to_vec(),
        b"E\0\0\0\x0cC57P01\0\0".to_vec(),
        Server::request(false),
        server.challenge(&initial, MECHANISM),
        b"R\0\0\0\x0a\0\0\0\x0cv=".to_vec(),
    ]
}

#[test]
fn noise_is_survived() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let scraps = scraps();
    let identity = app();
    let mut ends = [0; 2];
    for _ in 0..20_000 {
        // Half of them get past the proof.
        let mut bytes = if noise.below(2) == 0 {
            OK.to_vec()
        } else {
            Vec::new()
        };
        for _ in 0..noise.below(6) {
            bytes.extend_from_slice(&scraps[noise.below(scraps.len())]);
        }
        for _ in 0..noise.below(3) {
            let at = noise.below(bytes.len().max(1));
            let byte = noise.next().to_le_bytes()[0];
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let mut login = plain(identity.clone());
        match drive(&mut login, &bytes, &mut noise) {
            Some(BackendStep::Ready(_)) => ends[0] += 1,
            Some(_) => ends[1] += 1,
            None => {}
        }
    }
    assert!(ends[0] > 100 && ends[1] > 1000, "{ends:?}");
}

/// The end that the login came to, if any.
fn drive(login: &mut BackendLogin, bytes: &[u8], noise: &mut Noise) -> Option<BackendStep> {
    let mut used = 0;
    for _ in 0..200 {
        let upto = used + noise.below(bytes.len() - used + 1);
        let before = used;
        match login.next(&bytes[..upto], &mut used) {
            BackendStep::NeedMore if used == bytes.len() => return None,
            BackendStep::NeedMore | BackendStep::Send(_) => {}
            BackendStep::Hash(_) => {
                if noise.below(2) == 0 {
                    sent(login.hashed(&[3; 32]));
                }
            }
            end => return Some(end),
        }
        assert!(before <= used && used <= upto);
    }
    None
}
