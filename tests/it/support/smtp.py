"""A mail server for the tests: prints its port, and then each mail as a line of JSON.

It ends with its standard input, so that nothing is left of it after a test that was killed.
"""

import argparse
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, arguments):
        self.arguments = arguments

    async def handle_DATA(self, server, session, envelope):
        if self.arguments.refuse:
            return f"{self.arguments.refuse} no"
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "user": session.auth_data,
            "tls": server.transport.get_extra_info("cipher") is not None,
            "data": envelope.content.decode(),
        }
        print(json.dumps(mail), flush=True)
        return "250 taken"


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["plain", "starttls", "tls"], required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--password")
    parser.add_argument("--refuse")
    arguments = parser.parse_args()
    context = None
    if arguments.mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.cert, arguments.key)

    def authenticate(server, session, envelope, mechanism, data):
        right = data.password.decode() == arguments.password
        return AuthResult(success=right, handled=False, auth_data=data.login.decode() if right else None)

    def connection():
        return SMTP(
            Handler(arguments),
            hostname="localhost",
            tls_context=context if arguments.mode == "starttls" else None,
            require_starttls=arguments.mode == "starttls",
            authenticator=authenticate if arguments.password else None,
            auth_required=arguments.password is not None,
            auth_require_tls=arguments.mode == "starttls",
        )

    loop = asyncio.get_running_loop()
    implicit = context if arguments.mode == "tls" else None
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
