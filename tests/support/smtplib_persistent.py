"""Letters by Python's smtplib, several at a time, each until its 250 is read: HOST:PORT FOLDER COPIES.

Each file of the folder is a letter, sent COPIES times on purpose, one after the other. A refusal for good ends it all.
"""

import concurrent.futures
import os
import smtplib
import sys
import threading

address, folder, copies = sys.argv[1:]
host, port = address.rsplit(":", 1)
# A queue waits before it tries again.
pause = threading.Event()


def taken(text):
    """Whether the 250 was read; what comes behind it does not count."""
    try:
        client = smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=20)
        client.sendmail("ann@client.example", ["joe@example.org"], text)
    except smtplib.SMTPResponseException as refused:
        if refused.smtp_code >= 500:
            raise
        return False
    except (OSError, smtplib.SMTPServerDisconnected, smtplib.SMTPRecipientsRefused):
        return False
    try:
        client.quit()
    except (OSError, smtplib.SMTPException):
        pass
    return True


def send(name):
    with open(os.path.join(folder, name), "rb") as file:
        text = file.read().replace(b"\n", b"\r\n")
    for _ in range(int(copies)):
        while not taken(text):
            pause.wait(0.1)


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(send, sorted(os.listdir(folder))))
