"""The demo's stand-in for a unix/socket image: one executable file with the site inside."""

from __future__ import annotations

from collections.abc import Mapping

BROKEN = b"""#!/bin/sh
echo 'Fatal error: exception Invalid_argument("index out of bounds")' >&2
exit 2
"""

_PROGRAM = '''\
#!/usr/bin/env python3
"""Takes a MirageOS web server's flags and exit codes; no unikernel."""
import http.server
import sys

PAGES = @PAGES@
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
        path = self.path + 'index.html' if self.path.endswith('/') else self.path
        page = PAGES.get(path, b'There is no such page.\\n')
        self.send_response(200 if path in PAGES else 404)
        self.send_header('Content-Type', 'text/html; charset=utf-8')
        self.send_header('Content-Length', str(len(page)))
        self.end_headers()
        self.wfile.write(page)


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


def image(pages: Mapping[str, bytes]) -> bytes:
    """An image that serves `pages`, each at its path, `/index.html` at `/` too."""
    return _PROGRAM.replace('@PAGES@', repr(dict(pages))).encode()


def text(version: int) -> bytes:
    """The image of `version`, whose page says so."""
    return image({'/index.html': _PAGE.format(version=version).encode()})


if __name__ == '__main__':
    import sys

    sys.stdout.buffer.write(text(int(sys.argv[1])))
