"""A collector for the tests: prints its port, and then each request as a line of JSON.

What it reads is decoded with OpenTelemetry's own definitions, by protocol buffers' own library.
It ends with its standard input, so that nothing is left of it after a test that was killed.
"""

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = {
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "request": spelt(ExportTraceServiceRequest.FromString(body)),
        }
        with self.server.lock:
            print(json.dumps(request), flush=True)
        answer = ExportTraceServiceResponse()
        if self.server.reject:
            answer.partial_success.rejected_spans = self.server.reject
            answer.partial_success.error_message = "no \x1b[31mroom"
        answer = answer.SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def spelt(request):
    """The ids in hexadecimal digits, as everybody else writes them."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for link in span.links:
                    ids = f"{link.trace_id.hex()}-{link.span_id.hex()}"
                    link.attributes.add(key="ids").value.string_value = ids
                ids = f"{span.trace_id.hex()}-{span.span_id.hex()}-{span.parent_span_id.hex()}"
                span.attributes.add(key="ids").value.string_value = ids
    return MessageToDict(request, preserving_proto_field_name=True)


parser = argparse.ArgumentParser()
parser.add_argument("--reject", type=int, default=0)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
server.reject = parser.parse_args().reject
server.lock = threading.Lock()
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
