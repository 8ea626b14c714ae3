// SPDX-License-Identifier: Apache-2.0
//! Lines as records of Apache Kafka.

use std::{collections::BTreeMap, time::Duration};

use rskafka::{
    BackoffConfig,
    client::{
        ClientBuilder, Credentials, SaslConfig,
        partition::{Compression, PartitionClient, UnknownTopicHandling},
    },
    record::Record,
};

use super::{Backoff, Link, target::Kafka};

/// Lines of one request.
const BATCH: usize = 200;
/// Longer ones are left out: a broker's default limit of a request is 1 MiB.
const MAX_LINE: usize = 900_000;
/// After so long without an answer, a request counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(link: &Link, settings: Kafka) {
    let mut backoff = Backoff::new();
    loop {
        match connect(&settings).await {
            Ok(partition) => {
                backoff = Backoff::new();
                link.connected();
                let Err(reason) = feed(link, &settings, &partition).await else {
                    return;
                };
                link.lost(format!("Kafka at {}: {reason}", settings.brokers.join(",")));
            }
            Err(reason) => {
                link.lost(format!("Kafka at {}: {reason}", settings.brokers.join(",")));
            }
        }
        backoff.wait().await;
    }
}

/// Gives up within [`PATIENCE`], so that the loss can be told.
async fn within<T, E: std::fmt::Display>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|err| err.to_string()),
        Err(_) => Err("no answer".into()),
    }
}

async fn connect(settings: &Kafka) -> Result<PartitionClient, String> {
    let mut client = ClientBuilder::new(settings.brokers.clone())
        .client_id(settings.client_id.as_str())
        .backoff_config(BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
            base: 2.0,
            deadline: Some(PATIENCE),
        });
    if let Some(tls) = &settings.tls {
        client = client.tls_config(tls.0.clone());
    }
    if let Some((user, password)) = &settings.credentials {
        let credentials = Credentials::new(user.clone(), password.clone());
        client = client.sasl_config(SaslConfig::Plain(credentials));
    }
    let client = within(client.build()).await?;
    let topics = within(client.list_topics()).await?;
    let topic = topics
        .into_iter()
        .find(|topic| topic.name == settings.topic && !topic.partitions.is_empty())
        .ok_or_else(|| format!("there is no topic '{}': create it first", settings.topic))?;
    let partitions: Vec<i32> = topic.partitions.into_iter().collect();
    let key = settings.key.as_ref().unwrap_or(&settings.client_id);
    let at = murmur2(key.as_bytes()) & 0x7fff_ffff;
    let partition = partitions[at as usize % partitions.len()];
    within(client.partition_client(&settings.topic, partition, UnknownTopicHandling::Error)).await
}

/// Until the queue ends, or the broker fails.
async fn feed(link: &Link, settings: &Kafka, partition: &PartitionClient) -> Result<(), String> {
    loop {
        let mut lines = link.queue.take(BATCH).await;
        if lines.is_empty() {
            return Ok(());
        }
        let all = lines.len();
        lines.retain(|line| line.len() <= MAX_LINE);
        let too_long = all - lines.len();
        link.counters.dropped(too_long);
        link.queue.done(too_long);
        // A request stays below the broker's limit.
        let mut rest = lines;
        while !rest.is_empty() {
            let mut size = 0;
            let fit = rest
                .iter()
                .take_while(|line| {
                    size += line.len();
                    size <= MAX_LINE
                })
                .count()
                .max(1);
            let records = rest[..fit].iter().map(|line| Record {
                key: settings.key.as_ref().map(|key| key.as_bytes().to_vec()),
                value: Some(line.as_bytes().to_vec()),
                headers: BTreeMap::new(),
                timestamp: now(),
            });
            let records = records.collect();
            if let Err(reason) =
                within(partition.produce(records, Compression::NoCompression)).await
            {
                link.counters.dropped(link.queue.give_back(rest));
                return Err(reason);
            }
            link.counters.published(fit);
            link.queue.done(fit);
            rest.drain(..fit);
        }
    }
}

fn now() -> rskafka::chrono::DateTime<rskafka::chrono::Utc> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let milliseconds = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    rskafka::chrono::DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

/// The hash by which Kafka's own clients choose the partition of a key, so that one camera's records
/// meet in one partition whoever writes them.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (at, byte) in rest.iter().enumerate() {
        h ^= u32::from(*byte) << (8 * at);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    /// The values that Kafka's own tests have (`UtilsTest.testMurmur2`).
    #[test]
    fn partitions_are_kafkas() {
        for (key, hash) in [
            ("21", -973932308i32),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
