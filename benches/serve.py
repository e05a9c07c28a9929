#!/usr/bin/env python3
"""Load on `trm serve`: are answers right and everyone's own, and what do many requests in flight gain?

Starts the server, sends the test puzzles of a data set one at a time, then with many in flight, each in a request of its
own, from other processes than the server. Every answer is compared with the labels of its own puzzle and with the answer
given to it one at a time. Prints p50 and p99 of both, their throughput and its ratio. Needs nothing but Python 3.9.

    benches/serve.py --run runs/first --data data/sudoku6 --device 0
"""

import argparse
import array
import ast
import asyncio
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request

IGNORED = -100
CODES = {"|u1": "B", "|i1": "b", "<u2": "H", "<i2": "h", "<u4": "I", "<i4": "i", "<u8": "Q", "<i8": "q"}


def rows(path):
    """The rows of a matrix in NumPy's format."""
    data = path.read_bytes()
    if data[:6] != b"\x93NUMPY":
        sys.exit(f"{path}: no array of NumPy's")
    wide = data[6] > 1
    start = 12 if wide else 10
    end = start + int.from_bytes(data[8:start], "little")
    header = ast.literal_eval(data[start:end].decode())
    values = array.array(CODES[header["descr"]])
    values.frombytes(data[end:])
    count, width = header["shape"]
    return [list(values[row * width:(row + 1) * width]) for row in range(count)]


def vector(path):
    data = path.read_bytes()
    end = 10 + int.from_bytes(data[8:10], "little")
    values = array.array(CODES[ast.literal_eval(data[10:end].decode())["descr"]])
    values.frombytes(data[end:])
    return list(values)


def puzzles(folder, most):
    """(tokens, identifier, labels) of the test split."""
    split = pathlib.Path(folder) / "test"
    about = json.loads((split / "dataset.json").read_text())
    found = []
    for name in about["sets"]:
        inputs, labels = rows(split / f"{name}__inputs.npy"), rows(split / f"{name}__labels.npy")
        first, own = (vector(split / f"{name}__puzzle_{what}.npy") for what in ("indices", "identifiers"))
        identifiers = [own[puzzle] for puzzle in range(len(own)) for _ in range(first[puzzle], first[puzzle + 1])]
        ignored = about["ignore_label_id"]
        for tokens, wanted, identifier in zip(inputs, labels, identifiers):
            found.append((tokens, identifier, [IGNORED if label == ignored else label for label in wanted]))
    return found[:most]


def is_right(answer, labels):
    return all(label in (IGNORED, token) for token, label in zip(answer, labels))


def request(puzzle, ask):
    tokens, identifier, _ = puzzle
    body = json.dumps({"puzzles": [{"tokens": tokens, "identifier": identifier}], **ask}, separators=(",", ":")).encode()
    return b"POST /solve HTTP/1.1\r\nHost: load\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def connection(port, requests, share, seconds, seen):
    """Sends one request after the other, each as soon as the last is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    end, place = time.monotonic() + seconds, share[0]
    while time.monotonic() < end:
        index = place % len(requests)
        place += share[1]
        begun = time.monotonic()
        writer.write(requests[index])
        head = await reader.readuntil(b"\r\n\r\n")
        status, length = int(head[9:12]), 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        body = json.loads(await reader.readexactly(length))
        took = time.monotonic() - begun
        if status == 200:
            answer = body["answers"][0]
            seen.append((index, took, answer.get("answer"), answer.get("steps")))
        else:
            seen.append((index, took, None, status))
    writer.close()


def client(port, requests, connections, of, seconds, begin, results):
    """A process with some of all connections."""
    async def run():
        seen = []
        shares = [(number, of) for number in connections]
        await asyncio.gather(*(connection(port, requests, share, seconds, seen) for share in shares))
        return seen
    begin.wait()
    results.send(asyncio.run(run()))
    results.close()


def load(port, requests, in_flight, seconds):
    """What was seen with so many requests in flight, and how long it took."""
    processes = min(in_flight, max(1, (os.cpu_count() or 2) // 2))
    begin, ends = multiprocessing.Barrier(processes + 1), []
    for number in range(processes):
        here, there = multiprocessing.Pipe(False)
        own = range(number, in_flight, processes)
        arguments = (port, requests, own, in_flight, seconds, begin, there)
        process = multiprocessing.Process(target=client, args=arguments)
        process.start()
        ends.append((here, process))
    begin.wait()
    begun, seen = time.monotonic(), []
    for here, process in ends:
        seen += here.recv()
        process.join()
    return seen, time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trm", default="target/release/trm", help="the program")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--run", help="run folder of the model")
    parser.add_argument("--weights", help="its weights, where there is no run")
    parser.add_argument("--data", required=True, help="data set whose test puzzles are sent")
    parser.add_argument("--seconds", type=float, default=10, help="of each of the two measurements")
    parser.add_argument("--in-flight", type=int, default=0, help="requests at once (default: twice the batch)")
    parser.add_argument("--puzzles", type=int, default=4096, help="puzzles, which come again and again")
    parser.add_argument("--least-ratio", type=float, default=0, help="fail below it")
    parser.add_argument("--ask", type=json.loads, default={}, help="what else a request says, as {\"rollouts\": 4}")
    parser.add_argument("more", nargs="*", help="further options of trm serve, after --")
    options = parser.parse_args()

    given = puzzles(options.data, options.puzzles)
    requests = [request(puzzle, options.ask) for puzzle in given]
    model = ["--run", options.run] if options.run else ["--weights", options.weights]
    command = [options.trm, "--json", "serve", *model, "--device", options.device, "--listen", "127.0.0.1:0"]
    server = subprocess.Popen([*command, *options.more], stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if not line:
            sys.exit(f"the server ended with {server.wait()}")
        said = json.loads(line)
        port = int(said["listening"].rsplit(":", 1)[1])
        about = json.loads(urllib.request.urlopen(f"{said['listening']}/health").read())
        in_flight = options.in_flight or 2 * said["batch"]
        print(f"{about['device']}, batches of up to {said['batch']}, {len(given)} puzzles of {about['seq_len']} tokens")
        alone = load(port, requests, 1, options.seconds)
        many = load(port, requests, in_flight, options.seconds)
        metrics = urllib.request.urlopen(f"{said['listening']}/metrics").read().decode()
    finally:
        server.send_signal(signal.SIGTERM)
    code = server.wait()

    label_of = {tuple(labels): index for index, (_, _, labels) in enumerate(given)}
    faults, figures, first = [], [], {}
    for name, (seen, took), count in (("one at a time", alone, 1), (f"{in_flight} in flight", many, in_flight)):
        answered = [one for one in seen if one[2] is not None]
        lost = len(seen) - len(answered)
        right = crossed = other = steps = 0
        for index, _, answer, taken in answered:
            own = is_right(answer, given[index][2])
            right += own
            steps += taken
            crossed += not own and label_of.get(tuple(answer), index) != index
            other += first.setdefault(index, answer) != answer
        times = sorted(one[1] for one in answered) or [0]
        at = lambda share: 1e3 * times[min(len(times) - 1, int(share * len(times)))]
        figures.append(len(answered) / took)
        print(f"{name}: {figures[-1]:.1f} puzzles/s, p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, "
              f"{len(answered)} answered, {right} right, {steps / max(1, len(answered)):.2f} steps each; "
              f"{lost} lost, {crossed} crossed, {other} other than the first answer to the same puzzle")
        faults += [f"{name}: {count} {what}" for count, what in ((lost, "lost"), (crossed, "crossed")) if count]
        if other and options.device == "cpu":
            faults.append(f"{name}: {other} answers changed")
    ratio = figures[1] / max(figures[0], 1e-9)
    print(f"throughput: {ratio:.1f} times that of one at a time")
    sent = len(alone[0]) + len(many[0])
    counted = sum(float(line.split()[1]) for line in metrics.splitlines() if line.startswith("trm_requests_total"))
    if counted != sent:
        faults.append(f"the server counts {counted:.0f} requests of {sent}")
    if code != 128 + signal.SIGTERM:
        faults.append(f"the server ended with {code}")
    if ratio < options.least_ratio:
        faults.append(f"the ratio is below {options.least_ratio}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
