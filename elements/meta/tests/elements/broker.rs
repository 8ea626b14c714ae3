// SPDX-License-Identifier: Apache-2.0
//! The part of an MQTT 3.1.1 broker that a publisher sees, on a thread.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Duration,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Connect {
        client: String,
        user: Option<String>,
    },
    Publish {
        topic: String,
        text: String,
        qos: u8,
        retain: bool,
    },
    Disconnect,
}

/// What the broker does with a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manner {
    Polite,
    /// Hangs up after so many messages, the last of them without an answer.
    HangsUpAfter(usize),
    /// Takes the connection and never says anything.
    Silent,
    Refuses,
}

pub struct Broker {
    pub port: u16,
    pub heard: mpsc::Receiver<Heard>,
}

fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let kind = byte[0];
    let (mut length, mut shift) = (0usize, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((kind, body))
}

fn text(body: &mut &[u8]) -> String {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let text = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    *body = &body[2 + length..];
    text
}

fn serve(mut stream: TcpStream, manner: Manner, heard: &mpsc::Sender<Heard>) -> Option<()> {
    let mut messages = 0;
    loop {
        let (kind, body) = packet(&mut stream)?;
        let mut body = body.as_slice();
        match kind >> 4 {
            1 => {
                if manner == Manner::Silent {
                    continue;
                }
                assert_eq!(text(&mut body), "MQTT");
                let flags = body[1];
                body = &body[4..];
                let client = text(&mut body);
                let user = (flags & 0x80 != 0).then(|| text(&mut body));
                heard.send(Heard::Connect { client, user }).ok()?;
                let code = if manner == Manner::Refuses { 5 } else { 0 };
                stream.write_all(&[0x20, 2, 0, code]).ok()?;
            }
            3 => {
                let (qos, retain) = (kind >> 1 & 3, kind & 1 == 1);
                let topic = text(&mut body);
                messages += 1;
                if matches!(manner, Manner::HangsUpAfter(most) if messages >= most) {
                    return None;
                }
                if qos > 0 {
                    stream.write_all(&[0x40, 2, body[0], body[1]]).ok()?;
                    body = &body[2..];
                }
                let text = String::from_utf8(body.to_vec()).unwrap();
                heard
                    .send(Heard::Publish {
                        topic,
                        text,
                        qos,
                        retain,
                    })
                    .ok()?;
            }
            12 => stream.write_all(&[0xd0, 0]).ok()?,
            14 => heard.send(Heard::Disconnect).ok()?,
            other => panic!("packet {other}"),
        }
    }
}

impl Broker {
    /// Serves one connection after another, each in the next manner; the last stays.
    pub fn start(manners: &[Manner]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    pub fn on(listener: TcpListener, manners: &[Manner]) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (sender, heard) = mpsc::channel();
        let mut manners = manners.to_vec();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let manner = manners[0];
                if manners.len() > 1 {
                    manners.remove(0);
                }
                serve(stream, manner, &sender);
            }
        });
        Self { port, heard }
    }

    pub fn next(&self) -> Heard {
        self.heard
            .recv_timeout(Duration::from_secs(30))
            .expect("nothing came to the broker")
    }
}
