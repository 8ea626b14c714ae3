// SPDX-License-Identifier: Apache-2.0
//! Where lines go, out of what users write.

use std::{fmt, path::PathBuf, sync::Arc};

use thiserror::Error;

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    File { path: PathBuf, append: bool },
    Stdout,
    Mqtt(Mqtt),
    Kafka(Kafka),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    pub topic: String,
    pub client_id: String,
    /// 0 or 1.
    pub qos: u8,
    pub retain: bool,
    pub credentials: Option<(String, String)>,
    /// Encrypted, by these certificates.
    pub tls: Option<Encryption>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// `host:port`, each.
    pub brokers: Vec<String>,
    pub topic: String,
    pub client_id: String,
    /// Of every record; its hash chooses the partition.
    pub key: Option<String>,
    /// User and password (SASL/PLAIN).
    pub credentials: Option<(String, String)>,
    /// Encrypted, by these certificates.
    pub tls: Option<Encryption>,
}

/// Certificates that are read.
#[derive(Clone)]
pub struct Encryption(pub Arc<rustls::ClientConfig>);

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encryption")
    }
}

impl PartialEq for Encryption {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[derive(Debug, Clone, PartialEq, Error)]
pub enum TargetError {
    #[error("'{}' cannot be opened for writing: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
    #[error("method={method} needs {property}")]
    Missing {
        method: &'static str,
        property: &'static str,
    },
    #[error("address='{address}' is not one: {reason}")]
    Address { address: String, reason: String },
    #[error("topic='{topic}' cannot be published to: {reason}")]
    Topic { topic: String, reason: String },
    #[error("{property}='{}' cannot be used: {reason}", path.display())]
    Pem {
        property: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "the system has no certificates of authorities (package ca-certificates); set tls-ca-file"
    )]
    NoAuthorities,
    #[error("tls-cert-file and tls-key-file belong together: one of them is missing")]
    HalfClient,
    #[error("encryption cannot be set up: {0}")]
    Tls(String),
    #[error("the thread that publishes cannot be started: {0}")]
    Thread(String),
}

fn address_error(address: &str, reason: impl Into<String>) -> TargetError {
    TargetError::Address {
        address: address.into(),
        reason: reason.into(),
    }
}

/// Schemes of an MQTT broker's address.
pub const MQTT: &[&str] = &["mqtt", "tcp", "mqtts", "ssl", "tls"];

/// Whether the address itself asks for encryption.
pub fn is_encrypted(address: &str) -> bool {
    address.split_once("://").is_some_and(|(scheme, _)| {
        let scheme = scheme.trim().to_ascii_lowercase();
        matches!(scheme.as_str(), "mqtts" | "ssl" | "tls")
    })
}

/// Reads `[scheme://]host[:port]`, the host being a name, an IPv4 or a bracketed IPv6 address.
pub fn parse_address(
    address: &str,
    schemes: &[&str],
    default_port: u16,
) -> Result<(String, u16), TargetError> {
    let error = |reason: String| address_error(address, reason);
    let text = address.trim();
    let rest = match text.split_once("://") {
        Some((scheme, rest)) => {
            if !schemes
                .iter()
                .any(|known| known.eq_ignore_ascii_case(scheme))
            {
                let known = schemes.join("://, ");
                let websocket = ["ws", "wss"]
                    .iter()
                    .any(|ws| ws.eq_ignore_ascii_case(scheme));
                let more = match websocket {
                    true => "; MQTT over WebSockets is not supported",
                    false => "",
                };
                return Err(error(format!(
                    "it begins with {scheme}:// instead of {known}://{more}"
                )));
            }
            rest
        }
        None => text,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = if let Some(bracketed) = rest.strip_prefix('[') {
        let (host, after) = bracketed
            .split_once(']')
            .ok_or_else(|| error("the bracket of the IPv6 address is not closed".into()))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(error(format!("'{host}' is not an IPv6 address")));
        }
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(error(format!("'{after}' behind the bracket is not a port"))),
        }
    } else {
        match rest.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(error(
                    "write IPv6 addresses in brackets, as [::1]:1883".into(),
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        }
    };
    if host.is_empty() {
        return Err(error("the host is missing; write host:port".into()));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#\\\"'".contains(c);
    if let Some(c) = host.chars().find(|c| odd(*c)) {
        return Err(error(format!("{c:?} does not belong into a host's name")));
    }
    let port = match port {
        None => default_port,
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| error(format!("'{text}' is not a port from 1 to 65535")))?,
    };
    Ok((host.to_string(), port))
}

/// Reads a comma-separated list of brokers.
pub fn parse_brokers(addresses: &str) -> Result<Vec<String>, TargetError> {
    addresses
        .split(',')
        .map(|address| {
            let (host, port) = parse_address(address, &["kafka", "tcp"], 9092)?;
            Ok(match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            })
        })
        .collect()
}

/// A topic of MQTT that can be published to.
pub fn check_mqtt_topic(topic: &str) -> Result<(), TargetError> {
    let error = |reason: &str| {
        Err(TargetError::Topic {
            topic: topic.into(),
            reason: reason.into(),
        })
    };
    match topic {
        "" => error("it is empty"),
        _ if topic.contains(['+', '#']) => error("+ and # are for subscribers"),
        _ if topic.contains('\0') => error("it has a NUL character"),
        _ if topic.len() > 65535 => error("it is longer than 65535 bytes"),
        _ => Ok(()),
    }
}

/// A name that Kafka allows.
pub fn check_kafka_topic(topic: &str) -> Result<(), TargetError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let reason = if topic.is_empty() {
        "it is empty"
    } else if topic.len() > 249 {
        "it is longer than 249 characters"
    } else if topic == "." || topic == ".." {
        "Kafka does not allow . and .."
    } else if !topic.chars().all(legal) {
        "Kafka allows letters, digits and ._- alone"
    } else {
        return Ok(());
    };
    Err(TargetError::Topic {
        topic: topic.into(),
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mqtt(address: &str) -> Result<(String, u16), TargetError> {
        parse_address(address, MQTT, 1883)
    }

    #[test]
    fn addresses_as_people_write_them() {
        let ok = |address: &str, host: &str, port| {
            assert_eq!(mqtt(address), Ok((host.to_string(), port)), "{address}");
        };
        ok("localhost", "localhost", 1883);
        ok("mqtt://broker.example:8883", "broker.example", 8883);
        assert!(is_encrypted("MQTTS://broker.example") && !is_encrypted("mqtt://mqtts"));
        ok(" MQTT://10.0.0.1/ ", "10.0.0.1", 1883);
        ok("[::1]", "::1", 1883);
        ok("tcp://[fe80::1]:5000", "fe80::1", 5000);
        assert_eq!(
            parse_brokers("a,b:1,[::1]").unwrap(),
            ["a:9092", "b:1", "[::1]:9092"]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (address, said) in [
            ("", "host is missing"),
            ("mqtt://", "host is missing"),
            (":1883", "host is missing"),
            ("http://a", "http://"),
            ("wss://a", "WebSockets"),
            ("a:b", "not a port"),
            ("a:0", "not a port"),
            ("a:65536", "not a port"),
            ("::1", "brackets"),
            ("[::1", "not closed"),
            ("[nonsense]", "not an IPv6"),
            ("[::1]1883", "behind the bracket"),
            ("user@host", "'@'"),
            ("a b", "' '"),
        ] {
            let error = mqtt(address).unwrap_err().to_string();
            assert!(error.contains(said), "{address}: {error}");
        }
        assert!(parse_brokers("a,,b").is_err());
        for topic in ["", "a/+", "#", "a\0"] {
            assert!(check_mqtt_topic(topic).is_err(), "{topic}");
        }
        for topic in ["", ".", "a/b", "ä", &"x".repeat(250)] {
            assert!(check_kafka_topic(topic).is_err(), "{topic}");
        }
        assert!(check_mqtt_topic("site/gate 4").is_ok() && check_kafka_topic("a.b-c_1").is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            if let Ok((host, port)) = mqtt(&text) {
                prop_assert!(!host.is_empty() && port > 0);
                prop_assert!(!host.contains(char::is_whitespace));
            }
            let _ = (parse_brokers(&text), check_kafka_topic(&text), check_mqtt_topic(&text));
        }

        #[test]
        fn hosts_and_ports_come_back(host in "[a-z][a-z0-9.-]{0,20}", port in 1u16..) {
            prop_assert_eq!(mqtt(&format!("mqtt://{host}:{port}")), Ok((host.clone(), port)));
            prop_assert_eq!(mqtt(&host), Ok((host, 1883)));
        }
    }
}
