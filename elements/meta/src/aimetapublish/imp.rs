// SPDX-License-Identifier: Apache-2.0

use std::{
    path::PathBuf,
    sync::{LazyLock, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};

use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};

use super::Method;
use crate::{
    json,
    publish::{
        Event, Publisher, Target, TargetError,
        target::{self, Encryption, Kafka, Mqtt},
        tls::Tls,
    },
};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "aimetapublish",
        gst::DebugColorFlags::empty(),
        Some("Results of models to files and brokers"),
    )
});

const DEFAULT_QUEUE_SIZE: u32 = 1000;
const DEFAULT_DRAIN_TIMEOUT: u32 = 2000;
const DEFAULT_QOS: u32 = 1;

#[derive(Debug, Clone)]
struct Settings {
    method: Method,
    file_path: Option<String>,
    file_append: bool,
    address: Option<String>,
    topic: Option<String>,
    client_id: Option<String>,
    username: Option<String>,
    password: Option<String>,
    tls: bool,
    tls_ca_file: Option<String>,
    tls_cert_file: Option<String>,
    tls_key_file: Option<String>,
    qos: u32,
    retain: bool,
    key: Option<String>,
    queue_size: u32,
    drain_timeout: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            method: Method::default(),
            file_path: None,
            file_append: false,
            address: None,
            topic: None,
            client_id: None,
            username: None,
            password: None,
            tls: false,
            tls_ca_file: None,
            tls_cert_file: None,
            tls_key_file: None,
            qos: DEFAULT_QOS,
            retain: false,
            key: None,
            queue_size: DEFAULT_QUEUE_SIZE,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
        }
    }
}

impl Settings {
    /// Files are read now: a broker that is away must not hide that they are wrong.
    fn encryption(&self) -> Result<Encryption, TargetError> {
        let path = |text: &Option<String>| {
            let text = text.as_ref().filter(|text| !text.is_empty());
            text.map(PathBuf::from)
        };
        let client = match (path(&self.tls_cert_file), path(&self.tls_key_file)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(TargetError::HalfClient),
        };
        let ca = path(&self.tls_ca_file);
        Tls { ca, client }.load().map(Encryption)
    }

    /// The target, or what is missing or wrong. `name` distinguishes clients of one broker.
    fn target(&self, name: &str) -> Result<Target, TargetError> {
        let method = match self.method {
            Method::File => "file",
            Method::Stdout => "stdout",
            Method::Mqtt => "mqtt",
            Method::Kafka => "kafka",
        };
        let needed = |value: &Option<String>, property| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or(TargetError::Missing { method, property })
        };
        let client_id = self
            .client_id
            .clone()
            .filter(|id| !id.is_empty())
            // Two clients of one id throw each other out of a broker.
            .unwrap_or_else(|| format!("gst-aivideo-{}-{name}", std::process::id()));
        Ok(match self.method {
            Method::File => Target::File {
                path: PathBuf::from(needed(&self.file_path, "file-path")?),
                append: self.file_append,
            },
            Method::Stdout => Target::Stdout,
            Method::Mqtt => {
                let address = needed(&self.address, "address")?;
                let secure = self.tls || target::is_encrypted(&address);
                let usual = if secure { 8883 } else { 1883 };
                let (host, port) = target::parse_address(&address, target::MQTT, usual)?;
                let topic = needed(&self.topic, "topic")?;
                target::check_mqtt_topic(&topic)?;
                let password = self.password.clone().unwrap_or_default();
                Target::Mqtt(Mqtt {
                    host,
                    port,
                    topic,
                    client_id,
                    qos: self.qos.min(1) as u8,
                    retain: self.retain,
                    credentials: self.username.clone().map(|user| (user, password)),
                    tls: secure.then(|| self.encryption()).transpose()?,
                })
            }
            Method::Kafka => {
                let brokers = target::parse_brokers(&needed(&self.address, "address")?)?;
                let topic = needed(&self.topic, "topic")?;
                target::check_kafka_topic(&topic)?;
                let password = self.password.clone().unwrap_or_default();
                Target::Kafka(Kafka {
                    brokers,
                    topic,
                    client_id,
                    key: self.key.clone().filter(|key| !key.is_empty()),
                    credentials: self.username.clone().map(|user| (user, password)),
                    tls: self.tls.then(|| self.encryption()).transpose()?,
                })
            }
        })
    }
}

/// What comes in.
#[derive(Default)]
struct Input {
    lines: bool,
    resolution: Option<(u32, u32)>,
}

#[derive(Default)]
pub struct AiMetaPublish {
    settings: Mutex<Settings>,
    publisher: Mutex<Option<Publisher>>,
    input: Mutex<Input>,
    /// Figures of the last run, after its end.
    last: Mutex<Option<gst::Structure>>,
    /// Whether the loss of lines was told in this run.
    told: std::sync::atomic::AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[glib::object_subclass]
impl ObjectSubclass for AiMetaPublish {
    const NAME: &'static str = "GstAiMetaPublish";
    type Type = super::AiMetaPublish;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for AiMetaPublish {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let text = |name, nick, blurb| {
                glib::ParamSpecString::builder(name)
                    .nick(nick)
                    .blurb(blurb)
                    .mutable_ready()
                    .build()
            };
            vec![
                glib::ParamSpecEnum::builder::<Method>("method")
                    .nick("Method")
                    .blurb("Where the lines go")
                    .mutable_ready()
                    .build(),
                text(
                    "file-path",
                    "File path",
                    "File or named pipe of method=file",
                ),
                glib::ParamSpecBoolean::builder("file-append")
                    .nick("File append")
                    .blurb("Write behind what the file has, instead of emptying it")
                    .default_value(false)
                    .mutable_ready()
                    .build(),
                text(
                    "address",
                    "Address",
                    "The broker, host:port (MQTT: 1883, Kafka: 9092); Kafka takes several, with commas",
                ),
                text("topic", "Topic", "Topic at the broker"),
                text(
                    "client-id",
                    "Client id",
                    "Name of this client at the broker (default: made of the process and the element's name)",
                ),
                text(
                    "username",
                    "User name",
                    "User at the broker (Kafka: SASL/PLAIN)",
                ),
                text(
                    "password",
                    "Password",
                    "Password of the user at the broker",
                ),
                glib::ParamSpecBoolean::builder("tls")
                    .nick("TLS")
                    .blurb("Encrypt the connection to the broker; an address with mqtts:// does so too")
                    .default_value(false)
                    .mutable_ready()
                    .build(),
                text(
                    "tls-ca-file",
                    "TLS authorities",
                    "PEM file with the certificates that the broker's must be signed by (default: the system's)",
                ),
                text(
                    "tls-cert-file",
                    "TLS certificate",
                    "PEM file with the certificate chain of this client, where the broker asks for one",
                ),
                text(
                    "tls-key-file",
                    "TLS key",
                    "PEM file with the key of tls-cert-file",
                ),
                glib::ParamSpecUInt::builder("mqtt-qos")
                    .nick("MQTT quality of service")
                    .blurb("0 sends without an answer, 1 again until the broker answers")
                    .maximum(1)
                    .default_value(DEFAULT_QOS)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("mqtt-retain")
                    .nick("MQTT retain")
                    .blurb("The broker keeps the last message for later subscribers")
                    .default_value(false)
                    .mutable_ready()
                    .build(),
                text(
                    "kafka-key",
                    "Kafka key",
                    "Key of the records, whose hash chooses the partition (default: no key; the client id chooses)",
                ),
                glib::ParamSpecUInt::builder("queue-size")
                    .nick("Queue size")
                    .blurb("Lines that wait for the receiver; then the oldest are dropped")
                    .minimum(1)
                    .maximum(1_000_000)
                    .default_value(DEFAULT_QUEUE_SIZE)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("drain-timeout")
                    .nick("Drain timeout")
                    .blurb(
                        "Milliseconds that the end of the stream waits for lines to be delivered",
                    )
                    .maximum(600_000)
                    .default_value(DEFAULT_DRAIN_TIMEOUT)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("Lines published, dropped and queued; whether the receiver is there")
                    .read_only()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut settings = lock(&self.settings);
        match pspec.name() {
            "method" => settings.method = value.get().unwrap_or_default(),
            "file-path" => settings.file_path = value.get().unwrap_or_default(),
            "file-append" => settings.file_append = value.get().unwrap_or_default(),
            "address" => settings.address = value.get().unwrap_or_default(),
            "topic" => settings.topic = value.get().unwrap_or_default(),
            "client-id" => settings.client_id = value.get().unwrap_or_default(),
            "username" => settings.username = value.get().unwrap_or_default(),
            "password" => settings.password = value.get().unwrap_or_default(),
            "tls" => settings.tls = value.get().unwrap_or_default(),
            "tls-ca-file" => settings.tls_ca_file = value.get().unwrap_or_default(),
            "tls-cert-file" => settings.tls_cert_file = value.get().unwrap_or_default(),
            "tls-key-file" => settings.tls_key_file = value.get().unwrap_or_default(),
            "mqtt-qos" => settings.qos = value.get().unwrap_or(DEFAULT_QOS),
            "mqtt-retain" => settings.retain = value.get().unwrap_or_default(),
            "kafka-key" => settings.key = value.get().unwrap_or_default(),
            "queue-size" => settings.queue_size = value.get().unwrap_or(DEFAULT_QUEUE_SIZE),
            "drain-timeout" => {
                settings.drain_timeout = value.get().unwrap_or(DEFAULT_DRAIN_TIMEOUT);
            }
            name => gst::warning!(CAT, imp = self, "no property {name}"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return self.stats().to_value();
        }
        let settings = lock(&self.settings);
        match pspec.name() {
            "method" => settings.method.to_value(),
            "file-path" => settings.file_path.to_value(),
            "file-append" => settings.file_append.to_value(),
            "address" => settings.address.to_value(),
            "topic" => settings.topic.to_value(),
            "client-id" => settings.client_id.to_value(),
            "username" => settings.username.to_value(),
            "password" => settings.password.to_value(),
            "tls" => settings.tls.to_value(),
            "tls-ca-file" => settings.tls_ca_file.to_value(),
            "tls-cert-file" => settings.tls_cert_file.to_value(),
            "tls-key-file" => settings.tls_key_file.to_value(),
            "mqtt-qos" => settings.qos.to_value(),
            "mqtt-retain" => settings.retain.to_value(),
            "kafka-key" => settings.key.to_value(),
            "queue-size" => settings.queue_size.to_value(),
            "drain-timeout" => settings.drain_timeout.to_value(),
            _ => pspec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_qos(false);
        obj.set_passthrough(true);
    }
}

impl GstObjectImpl for AiMetaPublish {}

impl ElementImpl for AiMetaPublish {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Results to files and brokers",
                "Filter/Metadata/Network",
                "Publishes what models found as lines of JSON: file, standard output, MQTT, Kafka",
                "The gst-aivideo developers",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut caps = json::video_caps();
            caps.merge(json::lines_caps());
            caps.merge(json::text_caps());
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .into_iter()
            .filter_map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps).ok()
            })
            .collect()
        });
        TEMPLATES.as_ref()
    }
}

impl BaseTransformImpl for AiMetaPublish {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = true;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        self.told.store(false, Ordering::Relaxed);
        let weak = self.obj().downgrade();
        let listener = Box::new(move |event| {
            if let Some(element) = weak.upgrade() {
                element.imp().told_by_publisher(event);
            }
        });
        let publisher = settings
            .target(&self.obj().name())
            .and_then(|target| Publisher::start(target, settings.queue_size as usize, listener))
            .map_err(|err| match err {
                TargetError::Open { .. } => {
                    gst::error_msg!(gst::ResourceError::OpenWrite, ("{err}"))
                }
                err => gst::error_msg!(gst::ResourceError::Settings, ("{err}")),
            })?;
        *lock(&self.publisher) = Some(publisher);
        *lock(&self.last) = None;
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let limit = u64::from(lock(&self.settings).drain_timeout);
        let publisher = lock(&self.publisher).take();
        if let Some(mut publisher) = publisher {
            publisher.finish(Duration::from_millis(limit));
            *lock(&self.last) = Some(figures(&publisher));
        }
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let name = incaps.structure(0).map(|s| s.name().to_string());
        *lock(&self.input) = Input {
            lines: name.as_deref() != Some("video/x-raw"),
            resolution: json::resolution(incaps),
        };
        Ok(())
    }

    fn transform_ip_passthrough(
        &self,
        buffer: &gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let lines = {
            let input = lock(&self.input);
            if input.lines {
                match buffer.map_readable() {
                    Ok(map) => split(&map),
                    Err(_) => {
                        drop(input);
                        gst::element_imp_error!(
                            self,
                            gst::ResourceError::Read,
                            ("a buffer of JSON cannot be read")
                        );
                        return Err(gst::FlowError::Error);
                    }
                }
            } else {
                let lines = json::read_all(buffer);
                if lines.is_empty() {
                    let segment = self.obj().segment();
                    let context = json::Context {
                        resolution: input.resolution,
                        segment: segment.downcast_ref::<gst::ClockTime>(),
                        ..json::Context::default()
                    };
                    let line = json::frame(buffer, &context, false);
                    line.into_iter().map(|line| line.to_string()).collect()
                } else {
                    lines
                }
            }
        };
        if lines.is_empty() {
            return Ok(gst::FlowSuccess::Ok);
        }
        let dropped = {
            let publisher = lock(&self.publisher);
            let publisher = publisher.as_ref().ok_or(gst::FlowError::Flushing)?;
            for line in lines {
                publisher.publish(line);
            }
            publisher.counters().dropped.load(Ordering::Relaxed)
        };
        if dropped > 0 && !self.told.swap(true, Ordering::Relaxed) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("The receiver is slower than the results, or gone: the oldest lines are dropped, and counted in stats")
            );
        }
        Ok(gst::FlowSuccess::Ok)
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Eos {
            // Who reads the file at the end of the stream shall find all of it. The lock is not
            // held: `stats` and a stop may come meanwhile.
            let limit = u64::from(lock(&self.settings).drain_timeout);
            let end = std::time::Instant::now() + Duration::from_millis(limit);
            loop {
                let delivered = match lock(&self.publisher).as_ref() {
                    Some(publisher) => publisher.drain(Duration::from_millis(10)),
                    None => true,
                };
                if delivered || std::time::Instant::now() >= end {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.parent_sink_event(event)
    }
}

/// Lines of a buffer.
fn split(data: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(data)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect()
}

fn figures(publisher: &Publisher) -> gst::Structure {
    let counters = publisher.counters();
    gst::Structure::builder("aimetapublish-stats")
        .field("published", counters.published.load(Ordering::Relaxed))
        .field("dropped", counters.dropped.load(Ordering::Relaxed))
        .field("queued", publisher.queued() as u64)
        .field("reconnects", counters.reconnects.load(Ordering::Relaxed))
        .field("connected", counters.connected.load(Ordering::Relaxed))
        .build()
}

impl AiMetaPublish {
    fn stats(&self) -> gst::Structure {
        if let Some(publisher) = lock(&self.publisher).as_ref() {
            return figures(publisher);
        }
        let last = lock(&self.last).clone();
        last.unwrap_or_else(|| {
            gst::Structure::builder("aimetapublish-stats")
                .field("published", 0u64)
                .field("dropped", 0u64)
                .field("queued", 0u64)
                .field("reconnects", 0u64)
                .field("connected", false)
                .build()
        })
    }

    /// On the publisher's thread.
    fn told_by_publisher(&self, event: Event) {
        match event {
            Event::Lost(reason) => gst::element_imp_warning!(
                self,
                gst::ResourceError::Write,
                ("Nothing can be published: {reason}"),
                ["it is tried again; lines wait in the queue meanwhile"]
            ),
            Event::Back => {
                gst::element_imp_info!(self, gst::ResourceError::Write, ("Publishing again"))
            }
        }
    }
}
