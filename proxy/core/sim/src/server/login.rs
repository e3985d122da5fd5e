//! From a new connection to the first ReadyForQuery, and cancel requests.

use super::parts::Login;
use super::session::Session;
use super::{AuthKind, Shared};
use crate::scram::{ScramServer, md5_answer};
use crate::wire;

impl Session {
    pub(super) fn login_step(&mut self, shared: &mut Shared, others: usize) -> bool {
        if self.login.as_ref().is_some_and(|l| l.waits_for_password) {
            let Some((kind, body, length)) = wire::first_message(&self.input) else {
                return false;
            };
            let body = body.to_vec();
            self.input.drain(..length);
            if kind == b'p' {
                self.proof(shared, &body);
            } else {
                self.fatal(shared, "08P01", "expected password response");
            }
            return true;
        }
        let Some(head) = self.input.get(..8) else {
            return false;
        };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let code = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        if self.input.len() < length || length < 8 {
            return false;
        }
        let body = self.input[8..length].to_vec();
        self.input.drain(..length);
        match code {
            80_877_103 | 80_877_104 => {
                let yes = code == 80_877_103 && shared.config.tls && !self.tls;
                self.say(if yes { b"S" } else { b"N" });
                self.flush(shared);
            }
            80_877_102 => {
                let pid = body.get(..4).and_then(|b| b.try_into().ok());
                let secret = body.get(4..).unwrap_or_default().to_vec();
                self.cancel_request = Some((pid.map_or(0, u32::from_be_bytes), secret));
                self.close(shared);
            }
            _ => self.startup(shared, code, &body, others),
        }
        true
    }

    fn startup(&mut self, shared: &mut Shared, version: u32, body: &[u8], others: usize) {
        self.counted = true;
        if version >> 16 != 3 {
            return self.fatal(shared, "0A000", "unsupported frontend protocol");
        }
        if others >= shared.config.max_connections {
            return self.fatal(shared, "53300", "sorry, too many clients already");
        }
        let minor = version & 0xffff;
        if minor > shared.config.max_minor {
            let newest = (0x0003_0000 + shared.config.max_minor).to_be_bytes();
            self.say(&wire::message(b'v', &wire::cat(&[&newest, &[0, 0, 0, 0]])));
        }
        self.long_key = minor.min(shared.config.max_minor) >= 2;
        let mut rest = body;
        while let Some((name, after)) = wire::cstr(rest) {
            let Some((value, after)) = wire::cstr(after) else {
                break;
            };
            self.parameter(name, value);
            rest = after;
        }
        self.ask(shared);
    }

    fn parameter(&mut self, name: &str, value: &str) {
        match name {
            "" => {}
            "user" => value.clone_into(&mut self.user),
            "database" => value.clone_into(&mut self.database),
            "options" => {
                for part in value.split("-c ").filter(|p| !p.trim().is_empty()) {
                    if let Some((n, v)) = part.trim().split_once('=') {
                        self.state.defaults.insert(n.to_owned(), v.to_owned());
                    }
                }
            }
            other => {
                self.state
                    .defaults
                    .insert(other.to_owned(), value.to_owned());
            }
        }
    }

    fn ask(&mut self, shared: &mut Shared) {
        let salt: [u8; 4] = shared.rng.bytes();
        let plus: &[u8] = if self.tls {
            b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
        } else {
            b"SCRAM-SHA-256\0\0"
        };
        let request = match shared.config.auth {
            AuthKind::Trust => return self.welcome(shared),
            AuthKind::Cleartext => wire::authentication(3, b""),
            AuthKind::Md5 => wire::authentication(5, &salt),
            AuthKind::Scram => wire::authentication(10, plus),
        };
        self.login = Some(Login {
            waits_for_password: true,
            md5_salt: salt,
            scram: None,
        });
        self.say(&request);
        self.flush(shared);
    }

    fn proof(&mut self, shared: &mut Shared, body: &[u8]) {
        let password = shared.config.users.get(&self.user).cloned();
        let Some(login) = self.login.clone() else {
            return;
        };
        let text = wire::cstr(body)
            .map(|(t, _)| t.to_owned())
            .unwrap_or_default();
        let good = match (shared.config.auth, &login.scram, &password) {
            (AuthKind::Cleartext, _, Some(p)) => text == *p,
            (AuthKind::Md5, _, Some(p)) => text == md5_answer(&self.user, p, &login.md5_salt),
            (AuthKind::Scram, None, _) => {
                return self.scram_first(shared, body.get(text.len() + 5..).unwrap_or_default());
            }
            (AuthKind::Scram, Some(scram), Some(p)) => {
                let verified = scram.verify(&String::from_utf8_lossy(body), p);
                if let Some(text) = &verified {
                    self.say(&wire::authentication(12, text.as_bytes()));
                }
                verified.is_some()
            }
            _ => false,
        };
        if good {
            self.welcome(shared);
        } else {
            let text = format!("password authentication failed for user \"{}\"", self.user);
            self.fatal(shared, "28P01", &text);
        }
    }

    fn scram_first(&mut self, shared: &mut Shared, first: &[u8]) {
        let nonce = format!("srv{}", shared.rng.next_u64());
        let first = String::from_utf8_lossy(first).into_owned();
        let Some(scram) =
            ScramServer::new(&first, &nonce, b"saltsalt", 8, &shared.config.end_point)
        else {
            return self.fatal(shared, "08P01", "malformed SCRAM message");
        };
        self.say(&wire::authentication(11, scram.first().as_bytes()));
        self.flush(shared);
        if let Some(login) = &mut self.login {
            login.scram = Some(scram);
        }
    }

    fn welcome(&mut self, shared: &mut Shared) {
        self.say(&wire::authentication(0, b""));
        if !shared.config.databases.contains(&self.database) {
            let text = format!("database \"{}\" does not exist", self.database);
            return self.fatal(shared, "3D000", &text);
        }
        let user = self.user.clone();
        for (name, value) in [
            ("server_version", "17.0"),
            ("session_authorization", user.as_str()),
        ] {
            self.say(&wire::parameter_status(name, value));
        }
        for name in [
            "application_name",
            "TimeZone",
            "DateStyle",
            "client_encoding",
        ] {
            let value = self.state.setting(name).unwrap_or_default().to_owned();
            self.say(&wire::parameter_status(name, &value));
        }
        let key = wire::backend_key_data(self.pid, self.key());
        self.say(&key);
        self.say(&wire::ready(b'I'));
        self.flush(shared);
        self.login = None;
    }
}
