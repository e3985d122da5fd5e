use super::*;
use crate::auth::UserSecret;
use crate::auth::scram::{Challenge, ScramClient};
use crate::wire::postgres::messages::ErrorFields;

const END_POINT: &[u8] = &[0xee; 32];
const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

fn user(secret: UserSecret) -> User {
    User {
        name: "app".into(),
        secret: Arc::new(secret),
    }
}

fn app() -> User {
    user(UserSecret::from_password("secret", [3; 16]))
}

fn new(tls: ClientTls, method: ClientAuthMethod) -> ClientLogin {
    ClientLogin::new(tls, method, Some(END_POINT.into()))
}

fn scram(tls: ClientTls) -> ClientLogin {
    new(tls, ClientAuthMethod::ScramSha256)
}

/// A login with TLS up already.
fn inside_tls(method: ClientAuthMethod) -> ClientLogin {
    let mut login = new(ClientTls::Required, method);
    assert!(matches!(feed(&mut login, SSL), LoginStep::StartTls { .. }));
    login.tls_ready(false);
    login
}

/// All of `bytes` in one piece, all of which must be taken.
fn feed(login: &mut ClientLogin, bytes: &[u8]) -> LoginStep {
    let mut used = 0;
    let step = login.next(bytes, &mut used);
    if !matches!(step, LoginStep::Refuse { .. } | LoginStep::Hangup { .. }) {
        assert_eq!(used, bytes.len(), "{step:?}");
    }
    step
}

fn startup_of(word: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut body = word.to_be_bytes().to_vec();
    for (name, value) in [("user", "app"), ("database", "db")].iter().chain(more) {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    let mut out = u32::try_from(body.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    out.extend(body);
    out
}

fn startup() -> Vec<u8> {
    startup_of(PROTOCOL_3_0, &[])
}

fn identify(login: &mut ClientLogin, user: Option<&User>) -> LoginStep {
    let mut next = 0;
    login.identified(user, &[9; 32], &mut |buffer: &mut [u8]| {
        buffer.fill_with(|| {
            next += 1;
            next
        });
    })
}

/// Sends the startup message and answers the look-up; gives the authentication request.
fn begin(login: &mut ClientLogin, user: Option<&User>) -> Vec<u8> {
    let step = feed(login, &startup());
    assert!(matches!(step, LoginStep::Identify(_)), "{step:?}");
    sent(identify(login, user))
}

fn sent(step: LoginStep) -> Vec<u8> {
    match step {
        LoginStep::Send(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn refused(step: LoginStep) -> (ClientError, String) {
    match step {
        LoginStep::Refuse { error, reason } => (error, reason),
        other => panic!("{other:?}"),
    }
}

fn password(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    messages::password_message(&mut out, text);
    out
}

/// What a client sends in a SCRAM login, and what it gets.
struct Client {
    scram: ScramClient,
}

impl Client {
    fn new(password: &str, request: &[u8], end_point: Option<&[u8]>) -> Client {
        let list = &request[9..request.len() - 1];
        let names: Vec<_> = list.split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        let known = UserSecret::from_password(password, [0; 16]).proofs(None, None);
        let scram = ScramClient::choose(&names, end_point, known, &[5; 18]).unwrap();
        Client { scram }
    }

    fn first(&self) -> Vec<u8> {
        let mut out = Vec::new();
        messages::sasl_initial_response(
            &mut out,
            self.scram.mechanism(),
            self.scram.first().as_bytes(),
        );
        out
    }

    fn last(&mut self, challenge: &[u8]) -> Vec<u8> {
        assert_eq!(&challenge[..1], b"R");
        let answer = match self.scram.challenge(&challenge[9..]).unwrap() {
            Challenge::Hash(job) => self.scram.hashed(&job.run()),
            Challenge::Final(text) => text,
        };
        let mut out = Vec::new();
        messages::sasl_response(&mut out, answer.as_bytes());
        out
    }

    fn verify(&mut self, end: &[u8]) {
        let (last, ok) = end.split_at(end.len() - 9);
        assert_eq!(ok, b"R\0\0\0\x08\0\0\0\0");
        self.scram.verify(&last[9..]).unwrap();
    }
}

#[test]
fn scram_plus_inside_tls() {
    let mut login = inside_tls(ClientAuthMethod::ScramSha256);
    let request = begin(&mut login, Some(&app()));
    assert_eq!(
        request,
        b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    );
    let mut client = Client::new("secret", &request, Some(END_POINT));
    assert_eq!(client.scram.mechanism(), "SCRAM-SHA-256-PLUS");
    let challenge = sent(feed(&mut login, &client.first()));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
    match feed(&mut login, b"") {
        LoginStep::Authenticated { client_key } => {
            assert_eq!(
                client_key,
                Some(client.scram.keys_used().unwrap().2.client_key)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(feed(&mut login, b""), LoginStep::Hangup { .. }));
}

#[test]
fn scram_without_tls_offers_no_binding() {
    let mut login = scram(ClientTls::Off);
    let request = begin(&mut login, Some(&app()));
    assert_eq!(request, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    let mut client = Client::new("secret", &request, None);
    let challenge = sent(feed(&mut login, &client.first()));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
}

#[test]
fn scram_with_the_first_message_sent_later() {
    let mut login = scram(ClientTls::Off);
    let request = begin(&mut login, Some(&app()));
    let mut client = Client::new("secret", &request, None);
    let empty = sent(feed(
        &mut login,
        b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff",
    ));
    assert_eq!(empty, b"R\0\0\0\x08\0\0\0\x0b");
    let mut first = Vec::new();
    messages::sasl_response(&mut first, client.scram.first().as_bytes());
    let challenge = sent(feed(&mut login, &first));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
}

/// The whole SCRAM login in one piece each; gives the last step.
fn scram_login(password: &str, user: Option<&User>) -> (Vec<usize>, LoginStep) {
    let mut login = inside_tls(ClientAuthMethod::ScramSha256);
    let request = begin(&mut login, user);
    let mut client = Client::new(password, &request, Some(END_POINT));
    let challenge = sent(feed(&mut login, &client.first()));
    let step = feed(&mut login, &client.last(&challenge));
    (vec![request.len(), challenge.len()], step)
}

#[test]
fn a_wrong_password_and_an_unknown_user_differ_only_in_the_log() {
    let (wrong_sizes, wrong) = scram_login("wrong", Some(&app()));
    let (unknown_sizes, unknown) = scram_login("secret", None);
    let ((wrong, why_wrong), (unknown, why_unknown)) = (refused(wrong), refused(unknown));
    assert_eq!(wrong, unknown);
    assert_eq!(wrong_sizes, unknown_sizes);
    assert_eq!((wrong.code, wrong.severity), ("28P01", "FATAL"));
    assert_eq!(
        wrong.message,
        "password authentication failed for user \"app\""
    );
    assert_eq!(
        (&*why_wrong, &*why_unknown),
        ("wrong password", "unknown user")
    );
}

#[test]
fn unknown_users_get_the_same_challenge_every_time() {
    let salt = || {
        let mut login = scram(ClientTls::Off);
        let request = begin(&mut login, None);
        let challenge = sent(feed(&mut login, &Client::new("x", &request, None).first()));
        let text = String::from_utf8(challenge[9..].to_vec()).unwrap();
        text.split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt(), salt());
}

#[test]
fn a_verifier_alone_lets_scram_in_and_md5_not() {
    let text = app().secret.verifier().to_text();
    let stored = user(UserSecret::from_verifier(&text).unwrap());
    let (_, step) = scram_login("secret", Some(&stored));
    sent(step);
    for method in [ClientAuthMethod::Md5, ClientAuthMethod::Cleartext] {
        let mut login = inside_tls(method);
        begin(&mut login, Some(&stored));
        let (error, reason) = refused(feed(&mut login, &password(b"nobody's password")));
        assert_eq!(error.code, "28P01");
        assert!(reason.contains("verifier"));
    }
}

#[test]
fn md5_and_cleartext() {
    for method in [ClientAuthMethod::Md5, ClientAuthMethod::Cleartext] {
        let run = |given: &str, user: Option<&User>| {
            let mut login = inside_tls(method);
            let request = begin(&mut login, user);
            let answer = if method == ClientAuthMethod::Md5 {
                assert_eq!(request, b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04");
                crate::auth::md5::answer(given.as_bytes(), b"app", [1, 2, 3, 4]).to_vec()
            } else {
                assert_eq!(request, b"R\0\0\0\x08\0\0\0\x03");
                given.as_bytes().to_vec()
            };
            let step = feed(&mut login, &password(&answer));
            (login, step)
        };
        let (mut login, step) = run("secret", Some(&app()));
        assert_eq!(sent(step), b"R\0\0\0\x08\0\0\0\0");
        let done = feed(&mut login, b"");
        assert!(matches!(
            done,
            LoginStep::Authenticated { client_key: None }
        ));
        let (wrong, why_wrong) = refused(run("wrong", Some(&app())).1);
        let (unknown, why_unknown) = refused(run("secret", None).1);
        let (guessed, _) = refused(run("nobody's password", None).1);
        assert_eq!(wrong, unknown);
        assert_eq!(wrong, guessed);
        assert_eq!(wrong.code, "28P01");
        assert_eq!(
            (&*why_wrong, &*why_unknown),
            ("wrong password", "unknown user")
        );
    }
}

#[test]
fn an_empty_password_never_passes() {
    let empty = user(UserSecret::from_password("", [0; 16]));
    let mut login = inside_tls(ClientAuthMethod::Cleartext);
    begin(&mut login, Some(&empty));
    assert_eq!(refused(feed(&mut login, &password(b""))).0.code, "28P01");
}

#[test]
fn cleartext_is_never_asked_for_outside_tls() {
    let mut login = new(ClientTls::Off, ClientAuthMethod::Cleartext);
    assert!(matches!(
        feed(&mut login, &startup()),
        LoginStep::Identify(_)
    ));
    let (error, _) = refused(identify(&mut login, Some(&app())));
    assert_eq!(error.code, "28000");
    assert!(error.message.contains("requires TLS"));
}

#[test]
fn tls_is_required_or_declined() {
    let (error, _) = refused(feed(&mut scram(ClientTls::Required), &startup()));
    assert_eq!(error.code, "28000");

    match feed(&mut scram(ClientTls::Required), SSL) {
        LoginStep::StartTls { reply, early } => {
            assert_eq!((reply, early), (Some(b"S".to_vec()), None))
        }
        other => panic!("{other:?}"),
    }
    let mut off = scram(ClientTls::Off);
    assert_eq!(sent(feed(&mut off, SSL)), b"N");
    assert!(matches!(feed(&mut off, &startup()), LoginStep::Identify(_)));
}

#[test]
fn gssenc_is_declined_once_and_the_login_goes_on() {
    let mut login = scram(ClientTls::Required);
    assert_eq!(sent(feed(&mut login, GSS)), b"N");
    assert!(matches!(feed(&mut login, SSL), LoginStep::StartTls { .. }));

    let mut twice = scram(ClientTls::Required);
    sent(feed(&mut twice, GSS));
    assert_eq!(refused(feed(&mut twice, GSS)).0.code, "0A000");
    let mut off = scram(ClientTls::Off);
    sent(feed(&mut off, SSL));
    sent(feed(&mut off, GSS));
    assert_eq!(refused(feed(&mut off, SSL)).0.code, "0A000");
}

#[test]
fn requests_for_encryption_inside_tls_are_refused() {
    for request in [SSL, GSS] {
        let (error, _) = refused(feed(&mut inside_tls(ClientAuthMethod::Md5), request));
        assert_eq!(error.code, "0A000");
        assert!(error.message.contains("1234."));
    }
}

#[test]
fn bytes_behind_a_request_for_encryption_are_refused() {
    for tls in [ClientTls::Required, ClientTls::Off] {
        for request in [SSL, GSS] {
            let injected = [request, &startup()].concat();
            let (error, _) = refused(feed(&mut scram(tls), &injected));
            assert_eq!(error.code, "08P01");
            assert!(error.message.contains("unencrypted data"));
        }
    }
    let mut late = scram(ClientTls::Required);
    feed(&mut late, SSL);
    assert!(matches!(feed(&mut late, b""), LoginStep::NeedMore));
    assert!(matches!(feed(&mut late, b"x"), LoginStep::Hangup { .. }));
}

#[test]
fn direct_tls_needs_alpn() {
    let hello = b"\x16\x03\x01\x02\0";
    for (alpn, welcome) in [(true, true), (false, false)] {
        let mut login = scram(ClientTls::Required);
        let mut used = 0;
        match login.next(hello, &mut used) {
            LoginStep::StartTls { reply, early } => assert_eq!((reply, early), (None, Some(0))),
            other => panic!("{other:?}"),
        }
        assert_eq!(used, hello.len());
        login.tls_ready(alpn);
        let step = feed(&mut login, &startup());
        assert_eq!(matches!(step, LoginStep::Identify(_)), welcome, "{step:?}");
        if !welcome {
            assert_eq!(refused(step).0.code, "08P01");
        }
    }
    let off = feed(&mut scram(ClientTls::Off), hello);
    assert!(matches!(off, LoginStep::Hangup { .. }));
    // Only as the very first thing.
    let mut later = scram(ClientTls::Required);
    sent(feed(&mut later, GSS));
    assert!(matches!(feed(&mut later, hello), LoginStep::Hangup { .. }));
}

#[test]
fn cancel_requests_come_plain_and_inside_tls() {
    let mut request = Vec::new();
    messages::cancel_request(&mut request, 77, &[4; 32]);
    for mut login in [
        scram(ClientTls::Required),
        inside_tls(ClientAuthMethod::Md5),
    ] {
        match feed(&mut login, &request) {
            LoginStep::Cancel { key, secret } => assert_eq!((key, secret), (77, vec![4; 32])),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            feed(&mut login, &startup()),
            LoginStep::Hangup { .. }
        ));
    }
}

#[test]
fn protocol_versions_and_options_are_negotiated() {
    for (word, more, version) in [
        (
            PROTOCOL_3_0 + 3,
            None,
            Some(&b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"[..]),
        ),
        (
            PROTOCOL_3_0 + 1,
            None,
            Some(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0"),
        ),
        (
            PROTOCOL_3_2,
            Some(("_pq_.x", "1")),
            Some(b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"),
        ),
        (PROTOCOL_3_2, None, None),
        (PROTOCOL_3_0, None, None),
    ] {
        let mut login = inside_tls(ClientAuthMethod::Md5);
        let more: Vec<_> = more.into_iter().collect();
        feed(&mut login, &startup_of(word, &more));
        let request = sent(identify(&mut login, Some(&app())));
        let expected = [
            version.unwrap_or(b""),
            b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04",
        ]
        .concat();
        assert_eq!(request, expected);
        assert_eq!(login.minor(), if word >= PROTOCOL_3_2 { 2 } else { 0 });
    }
}

#[test]
fn impossible_lengths_end_the_login() {
    for word in [0_u32, 3, 4, 7, 10_005, u32::MAX] {
        let bytes = [&word.to_be_bytes()[..], &[0; 3]].concat();
        let step = feed(&mut scram(ClientTls::Off), &bytes);
        assert!(matches!(step, LoginStep::Hangup { .. }), "{word}: {step:?}");
    }
    let longest = [&10_004_u32.to_be_bytes()[..], &[0; 3]].concat();
    assert!(matches!(
        feed(&mut scram(ClientTls::Off), &longest),
        LoginStep::NeedMore
    ));
    for word in [0_u32, 3, 65_540, u32::MAX] {
        let mut login = scram(ClientTls::Off);
        begin(&mut login, Some(&app()));
        let message = [&b"p"[..], &word.to_be_bytes()].concat();
        assert_eq!(
            refused(feed(&mut login, &message)).0.code,
            "08P01",
            "{word}"
        );
    }
}

#[test]
fn other_messages_instead_of_the_proof_are_refused() {
    for (method, words) in [
        (
            ClientAuthMethod::Md5,
            "expected password response, got message type 81",
        ),
        (
            ClientAuthMethod::ScramSha256,
            "expected SASL response, got message type 81",
        ),
    ] {
        let mut login = inside_tls(method);
        begin(&mut login, Some(&app()));
        let (error, _) = refused(feed(&mut login, b"Q"));
        assert_eq!((error.code, &*error.message), ("08P01", words));
    }
}

#[test]
fn malformed_answers_are_refused() {
    let cases: &[(ClientAuthMethod, &[u8])] = &[
        (ClientAuthMethod::Md5, b""),
        (ClientAuthMethod::Md5, b"no terminator"),
        (ClientAuthMethod::Cleartext, b"two\0parts\0"),
        (ClientAuthMethod::ScramSha256, b""),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-256"),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-256\0\0\0"),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x05n,,",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x02n,,",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\xff\xff\xff\xfe",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\xff\xff\xff\xffx",
        ),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-1\0\0\0\0\x03n,,"),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x03n,,",
        ),
    ];
    for (method, body) in cases {
        let mut login = inside_tls(*method);
        begin(&mut login, Some(&app()));
        let mut message = Vec::new();
        messages::sasl_response(&mut message, body);
        let (error, _) = refused(feed(&mut login, &message));
        assert_eq!(error.code, "08P01", "{}", body.escape_ascii());
    }
    // -PLUS where it is not on offer, a wrong binding, an authorization identity.
    for (tls, message, code) in [
        (false, "p=tls-server-end-point,,n=,r=a", "08P01"),
        (true, "y,,n=,r=a", "28000"),
        (true, "n,a=x,n=,r=a", "0A000"),
    ] {
        let mut login = if tls {
            inside_tls(ClientAuthMethod::ScramSha256)
        } else {
            scram(ClientTls::Off)
        };
        begin(&mut login, Some(&app()));
        let mechanism = if tls {
            "SCRAM-SHA-256"
        } else {
            "SCRAM-SHA-256-PLUS"
        };
        let mut first = Vec::new();
        messages::sasl_initial_response(&mut first, mechanism, message.as_bytes());
        assert_eq!(refused(feed(&mut login, &first)).0.code, code, "{message}");
    }
}

#[test]
fn calls_out_of_turn_are_survived() {
    let mut login = scram(ClientTls::Off);
    login.tls_ready(true);
    assert!(matches!(feed(&mut login, b""), LoginStep::NeedMore));
    assert!(matches!(
        identify(&mut login, None),
        LoginStep::Hangup { .. }
    ));
    let mut login = scram(ClientTls::Off);
    feed(&mut login, &startup());
    assert!(matches!(feed(&mut login, b""), LoginStep::NeedMore));
    assert!(matches!(
        feed(&mut login, b"early"),
        LoginStep::Hangup { .. }
    ));
}

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

#[test]
fn errors_of_the_login_are_readable() {
    let (error, _) = refused(feed(&mut scram(ClientTls::Required), &startup()));
    let bytes = error.to_bytes();
    assert_eq!(ErrorFields::parse(&bytes[5..]).code, "28000");
}
