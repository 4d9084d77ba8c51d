"""The demo's stand-in for a unix/socket image: one executable file with the site inside."""

from __future__ import annotations

BROKEN = b"""#!/bin/sh
echo 'Fatal error: exception Invalid_argument("index out of bounds")' >&2
exit 2
"""

_PROGRAM = '''\
#!/usr/bin/env python3
"""Takes a MirageOS web server's flags and exit codes; no unikernel."""
import http.server
import sys

PAGE = b"""@PAGE@"""
HELP = """\\
NAME
       www
OPTIONS
       --help[=FMT] (default=auto)
       --ipv4=PREFIX (absent=0.0.0.0/0)
       --port=INT (absent=8080)
"""

flags = dict(argument.partition('=')[::2] for argument in sys.argv[1:])
if '--help' in flags:
    sys.stdout.write(HELP)
    sys.exit(63)
for flag in flags:
    if flag not in ('--ipv4', '--port'):
        sys.stderr.write(f'www: unknown option {flag}.\\n')
        sys.exit(64)


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)


address = flags.get('--ipv4', '0.0.0.0/0').partition('/')[0]
port = int(flags.get('--port', '8080'))
server = http.server.ThreadingHTTPServer((address, port), Site)
print(f'[INFO] [www] listening on {port}/TCP', file=sys.stderr, flush=True)
server.serve_forever()
'''

_PAGE = """<!doctype html>
<title>demo</title>
<h1>Hello from version {version}</h1>
"""


def text(version: int) -> bytes:
    """The image of `version`, whose page says so."""
    return _PROGRAM.replace('@PAGE@', _PAGE.format(version=version)).encode()
