"""DynamoDB as moto has it, one request at a time: moto checks the condition of a write and then writes, without a lock in
between, so that of two conditional writes at once both would succeed, which DynamoDB rules out."""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

application = DomainDispatcherApplication(create_backend_app)
one_at_a_time = threading.Lock()


def serve(environ, start_response):
    with one_at_a_time:
        return application(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), serve, threaded=True)
