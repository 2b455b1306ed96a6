"""A wire between two network namespaces: NAMESPACE NAMESPACE. The clients' end is 10.213.0.1, the proxy's 10.213.0.2.

It says `ready`, then obeys a line at a time, and answers how many packets it has lost and cut:
    loss P        so many packets of a hundred are lost
    delay MS      each takes so long
    reorder P     so many of a hundred overtake the ones before them
    cut P         in place of so many of a hundred packets with data both ends hear a reset
    cut-replies N the next replies to a dot are never heard: a reset comes in the place of each
    down MS       nothing passes for so long
    quiet         as at the start
Linux's own netem is not in every kernel; a TUN device is.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
QUIET = {"loss": 0.0, "delay": 0.0, "reorder": 0.0, "cut": 0.0, "cut-replies": 0.0, "down": 0.0}


def end(namespace, address):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"wire%d", IFF_TUN | IFF_NO_PI))
    name = name[:16].rstrip(b"\0").decode()
    for command in (
        f"ip link set {name} netns {namespace}",
        f"ip -n {namespace} address add {address}/24 dev {name}",
        f"ip -n {namespace} link set lo up",
        f"ip -n {namespace} link set {name} up",
    ):
        subprocess.run(command.split(), check=True)
    return device


def checksum(octets):
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def reset(source, target, ports, sequence):
    tcp = struct.pack("!HHIIBBHHH", *ports, sequence, 0, 0x50, 0x04, 0, 0, 0)
    over = checksum(source + target + struct.pack("!BBH", 0, 6, 20) + tcp)
    tcp = tcp[:16] + struct.pack("!H", over) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + tcp


class Packet:
    def __init__(self, octets):
        head = (octets[0] & 15) * 4
        self.is_tcp = octets[0] >> 4 == 4 and octets[9] == 6
        if self.is_tcp:
            self.source, self.target = octets[12:16], octets[16:20]
            tcp = octets[head:]
            self.ports = struct.unpack("!HH", tcp[:4])
            self.sequence, self.acknowledged = struct.unpack("!II", tcp[4:12])
            self.data = tcp[(tcp[12] >> 4) * 4 :]

    def resets(self):
        """For whom it was meant, and for its sender, each with the sequence number that it waits for."""
        there = reset(self.source, self.target, self.ports, self.sequence)
        back = reset(self.target, self.source, self.ports[::-1], self.acknowledged)
        return there, back


class Wire:
    def __init__(self, devices):
        self.devices, self.ways, self.waiting, self.count, self.harmed = devices, dict(QUIET), [], 0, 0

    def obey(self, line):
        word, *rest = line.split()
        if word == "quiet":
            self.ways = dict(QUIET)
        elif word == "down":
            self.ways["down"] = time.monotonic() + float(rest[0]) / 1000
        else:
            self.ways[word] = float(rest[0])
        print(self.harmed, flush=True)

    def is_cut(self, packet):
        if not packet.is_tcp or not packet.data:
            return False
        if self.ways["cut-replies"] > 0 and packet.data.startswith(b"250 2.0.0"):
            self.ways["cut-replies"] -= 1
            return True
        return random.random() * 100 < self.ways["cut"]

    def take(self, device, octets):
        other = self.devices[1 - self.devices.index(device)]
        if time.monotonic() < self.ways["down"] or random.random() * 100 < self.ways["loss"]:
            self.harmed += 1
            return
        packet = Packet(octets)
        if self.is_cut(packet):
            self.harmed += 1
            there, back = packet.resets()
            self.give(other, there)
            self.give(device, back)
            return
        late = 0 if random.random() * 100 < self.ways["reorder"] else self.ways["delay"] / 1000
        self.count += 1
        heapq.heappush(self.waiting, (time.monotonic() + late, self.count, other, octets))

    def give(self, device, octets):
        try:
            os.write(device, octets)
        except OSError:
            pass  # The namespace is being removed.

    def run(self):
        while True:
            left = max(0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([*self.devices, sys.stdin.fileno()], [], [], left)
            for device in ready:
                octets = os.read(device, 65536)
                if device != sys.stdin.fileno():
                    self.take(device, octets)
                elif octets:
                    self.obey(octets.decode())
                else:
                    return
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, device, octets = heapq.heappop(self.waiting)
                self.give(device, octets)


wire = Wire([end(sys.argv[1], "10.213.0.1"), end(sys.argv[2], "10.213.0.2")])
print("ready", flush=True)
wire.run()
