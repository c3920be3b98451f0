#!/usr/bin/env python3
"""A client in another language: the same calls once with stubs made from proto/, once by reflection alone.

    client_test.py --binary target/debug/quorate         starts a cluster of three for itself
    client_test.py --endpoints 127.0.0.1:7101,...        uses a running one

Needs requirements.txt. Ends with exit code 0 when all calls did what the interface says.
"""

import argparse
import importlib
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
DEADLINE_S = 10
READY_WITHIN_S = 60
ENDPOINTS: list[str] = []


def generate(folder: str) -> None:
    """Makes stubs from the interface's files into `folder` and makes them importable."""
    files = [str(path) for path in sorted(PROTO.glob("quorate/v1/*.proto"))]
    well_known = str(pathlib.Path(protoc.__file__).parent / "_proto")
    arguments = ["protoc", f"-I{PROTO}", f"-I{HERE}", f"-I{well_known}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(arguments + files + [str(HERE / "errors.proto")]) != 0:
        sys.exit("grpcio-tools could not compile proto/")
    sys.path.insert(0, folder)


class Stubs:
    """Messages and calls from generated code."""

    def __init__(self, channel: grpc.Channel):
        self.channel = channel
        names = ["cluster", "network", "store", "types", "watch"]
        self.modules = [importlib.import_module(f"quorate.v1.{name}_pb2") for name in names]
        self.services = [importlib.import_module(f"quorate.v1.{name}_pb2_grpc") for name in names]

    def message(self, name: str):
        return next(getattr(module, name) for module in self.modules if hasattr(module, name))

    def call(self, service: str, method: str, request):
        stub = next(getattr(module, service + "Stub") for module in self.services if hasattr(module, service + "Stub"))
        return getattr(stub(self.channel), method)(request, timeout=DEADLINE_S)


class Reflection:
    """Messages and calls from what the server tells of itself."""

    def __init__(self, channel: grpc.Channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def message(self, name: str):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"quorate.v1.{name}"))

    def call(self, service: str, method: str, request):
        found = self.pool.FindServiceByName(f"quorate.v1.{service}").FindMethodByName(method)
        answer = message_factory.GetMessageClass(found.output_type)
        kind = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        path = f"/quorate.v1.{service}/{method}"
        call = kind(path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString)
        return call(request, timeout=DEADLINE_S)


def error_info(error: grpc.RpcError):
    """The ErrorInfo among the details of an error."""
    errors = importlib.import_module("errors_pb2")
    trailer = dict(error.trailing_metadata())["grpc-status-details-bin"]
    for detail in errors.Status.FromString(trailer).details:
        info = errors.ErrorInfo()
        if detail.Unpack(info):
            return info
    raise AssertionError("no ErrorInfo in the error's details") from error


class Client:
    """The tests, for both ways to make a client."""

    def setUp(self):
        self.channels = [grpc.insecure_channel(endpoint) for endpoint in ENDPOINTS]
        self.apis = [self.make(channel) for channel in self.channels]
        self.api = self.apis[0]

    def tearDown(self):
        for channel in self.channels:
            channel.close()

    def key(self, name: str) -> bytes:
        return f"python/{type(self).__name__}/{name}".encode()

    def put(self, api, name: str, value: bytes):
        request = api.message("PutRequest")(key={"kind": "KIND_ENTRY", "key": self.key(name)}, value=value)
        return api.call("StoreService", "Put", request)

    def get(self, api, name: str):
        request = api.message("RangeRequest")(selector={"kind": "KIND_ENTRY", "key": self.key(name)})
        return api.call("StoreService", "Range", request)

    def test_what_is_put_through_one_coordinator_is_got_through_all(self):
        written = self.put(self.api, "greeting", b"hello")
        self.assertGreater(written.header.revision, 0)
        members = set()
        for api in self.apis:
            answer = self.get(api, "greeting")
            self.assertEqual([record.entry for record in answer.records], [b"hello"])
            self.assertEqual(answer.records[0].modified, written.header.revision)
            self.assertEqual(answer.header.cluster_id, written.header.cluster_id)
            members.add(answer.header.member_id)
        self.assertEqual(len(members), len(ENDPOINTS))

    def test_a_transaction_runs_one_of_its_branches(self):
        api, key = self.api, {"kind": "KIND_ENTRY", "key": self.key("once")}
        request = api.message("TransactionRequest")(
            preconditions=[{"target": key, "absent": True}],
            success=[{"put": {"key": key, "value": b"first"}}],
            failure=[{"get": {"selector": key}}],
        )
        first = api.call("StoreService", "Transaction", request)
        self.assertTrue(first.succeeded)
        second = api.call("StoreService", "Transaction", request)
        self.assertFalse(second.succeeded)
        found = second.results[0].get.records[0]
        self.assertEqual((found.entry, found.created), (b"first", first.header.revision))

    def test_a_watch_tells_every_change_in_order(self):
        first = self.put(self.api, "watched", b"1").header.revision
        second = self.put(self.apis[-1], "watched", b"2").header.revision
        request = self.api.message("WatchRequest")(from_revision=first, filter={"key_prefix": self.key("watched")})
        told = []
        stream = self.api.call("WatchService", "Watch", request)
        third = None
        for message in stream:
            for event in message.events:
                told += [(event.revision, change.record.entry, change.created) for change in event.changes]
            if len(told) == 2 and third is None:
                third = self.put(self.apis[1], "watched", b"3").header.revision
            if len(told) >= 3:
                stream.cancel()
                break
        self.assertEqual(told, [(first, b"1", True), (second, b"2", False), (third, b"3", False)])
        self.assertEqual(message.resume.cluster_id, message.header.cluster_id)

    def test_an_error_says_reason_field_rule_and_outcome(self):
        key = {"kind": "KIND_PARTITION", "key": b"net/0"}
        request = self.api.message("PutRequest")(key=key, value=b"x")
        with self.assertRaises(grpc.RpcError) as raised:
            self.api.call("StoreService", "Put", request)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        info = error_info(raised.exception)
        self.assertEqual((info.reason, info.domain), ("INVALID_FIELD", "quorate"))
        self.assertEqual(info.metadata["outcome"], "NOT_APPLIED")
        self.assertTrue(info.metadata["field"] and info.metadata["rule"], info)

    def test_a_watch_from_the_future_is_refused(self):
        revision = self.put(self.api, "now", b"x").header.revision
        request = self.api.message("WatchRequest")(from_revision=revision + 1_000_000)
        with self.assertRaises(grpc.RpcError) as raised:
            next(iter(self.api.call("WatchService", "Watch", request)))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.OUT_OF_RANGE)
        self.assertEqual(error_info(raised.exception).reason, "FUTURE_REVISION")

    def test_every_coordinator_is_healthy(self):
        for channel in self.channels:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)


class FromProtoFiles(Client, unittest.TestCase):
    make = Stubs


class ByReflection(Client, unittest.TestCase):
    make = Reflection

    def test_the_services_are_listed(self):
        services = set(self.api.database.get_services())
        names = ["Store", "Watch", "Cluster", "Network", "Partition", "Connection"]
        wanted = {f"quorate.v1.{name}Service" for name in names} | {"grpc.health.v1.Health"}
        self.assertLessEqual(wanted, services)


def free_base_port() -> int:
    """A port P so that P + 1..3, P + 101..103 and P + 201..203 are free; below the ephemeral ones."""
    for base in range(12_000, 32_000, 250):
        try:
            for port in [base + plane + member for plane in (0, 100, 200) for member in (1, 2, 3)]:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    sys.exit("no free ports")


def wait_ready(process: subprocess.Popen | None) -> None:
    until = time.monotonic() + READY_WITHIN_S
    for endpoint in ENDPOINTS:
        with grpc.insecure_channel(endpoint) as channel:
            while True:
                try:
                    request = health_pb2.HealthCheckRequest()
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=1, wait_for_ready=True)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        break
                    why = "not serving"
                except grpc.RpcError as error:
                    why = error.details()
                if process is not None and process.poll() is not None:
                    sys.exit(f"the cluster ended with exit code {process.returncode}")
                if time.monotonic() > until:
                    sys.exit(f"{endpoint} is not ready after {READY_WITHIN_S} s: {why}")
                time.sleep(0.05)


def run() -> bool:
    with tempfile.TemporaryDirectory(prefix="quorate-stubs-") as folder:
        generate(folder)
        suite = unittest.TestSuite()
        for case in (FromProtoFiles, ByReflection):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
        return unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--binary", help="the quorate binary: start a cluster with it")
    choice.add_argument("--endpoints", help="a running cluster, host:port, separated by commas")
    arguments = parser.parse_args()
    if arguments.endpoints:
        ENDPOINTS.extend(arguments.endpoints.split(","))
        wait_ready(None)
        return 0 if run() else 1
    base = free_base_port()
    ENDPOINTS.extend(f"127.0.0.1:{base + member}" for member in (1, 2, 3))
    with tempfile.TemporaryFile("w+") as log:
        command = [arguments.binary, "dev", "--base-port", str(base)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        passed = False
        try:
            wait_ready(process)
            passed = run()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if not passed:
                log.seek(0)
                print("".join(log.readlines()[-30:]), file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
