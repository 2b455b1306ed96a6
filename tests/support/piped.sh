#!/usr/bin/env bash
# All that there is to say about one letter, piped into openssl at once: PORT LETTER.
set -euo pipefail
{
    printf 'EHLO client.example\r\nMAIL FROM:<ann@client.example>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\n'
    sed 's/$/\r/' "$2"
    printf '.\r\nQUIT\r\n'
} | timeout 60 openssl s_client -quiet -starttls smtp -connect "127.0.0.1:$1"
