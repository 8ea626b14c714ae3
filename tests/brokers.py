# SPDX-License-Identifier: Apache-2.0
"""aimetapublish with brokers that others wrote: Eclipse Mosquitto and librdkafka's mock of Kafka.

    apt-get install mosquitto mosquitto-clients; pip install confluent-kafka
    . ./env.sh; python3 tests/brokers.py

The tests in elements/meta speak with a small broker of their own; this is the proof that it is not
only that one which understands us. What is not installed is left out and said.
"""

import contextlib
import json
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

FRAMES = 240
SOURCE = (
    f"videotestsrc num-buffers={FRAMES} is-live=true pattern=ball ! "
    "video/x-raw,width=64,height=64,framerate=40/1 ! aimetaconvert add-empty-results=true ! video/x-raw ! "
)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def publish(settings):
    line = f"gst-launch-1.0 {SOURCE} aimetapublish drain-timeout=20000 {settings} ! fakesink"
    return subprocess.Popen(line.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=90)
    if process.returncode != 0:
        sys.exit(f"gst-launch-1.0 ended with {process.returncode}:\n{output}")
    return output


def times(lines):
    return [json.loads(line)["timestamp"] for line in lines]


def mosquitto(qos, restart):
    port, folder = free_port(), tempfile.mkdtemp()
    config = f"{folder}/mosquitto.conf"
    with open(config, "w", encoding="ascii") as file:
        # Messages for a subscriber that is away are kept, and outlive the broker.
        file.write(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {folder}/\nuser root\n"
        )
    start = lambda: subprocess.Popen(  # noqa: E731
        ["mosquitto", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    broker = start()
    time.sleep(1)
    listen = ["mosquitto_sub", "-p", str(port), "-t", "site/#", "-q", "1", "-i", "reader", "-c"]
    subscriber = subprocess.Popen(listen + ["-W", "40"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    sender = publish(f"method=mqtt address=127.0.0.1:{port} topic=site/gate mqtt-qos={qos}")
    if restart:
        time.sleep(3)
        broker.terminate()
        broker.wait()
        time.sleep(1)
        broker = start()
    output = finish(sender)
    lines, end = [], time.monotonic() + 30
    while len(set(lines)) < FRAMES and time.monotonic() < end:
        line = subscriber.stdout.readline()
        if not line:
            break
        lines.append(line)
    subscriber.kill()
    broker.terminate()
    broker.wait()
    shutil.rmtree(folder)
    seen = sorted(set(times(lines)))
    if len(seen) != FRAMES:
        sys.exit(f"Mosquitto: {len(seen)} of {FRAMES} lines arrived\n{output}")
    if restart and "Nothing can be published" not in output:
        sys.exit(f"Mosquitto: the loss of the broker is not said\n{output}")
    what = "restarted meanwhile" if restart else "always there"
    print(f"Mosquitto, qos {qos}, {what}: all of {FRAMES} lines, {len(lines) - FRAMES} twice")


def certificates(folder):
    """An authority, a broker at 127.0.0.1 and a client, signed by it; and an authority nobody was signed by."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=folder, capture_output=True)

    for name in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:TRUE", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    with open(f"{folder}/san", "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("broker", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "san", "-out", f"{name}.pem")


def refused(broker, settings, cases):
    """Publishes under settings that the broker or we must refuse, and it must be said."""
    for what, case in cases.items():
        output = finish(publish(f"{settings} drain-timeout=500 {case}"))
        if "Nothing can be published" not in output:
            sys.exit(f"{broker} {what}: nothing is said\n{output}")


def mosquitto_tls():
    port, folder = free_port(), tempfile.mkdtemp()
    certificates(folder)
    subprocess.run(["mosquitto_passwd", "-c", "-b", f"{folder}/passwords", "gate", "secret"], check=True, capture_output=True)
    with open(f"{folder}/mosquitto.conf", "w", encoding="ascii") as file:
        file.write(
            f"listener {port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key\n"
            f"require_certificate true\nallow_anonymous false\npassword_file {folder}/passwords\nuser root\n"
        )
    broker = subprocess.Popen(["mosquitto", "-c", f"{folder}/mosquitto.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1)
    ours = f"tls-cert-file={folder}/client.pem tls-key-file={folder}/client.key username=gate"
    listen = subprocess.Popen(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", "site/#", "-q", "1", "-W", "60", "-C", str(FRAMES), "-u", "gate",
         "-P", "secret", "--cafile", f"{folder}/ca.pem", "--cert", f"{folder}/client.pem", "--key", f"{folder}/client.key"],
        stdout=subprocess.PIPE, text=True,
    )
    time.sleep(1)
    address = f"method=mqtt address=mqtts://127.0.0.1:{port} topic=site/gate"
    output = finish(publish(f"{address} tls-ca-file={folder}/ca.pem password=secret {ours}"))
    lines = listen.communicate(timeout=90)[0].splitlines()
    if len(set(times(lines))) != FRAMES:
        sys.exit(f"Mosquitto, encrypted: {len(lines)} of {FRAMES} lines arrived\n{output}")
    refused("Mosquitto", address, {
        "of an authority that we do not trust": f"tls-ca-file={folder}/stranger.pem password=secret {ours}",
        "without our certificate": f"tls-ca-file={folder}/ca.pem username=gate password=secret",
        "with a wrong password": f"tls-ca-file={folder}/ca.pem password=wrong {ours}",
    })
    broker.terminate()
    broker.wait()
    shutil.rmtree(folder)
    print(f"Mosquitto, TLS with certificates of both sides and a password: all of {FRAMES} lines; strangers are refused")


def encrypted(brokers, folder):
    """A port with TLS in front of each broker, and what the brokers say of their own ports changed into those:
    the mock speaks in the clear alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/broker.pem", f"{folder}/broker.key")
    context.load_verify_locations(f"{folder}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    listeners = {port: socket.create_server(("127.0.0.1", 0)) for port in brokers}
    # In a list of brokers the number of the port follows the name of the host.
    place = lambda port: b"127.0.0.1" + struct.pack(">i", port)  # noqa: E731
    changes = [(place(port), place(listener.getsockname()[1])) for port, listener in listeners.items()]

    def pump(source, target, change):
        try:
            while data := source.recv(1 << 16):
                for old, new in change:
                    data = data.replace(old, new)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept(port, listener):
        while True:
            raw, _ = listener.accept()
            try:
                client = context.wrap_socket(raw, server_side=True)
            except OSError:  # whoever it was did not agree
                continue
            broker = socket.create_connection(("127.0.0.1", port))
            for ends in ((client, broker, []), (broker, client, changes)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    for pair in listeners.items():
        threading.Thread(target=accept, args=pair, daemon=True).start()
    return ",".join(f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners.values())


def kafka():
    from confluent_kafka import Consumer, Producer

    mock = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": ""})
    brokers = list(mock.list_topics(timeout=20).brokers.values())
    address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def arrive(topic, settings, what):
        # The mock makes a topic when it is first written to.
        mock.produce(topic, b"first")
        mock.flush(20)
        output = finish(publish(f"method=kafka topic={topic} kafka-key=camera-1 {settings}"))
        reader = Consumer({"bootstrap.servers": address, "group.id": topic, "auto.offset.reset": "earliest"})
        reader.subscribe([topic])
        records, end = [], time.monotonic() + 60
        while len(records) < FRAMES and time.monotonic() < end:
            record = reader.poll(1)
            if record is not None and record.error() is None and record.key() is not None:
                records.append(record)
        reader.close()
        partitions = {record.partition() for record in records}
        seen = times(record.value() for record in records)
        if len(seen) != FRAMES or seen != sorted(seen) or len(partitions) != 1:
            sys.exit(f"Kafka{what}: {len(seen)} of {FRAMES} lines in partitions {partitions}, ordered: {seen == sorted(seen)}\n{output}")
        if {record.key() for record in records} != {b"camera-1"}:
            sys.exit("Kafka: another key arrived")
        print(f"Kafka (librdkafka's mock, 3 brokers){what}: all of {FRAMES} lines, in order, in partition {partitions.pop()}")

    arrive("results", f"address={address}", "")
    folder = tempfile.mkdtemp()
    certificates(folder)
    address_tls = f"address={encrypted([broker.port for broker in brokers], folder)} tls=true"
    ours = f"tls-cert-file={folder}/client.pem tls-key-file={folder}/client.key"
    arrive("encrypted", f"{address_tls} tls-ca-file={folder}/ca.pem {ours}", ", TLS with certificates of both sides")
    refused("Kafka", f"method=kafka topic=encrypted {address_tls}", {
        "of an authority that we do not trust": f"tls-ca-file={folder}/stranger.pem {ours}",
        "without our certificate": f"tls-ca-file={folder}/ca.pem",
    })
    shutil.rmtree(folder)
    print("Kafka, TLS: strangers are refused")


def main():
    if shutil.which("mosquitto") and shutil.which("mosquitto_sub"):
        for qos, restart in [(0, False), (1, False), (1, True)]:
            mosquitto(qos, restart)
        mosquitto_tls()
    else:
        print("SKIP: mosquitto and mosquitto-clients are not installed")
    try:
        import confluent_kafka  # noqa: F401
    except ImportError:
        print("SKIP: confluent-kafka is not installed")
    else:
        kafka()


main()
