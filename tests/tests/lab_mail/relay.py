"""A mail relay with TLS and passwords, by aiosmtpd: port 587 wants STARTTLS, port 465 speaks TLS from the first byte.

relay.py FOLDER: certificate and key are FOLDER/server.pem and .key; mail is kept as FOLDER/mail/USER/new/NUMBER, with a
first line that says how it came.
"""

import asyncio
import itertools
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

FOLDER = sys.argv[1]
NUMBERS = itertools.count()


class Keeper:
    def __init__(self, way):
        self.way = way

    async def handle_DATA(self, server, session, envelope):
        for recipient in envelope.rcpt_tos:
            folder = os.path.join(FOLDER, "mail", recipient.split("@")[0], "new")
            os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, f"{self.way}-{next(NUMBERS)}")
            with open(path + ".part", "wb") as file:
                file.write(f"came by {self.way} for {session.auth_data}\n".encode())
                file.write(envelope.content)
            os.rename(path + ".part", path)
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    is_good = (data.login, data.password) == (b"lb", b"secret")
    return AuthResult(success=is_good, handled=False, auth_data=data.login.decode())


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.path.join(FOLDER, "server.pem"), os.path.join(FOLDER, "server.key"))
    loop = asyncio.get_running_loop()

    def starttls():
        return SMTP(
            Keeper("STARTTLS"),
            tls_context=context,
            require_starttls=True,
            authenticator=login,
            auth_required=True,
        )

    def tls():
        return SMTP(Keeper("TLS"), authenticator=login, auth_required=True, auth_require_tls=False)

    await loop.create_server(starttls, "127.0.0.1", 587)
    await loop.create_server(tls, "127.0.0.1", 465, ssl=context)
    print("listening", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
