// SPDX-License-Identifier: Apache-2.0
//! Lines as messages of MQTT 3.1.1.
//!
//! The client's own store of unanswered messages is emptied whenever the broker knows no session
//! of old, as after its restart. So the lines under way are kept here, and given back to the queue
//! when the connection is lost: with `mqtt-qos=1` each arrives at least once.

use std::{collections::VecDeque, time::Duration};

use rumqttc::{
    AsyncClient, ConnectionError, Event, MqttOptions, Outgoing, Packet, QoS, TlsConfiguration,
    Transport,
};
use tokio::sync::mpsc;

use super::{Backoff, Link, target::Mqtt};

/// Messages without an answer.
const WINDOW: usize = 32;
/// Longer lines are left out: brokers hang up on what they find too long.
const MAX_LINE: usize = 1 << 20;

/// A line under way, and its packet's number once that is known.
struct Sent {
    packet: Option<u16>,
    line: String,
}

pub(super) async fn run(link: &Link, settings: Mqtt) {
    let mut options = MqttOptions::new(&settings.client_id, &settings.host, settings.port);
    options.set_keep_alive(Duration::from_secs(15));
    options.set_max_packet_size(1 << 16, MAX_LINE + settings.topic.len() + 64);
    options.set_inflight(WINDOW as u16);
    if let Some((user, password)) = &settings.credentials {
        options.set_credentials(user, password);
    }
    if let Some(tls) = &settings.tls {
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls.0.clone())));
    }
    let qos = if settings.qos == 0 {
        QoS::AtMostOnce
    } else {
        QoS::AtLeastOnce
    };
    let (client, mut connection) = AsyncClient::new(options, WINDOW);
    let (events, mut happened) = mpsc::unbounded_channel();
    // Polled by nobody else and never cancelled: a packet taken from the client's channel is written.
    let polling = tokio::spawn(async move {
        let mut backoff = Backoff::new();
        loop {
            let event = connection.poll().await;
            let failed = event.is_err();
            if failed {
                // These lines come again from the queue.
                connection.pending.clear();
                connection.state.events.clear();
            } else {
                backoff = Backoff::new();
            }
            if events.send(event).is_err() {
                return;
            }
            if failed {
                backoff.wait().await;
            }
        }
    });
    let mut sent: VecDeque<Sent> = VecDeque::new();
    let mut connected = false;
    loop {
        tokio::select! {
            biased;
            event = happened.recv() => match event {
                Some(Ok(event)) => heard(link, &event, &mut sent, &mut connected),
                Some(Err(err)) => {
                    connected = false;
                    link.lost(describe(&settings, &err));
                    let lines = sent.drain(..).map(|sent| sent.line).collect();
                    link.counters.dropped(link.queue.give_back(lines));
                }
                None => break,
            },
            lines = link.queue.take(1), if connected && sent.len() < WINDOW => {
                let Some(line) = lines.into_iter().next() else {
                    break;
                };
                if line.len() > MAX_LINE {
                    link.counters.dropped(1);
                    link.queue.done(1);
                    continue;
                }
                if client.try_publish(&settings.topic, qos, settings.retain, line.as_bytes()).is_ok() {
                    sent.push_back(Sent { packet: None, line });
                } else {
                    // As many as the window fit into the channel.
                    link.counters.dropped(link.queue.give_back(vec![line]));
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
    if connected && client.try_disconnect().is_ok() {
        while let Some(Ok(event)) = happened.recv().await {
            heard(link, &event, &mut sent, &mut connected);
            if matches!(event, Event::Outgoing(Outgoing::Disconnect)) {
                break;
            }
        }
    }
    polling.abort();
}

fn heard(link: &Link, event: &Event, sent: &mut VecDeque<Sent>, connected: &mut bool) {
    match event {
        Event::Incoming(Packet::ConnAck(_)) => {
            *connected = true;
            link.connected();
        }
        // Packet 0: without an answer.
        Event::Outgoing(Outgoing::Publish(0)) => arrived(link, sent, Some(0)),
        Event::Outgoing(Outgoing::Publish(packet)) => {
            if let Some(sent) = sent.iter_mut().find(|sent| sent.packet.is_none()) {
                sent.packet = Some(*packet);
            }
        }
        Event::Incoming(Packet::PubAck(ack)) => {
            let at = sent.iter().position(|sent| sent.packet == Some(ack.pkid));
            arrived(link, sent, at);
        }
        _ => {}
    }
}

fn arrived(link: &Link, sent: &mut VecDeque<Sent>, at: Option<usize>) {
    if at.and_then(|at| sent.remove(at)).is_some() {
        link.counters.published(1);
        link.queue.done(1);
    }
}

fn describe(settings: &Mqtt, err: &ConnectionError) -> String {
    let broker = format!("the MQTT broker {}:{}", settings.host, settings.port);
    match err {
        ConnectionError::ConnectionRefused(code) => {
            format!("{broker} refuses the connection ({code:?}): check username and password")
        }
        ConnectionError::Io(err) => format!("{broker} cannot be reached: {err}"),
        ConnectionError::NetworkTimeout => format!("{broker} does not answer"),
        err => format!("the connection to {broker} is lost: {err}"),
    }
}
