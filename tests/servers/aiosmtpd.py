"""aiosmtpd's LMTP server.  usage: aiosmtpd.py PORT FOLDER REPLIES

Keeps each message in FOLDER. With REPLIES `each` it replies once for every recipient as RFC 2033 asks; with `one`
it leaves that to the library, which knows nothing of it and replies once in all.
"""
import asyncio
import itertools
import sys

from aiosmtpd.lmtp import LMTP

port, folder, replies = int(sys.argv[1]), sys.argv[2], sys.argv[3]
number = itertools.count(1)


class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        with open(f"{folder}/{next(number)}", "wb") as file:
            file.write(envelope.original_content)
        if any(address.startswith("refuse@") for address in envelope.rcpt_tos):
            return "554 5.6.0 not in this house"
        every = "\r\n".join(f"250 2.0.0 {address} stored" for address in envelope.rcpt_tos)
        return every if replies == "each" else "250 2.0.0 stored"


async def main():
    def connection():
        return LMTP(Keeper(), hostname="aiosmtpd.example.net")

    await asyncio.get_running_loop().create_server(connection, "127.0.0.1", port)
    await asyncio.Event().wait()


asyncio.run(main())
