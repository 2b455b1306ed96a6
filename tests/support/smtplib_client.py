"""One letter by Python's smtplib: HOST:PORT LETTER quit|close|hold clear|starttls. The exit code is 1 when it was refused.

With `hold` it stops behind the dot until a line comes: `close`, `reset`, or `unread`, which closes when the reply has
come and has not been read.
"""

import select
import smtplib
import socket
import ssl
import struct
import sys

SENDER, RECIPIENT = "ann@client.example", "joe@example.org"


def hold(client, text):
    client.mail(SENDER)
    client.rcpt(RECIPIENT)
    client.docmd("DATA")
    client.sock.sendall(text + b".\r\n")
    how = sys.stdin.readline().strip()
    if how == "reset":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == "unread":
        select.select([client.sock], [], [])
    client.close()


def send(client, text, end):
    try:
        client.sendmail(SENDER, [RECIPIENT], text)
    except smtplib.SMTPException as refused:
        print(refused)
        sys.exit(1)
    if end == "quit":
        client.quit()
    else:
        # The 250 has been read; nothing more is said.
        client.close()


def main():
    address, letter, end, tls = sys.argv[1:]
    with open(letter, "rb") as file:
        text = file.read().replace(b"\n", b"\r\n")
    host, port = address.rsplit(":", 1)
    client = smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=60)
    client.ehlo()
    if tls == "starttls":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client.starttls(context=context)
        client.ehlo()
    if end == "hold":
        hold(client, text)
    else:
        send(client, text, end)


main()
