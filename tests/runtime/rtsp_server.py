"""A small RTSP server (RFC 2326) that sends motion JPEG as RTP (RFC 2435) over the RTSP connection, to be killed by tests.

python rtsp_server.py PORT [FRAME]      prints "ready" when it listens; one thread per client, each gets its own stream,
whose pictures are turned by a quarter from FRAME on.
"""

from __future__ import annotations

import itertools
import socketserver
import struct
import sys
import time

import cv2
import numpy as np

SIZE = (96, 64)  # height, width: multiples of 16, as RTP/JPEG wants them
PACKET = 1200


def picture(i: int) -> np.ndarray:
    """RGB: red with a blue bar that moves."""
    out = np.full((*SIZE, 3), (200, 40, 20), np.uint8)
    out[:, (3 * i) % SIZE[1] :][:, :8] = (20, 20, 240)
    return out


def jpeg_parts(jpeg: bytes) -> tuple[bytes, bytes]:
    """The two quantisation tables (128 bytes) and the entropy-coded data of a baseline JPEG with standard Huffman tables."""
    tables: dict[int, bytes] = {}
    at = 2
    while True:
        marker, length = struct.unpack(">HH", jpeg[at : at + 4])
        body = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            while body:
                tables[body[0] & 15], body = body[1:65], body[65:]
        if marker == 0xFFDA:
            return tables[0] + tables[1], jpeg[at:-2]


def rtp_packets(rgb: np.ndarray, first_sequence: int, timestamp: int) -> list[bytes]:
    """RTP packets of one picture."""
    tables, data = jpeg_parts(cv2.imencode(".jpg", rgb[..., ::-1])[1].tobytes())
    packets: list[bytes] = []
    h, w = rgb.shape[0] // 8, rgb.shape[1] // 8
    for offset in range(0, len(data), PACKET):
        last = offset + PACKET >= len(data)
        header = struct.pack(">BBHII", 0x80, 26 | (last << 7), (first_sequence + len(packets)) % 2**16, timestamp, 1)
        header += struct.pack(">I", offset) + bytes([1, 255, w, h])  # type 1: 4:2:0; Q 255: tables come along
        if offset == 0:
            header += struct.pack(">BBH", 0, 0, len(tables)) + tables
        packets.append(header + data[offset : offset + PACKET])
    return packets


class Handler(socketserver.StreamRequestHandler):
    fps = 30.0
    turn_at = 10**9

    def answer(self, sequence: str, *headers: str, body: str = "") -> None:
        lines = [
            "RTSP/1.0 200 OK",
            f"CSeq: {sequence}",
            "Session: 1",
            *headers,
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        self.wfile.write("\r\n".join(lines).encode())

    def handle(self) -> None:
        while line := self.rfile.readline().decode():
            method, url, _ = line.split(" ", 2)
            fields = {}
            while (field := self.rfile.readline().decode().strip()) != "":
                name, _, value = field.partition(":")
                fields[name.lower()] = value.strip()
            sequence = fields["cseq"]
            if method == "OPTIONS":
                self.answer(sequence, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                sdp = (
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:track1\r\n"
                )
                self.answer(sequence, "Content-Type: application/sdp", f"Content-Base: {url}/", body=sdp)
            elif method == "SETUP":
                self.answer(sequence, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            elif method == "PLAY":
                self.answer(sequence)
                self.stream()
                return
            else:
                self.answer(sequence)

    def stream(self) -> None:
        start, sequence = time.monotonic(), 0
        try:
            for i in itertools.count():
                rgb = picture(i) if i < self.turn_at else np.ascontiguousarray(picture(i).transpose(1, 0, 2))
                for packet in rtp_packets(rgb, sequence, round(i * 90000 / self.fps)):
                    self.wfile.write(b"$" + struct.pack(">BH", 0, len(packet)) + packet)
                    sequence += 1
                time.sleep(max(0.0, start + (i + 1) / self.fps - time.monotonic()))
        except OSError:
            pass  # the client left


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Handler.turn_at = int(sys.argv[2])
    with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
