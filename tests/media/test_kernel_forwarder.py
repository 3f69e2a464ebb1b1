"""Tests of `sipd.media.kernel.forwarder`, `syscalls` and `routes`: what is refused, and that nothing is left."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.errors import MediaEngineError
from sipd.media.kernel import forwarder, routes
from sipd.media.kernel.entries import KEY_SIZE, Flow
from sipd.media.kernel.forwarder import KernelForwarder, explain_unavailable
from sipd.media.kernel.instructions import Register, assemble, leave, move
from sipd.media.kernel.syscalls import SystemCall
from tests import namespaces
from tests.namespaces import Crossing, Namespace

#: Says when it has attached, and waits to be killed.
CHILD = """
import sys
from sipd.media.kernel.forwarder import KernelForwarder
forwarder = KernelForwarder()
forwarder.attach("left")
print("attached", flush=True)
sys.stdin.read()
"""


class ForwarderTestCase(SynchronousTestCase):
    """Gives each test three namespaces and a forwarder in the middle one, in which the test runs."""

    def setUp(self) -> None:
        if (reason := namespaces.explain_unavailable() or forwarder.explain_unavailable()) is not None:
            raise SkipTest(reason)
        self.crossing = Crossing()
        self.addCleanup(self.crossing.close)
        self.enter(self.crossing.middle)
        self.forwarder = KernelForwarder(max_flows=300)
        self.addCleanup(self.forwarder.close)
        self.flow = Flow(
            source=("10.9.0.2", 5000),
            destination=("10.9.0.1", 7000),
            new_source=("10.9.1.1", 8000),
            new_destination=("10.9.1.2", 6000),
        )

    def enter(self, namespace: Namespace) -> None:
        """Be in a namespace until the end of the test."""
        entered = namespace.entered()
        entered.__enter__()
        self.addCleanup(entered.__exit__, None, None, None)

    def check_refused(self, expected: str, **changes: Any) -> None:
        """Check that a flow with these changes is refused, with a text that has this in it."""
        error = self.assertRaises(MediaEngineError, self.forwarder.add, dataclasses.replace(self.flow, **changes))
        self.assertIn(expected, str(error))
        self.assertNotIn("\n", str(error))
        self.assertEqual(len(self.forwarder), 0)


class AttachTests(ForwarderTestCase):
    """Interfaces."""

    def test_attaches_once(self) -> None:
        """A second time changes nothing."""
        index = routes.interface_index("left")
        for _ in range(2):
            self.forwarder.attach("left")
            self.assertEqual(SystemCall().count_programs(index), 1)
        self.assertIn("left", str(self.forwarder))
        self.forwarder.close()
        self.assertEqual(SystemCall().count_programs(index), 0)

    def test_two_forwarders(self) -> None:
        """Each has its own program, and both run."""
        other = KernelForwarder()
        self.addCleanup(other.close)
        for one in (self.forwarder, other):
            one.attach("left")
        self.assertEqual(SystemCall().count_programs(routes.interface_index("left")), 2)

    def test_an_interface_that_comes_again(self) -> None:
        """One of the same name is another one."""
        self.forwarder.attach("left")
        for command in ("link del left", "link add left type veth peer name other"):
            self.crossing.middle.configure(command)
        self.forwarder.attach("left")
        self.assertEqual(SystemCall().count_programs(routes.interface_index("left")), 1)

    def test_no_such_interface(self) -> None:
        """There is an error, whatever the name."""
        for name in ("nosuch", "", "a" * 40, "\0"):
            self.assertRaises(MediaEngineError, self.forwarder.attach, name)

    def test_an_interface_without_frames(self) -> None:
        """Packets that begin with the IP header are not looked for."""
        self.crossing.middle.configure("tuntap add dev tunnel mode tun")
        error = self.assertRaises(MediaEngineError, self.forwarder.attach, "tunnel")
        self.assertIn("not Ethernet", str(error))

    def test_nothing_is_left_of_a_killed_process(self) -> None:
        """A process that is killed leaves an interface without a program."""
        index = routes.interface_index("left")
        with subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), "attached\n")
            self.assertEqual(SystemCall().count_programs(index), 1)
            child.kill()
            child.wait(30)
        self.assertEqual(SystemCall().count_programs(index), 0)


class FlowTests(ForwarderTestCase):
    """What can be a flow, and what cannot."""

    def test_many_flows(self) -> None:
        """Two hundred come and go, and the map in the kernel is empty."""
        flows = [dataclasses.replace(self.flow, source=("10.9.0.2", 10000 + number)) for number in range(200)]
        for flow in flows:
            self.forwarder.add(flow)
        self.assertEqual(len(self.forwarder), 200)
        self.assertEqual(len(SystemCall().keys(self.forwarder._map, KEY_SIZE, 1000)), 200)
        for flow in flows:
            self.assertIsNotNone(self.forwarder.remove(flow.key))
        self.assertEqual(len(self.forwarder), 0)
        self.assertEqual(SystemCall().keys(self.forwarder._map, KEY_SIZE, 1000), [])

    def test_no_room(self) -> None:
        """At the limit a new flow is refused, and one that is there can be replaced."""
        small = KernelForwarder(max_flows=2)
        self.addCleanup(small.close)
        for port in (1, 2):
            small.add(dataclasses.replace(self.flow, source=("10.9.0.2", port)))
        error = self.assertRaises(MediaEngineError, small.add, self.flow)
        self.assertIn("2 flows", str(error))
        small.add(dataclasses.replace(self.flow, source=("10.9.0.2", 1)))
        self.assertEqual(len(small), 2)

    def test_unusable_addresses(self) -> None:
        """Names, addresses of many and of nobody, and mixed versions are refused."""
        for host in ("bob.example", "", "0.0.0.0", "239.1.1.1", "ff02::1", "fe80::1", "::"):
            for field in ("source", "destination", "new_source", "new_destination"):
                self.check_refused("address", **{field: (host, 5000)})
        self.check_refused("version", new_destination=("fd09:1::2", 6000), new_source=("fd09:1::1", 8000))
        self.check_refused("version", source=("fd09::2", 6000))

    def test_no_way_out(self) -> None:
        """Where no route leads, from an address that is not ours, or to everybody, no flow does."""
        self.check_refused("unreachable", new_destination=("203.0.113.1", 6000))
        self.check_refused("route from", new_source=("203.0.113.1", 8000))
        self.check_refused("no address of one machine", new_destination=("10.9.1.255", 6000))
        self.crossing.middle.configure("route add blackhole 198.51.100.0/24")
        self.check_refused("route", new_destination=("198.51.100.1", 6000))

    def test_impossible_values(self) -> None:
        """What does not fit in an entry is refused."""
        self.check_refused("port", new_destination=("10.9.1.2", 0))
        self.check_refused("payload type", payload_type=200)
        self.check_refused("too many", upward_payload_types=(1, 2, 3, 4, 5))

    def test_unknown_keys(self) -> None:
        """There is nothing to count or remove, whatever the key."""
        for key in (self.flow.key, (("x", 1), ("y", 2)), (("10.9.0.2", -1), ("10.9.0.1", 1))):
            self.assertIsNone(self.forwarder.counters(key))
            self.assertIsNone(self.forwarder.remove(key))


class RouteTests(ForwarderTestCase):
    """What is asked of the kernel."""

    def test_interface_of(self) -> None:
        """The one with the address; of the loopback network each address is there."""
        found = {
            host: self.forwarder.interface_of(host)
            for host in ("10.9.0.1", "10.9.1.1", "fd09::1", "fd09:1:0::1", "127.0.0.1", "127.1.2.3", "::1")
        }
        self.assertEqual(list(found.values()), ["left", "right", "left", "right", "lo", "lo", "lo"])

    def test_interface_of_nobody(self) -> None:
        """An address of another machine, or none at all, has none."""
        for host in ("10.9.0.2", "192.0.2.77", "fd09::2", "::2", "x.example", ""):
            self.assertRaises(MediaEngineError, self.forwarder.interface_of, host)

    def test_route(self) -> None:
        """Where it leaves, and how large packets may be."""
        self.crossing.middle.configure(
            "link set right mtu 1400",
            "route add 198.51.100.0/24 via 10.9.1.2 mtu 1280",
            "route add default via fd09::2",
        )
        left, right = (routes.interface_index(name) for name in ("left", "right"))
        for source, destination, interface, mtu in (
            ("10.9.1.1", "10.9.1.2", right, 1400),
            ("10.9.1.1", "198.51.100.7", right, 1280),
            ("fd09::1", "2001:db8::1", left, 1500),
        ):
            route = routes.route_to(destination, source)
            self.assertEqual((route.kind, route.interface, route.mtu), (routes.RouteKind.UNICAST, interface, mtu))
        local = routes.route_to("10.9.0.1", "10.9.1.1")
        self.assertEqual((local.kind, local.interface), (routes.RouteKind.LOCAL, routes.interface_index("lo")))


class ProgramTests(ForwarderTestCase):
    """Programs that the kernel refuses."""

    def test_the_verifier_says_why(self) -> None:
        """Its reason is in the error, in one line."""
        wrong = assemble([move(Register.R0, Register.R5), leave()])
        error = self.assertRaises(
            MediaEngineError, SystemCall().load_program, name="wrong", instructions=wrong, license_name="MIT"
        )
        self.assertEqual(str(error), "bpf cannot load the program wrong: Permission denied: R5 !read_ok")

    def test_no_descriptors_are_left(self) -> None:
        """Neither of what was closed nor of what failed."""
        before = len(os.listdir("/proc/self/fd"))
        self.assertIsNone(explain_unavailable())
        KernelForwarder().close()
        self.assertRaises(MediaEngineError, KernelForwarder, max_flows=0)
        self.assertRaises(MediaEngineError, self.forwarder.interface_of, "192.0.2.77")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)

    def test_without_privileges(self) -> None:
        """A process that may not do it is told so in one line."""
        script = (
            "import os; from sipd.media.kernel.forwarder import explain_unavailable\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534); print(explain_unavailable())"
        )
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("CAP_BPF", result.stdout)
        self.assertEqual(result.stdout.count("\n"), 1)
