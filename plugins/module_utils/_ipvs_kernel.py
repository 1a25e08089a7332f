# Copyright (c) 2026 linuxvirtualserver.lvs contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's IPVS table: read it, write operations to it, say in words what the kernel refused."""

from __future__ import annotations

import errno
import io
import os
import struct
from functools import partial
from itertools import islice
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, TypeVar

from . import _ipvs_listing as listing
from . import _ipvs_model as model
from . import _ipvs_wire as wire
from ._errors import LvsError
from ._genl import Connection, FamilyMissing, GenlError, Payload, RepliesLost, Run, attributes
from ._ipvs_diff import (
    ADD_DESTINATION,
    ADD_SERVICE,
    DEL_DESTINATION,
    DEL_SERVICE,
    SET_DESTINATION,
    SET_SERVICE,
    Operation,
)
from ._ipvs_model import Connections, Destination, DestinationKey, Entry, Service, ServiceKey, Table
from ._kernel_modules import AVAILABLE, MISSING, UNKNOWN, KernelModules

FAMILY = "IPVS"
PROC_TABLE = "/proc/net/ip_vs"
# Up to here services are asked for one by one; beyond, listing the whole table costs less.
SINGLE_REQUESTS = 16
READ_ATTEMPTS = 3

_COMMANDS = {
    ADD_SERVICE: wire.NEW_SERVICE,
    SET_SERVICE: wire.SET_SERVICE,
    DEL_SERVICE: wire.DEL_SERVICE,
    ADD_DESTINATION: wire.NEW_DESTINATION,
    SET_DESTINATION: wire.SET_DESTINATION,
    DEL_DESTINATION: wire.DEL_DESTINATION,
}

_SERVICE_NAMES = (
    "family", "protocol", "address", "port", "fwmark", "scheduler", "flags", "timeout", "netmask", "engine",
)  # fmt: skip
_DESTINATION_NAMES = (
    "family", "address", "port", "forwarding", "weight", "upper_threshold", "lower_threshold",
    "tunnel_type", "tunnel_port", "tunnel_flags",
)  # fmt: skip
_COUNTER_NAMES = ("family", "address", "port", "active", "inactive", "persistent")

_read_service = wire.Reader(wire.SERVICE, _SERVICE_NAMES, (0, 0, b"", 0, 0, "none", 0, 0, 0, ""))
_read_destination = wire.Reader(wire.DESTINATION, _DESTINATION_NAMES, (0, b"", 0, 0, 0, 0, 0, 0, 0, 0))
_read_counters = wire.Reader(wire.DESTINATION, _COUNTER_NAMES, (0, b"", 0, 0, 0, 0))
_STATS_KINDS = ("stats64", "stats")  # the better one first
_read_service_stats = {kind: wire.Reader(wire.SERVICE, (kind,), ({},)) for kind in _STATS_KINDS}
_read_destination_stats = {
    kind: wire.Reader(wire.DESTINATION, ("family", "address", "port", kind), (0, b"", 0, {})) for kind in _STATS_KINDS
}
_cut_destination = wire.Cutter(wire.DESTINATION, _DESTINATION_NAMES)
_Destinations = Dict[DestinationKey, Destination]


_READING = "Reading the IPVS table"
_Result = TypeVar("_Result")


def _repeated(read: Callable[[], _Result]) -> _Result:
    """What ``read`` returns, asked for again when the kernel's answers were lost: reading does no harm."""
    for _attempt in range(READ_ATTEMPTS - 1):
        try:
            return _allowed(read)
        except RepliesLost:
            continue
    return _allowed(read)


def _allowed(read: Callable[[], _Result]) -> _Result:
    try:
        return read()
    except GenlError as exc:
        if exc.errno == errno.EPERM:
            raise LvsError(_NOT_ALLOWED.format(what="Reading")) from exc
        if exc.errno == errno.ENOENT:  # nothing that is read can be missing but all of it
            raise Unloaded(_UNLOADED) from exc
        raise


class Unloaded(LvsError):
    """Module ip_vs went away, and its table with it."""


class Failure(NamedTuple):
    """An operation that the kernel refused."""

    operation: Operation
    errno: int

    def explain(self) -> str:
        """What was asked, what the kernel said, and what to do."""
        return f"{self.operation.describe()} was refused: {_reason(self.operation, self.errno)}"


class Statistics(NamedTuple):
    """What the kernel has counted for a service and its realservers since they were added."""

    service: dict[str, int]
    destinations: dict[DestinationKey, dict[str, int]]


class KernelTable:
    """The IPVS table of the network namespace that this process is in."""

    def __init__(self, connection: Connection, family: int, proc: str = PROC_TABLE) -> None:
        self._connection = connection
        self._family = family
        self._proc = proc
        self._expected: dict[ServiceKey, _Destinations] = {}
        self._packed: tuple[_Destinations, set[bytes]] = ({}, set())

    @classmethod
    def open(
        cls,
        load: bool,
        modules: KernelModules,
        connect: Callable[[], Connection] = Connection,
        proc: str = PROC_TABLE,
        must_exist: bool = True,
    ) -> KernelTable | None:
        """The table, or None where ip_vs is only not loaded and ``load`` does not allow to load it.

        Looking the family up makes the kernel load ip_vs by itself; so the file in /proc is asked first. With
        ``must_exist`` a kernel that cannot have ip_vs is an error.
        """
        state = AVAILABLE
        if not os.path.exists(proc):
            state = modules.state("ip_vs")
            if state == MISSING and must_exist:
                raise LvsError(missing_ip_vs(modules))
            if not load and state in (AVAILABLE, UNKNOWN, MISSING):
                return None
        connection = connect()
        try:
            return cls(connection, connection.family(FAMILY), proc)
        except FamilyMissing as exc:
            if not load:
                connection.close()
                return None
            said = modules.load("ip_vs")
            try:
                return cls(connection, connection.family(FAMILY), proc)
            except FamilyMissing:
                connection.close()
                raise LvsError(missing_ip_vs(modules, said)) from exc

    def close(self) -> None:
        """Give the socket back."""
        self._connection.close()

    def request(self, command: int, payload: bytes, doing: str) -> list[Payload]:
        """One request of the family IPVS with its replies; for what is not in the table itself."""
        return _allowed(lambda: self._connection.request(self._family, command, payload, doing))

    def dump(self, command: int, payload: bytes, doing: str) -> list[Payload]:
        """One dump of the family IPVS, asked for again when the kernel's answers were lost."""
        return _repeated(lambda: self._connection.dump(self._family, command, payload, doing))

    # ---- reading

    def read(self, keys: Iterable[ServiceKey] | None = None) -> Table:
        """The services ``keys``, or all of them, with their realservers."""
        if keys is None:
            return self.entries(self.services().values())
        named = list(keys)
        if len(named) <= SINGLE_REQUESTS:
            return self.entries(self._services_one_by_one(named).values())
        everything = self.services()
        return self.entries(everything[key] for key in named if key in everything)

    def verify(self, keys: list[ServiceKey], goal: Table) -> Table:
        """The services ``keys`` as they are now, after all writes that lead to ``goal`` were acknowledged.

        Of many services, those that the kernel's own text shows as the goal has them are not asked for again.
        """
        if len(keys) <= SINGLE_REQUESTS:
            return self.read(keys)
        try:
            # At once, and by no buffer: the kernel counts from the first service at every read.
            with open(self._proc, "rb", buffering=0) as stream:
                right = listing.as_wanted(io.BytesIO(stream.read()), goal.values())
        except OSError:  # not there for this process
            right = set()
        doubtful = [key for key in keys if key not in right]
        read = self.read(doubtful) if doubtful else {}
        return {key: goal[key] if key in right else read[key] for key in keys if key in right or key in read}

    def expect(self, expected: dict[ServiceKey, _Destinations]) -> None:
        """Say which realservers are likely to be found: who is found as expected need not be taken apart."""
        self._expected = expected

    def entries(self, services: Iterable[Service]) -> Table:
        """These services with their realservers, which take one request per service."""
        return {service.key: self._entry(service) for service in services}

    def services(self) -> dict[ServiceKey, Service]:
        """Every service, without realservers."""
        return {service.key: service for service in map(_service, self._service_records())}

    def _service_records(self) -> list[Payload]:
        return _repeated(lambda: self._connection.dump(self._family, wire.GET_SERVICE, b"", _READING))

    def _services_one_by_one(self, keys: list[ServiceKey]) -> dict[ServiceKey, Service]:
        found: dict[ServiceKey, Service] = {}
        for key in keys:
            request = partial(self._connection.request, self._family, wire.GET_SERVICE, _service_key(key), _READING)
            try:
                replies = _repeated(request)
            except GenlError as exc:
                if exc.errno != errno.ESRCH:
                    raise
                continue
            found.update((key, _service(reply)) for reply in replies)
        return found

    def _entry(self, service: Service) -> Entry:
        key = service.key
        rows = self._rows(key, _cut_destination)
        expected = self._expected.get(key)
        if expected is not None and len(rows) == len(expected) and self._rows_of(expected) == set(rows):
            return Entry(service, expected)
        destinations: _Destinations = {}
        for row in rows:
            values = _read_destination(row, 0, len(row))
            _complete(values, key)
            if values[3] != model.TUN:
                values[7] = values[8] = values[9] = 0
            destinations[(values[0], values[1], values[2])] = Destination._make(values)
        return Entry(service, destinations)

    def _rows_of(self, expected: _Destinations) -> set[bytes]:
        """The rows by which the kernel shows these realservers. Services share pools, so the last ones are kept."""
        if self._packed[0] is not expected:
            head, contents = wire.pack_destinations(expected.values())
            self._packed = (expected, {head + content for content in contents})
        return self._packed[1]

    def _rows(self, key: ServiceKey, cutter: wire.Cutter) -> list[bytes]:
        """What the kernel shows of each realserver of a service, without what the cutter leaves out."""
        rows: list[bytes] = []

        def take(buffer: memoryview) -> bool:
            found = cutter.rows(buffer)
            if found is None:
                return False
            rows.extend(found)
            return True

        def read() -> None:
            rows.clear()
            name = _service_key(key)
            for reply in self._connection.dump(self._family, wire.GET_DESTINATION, name, _READING, take):
                rows.append(cutter.row(*_inside(reply, wire.COMMAND_DESTINATION)))

        _repeated(read)
        return rows

    def _records(self, key: ServiceKey, reader: wire.Reader) -> list[list[Any]]:
        """The values of each realserver of a service: family, address, port and what else the reader reads."""
        records = []
        for row in self._rows(key, reader.cutter):
            values = reader(row, 0, len(row))
            _complete(values, key)
            records.append(values)
        return records

    def connections(self, keys: Iterable[ServiceKey]) -> dict[ServiceKey, dict[DestinationKey, Connections]]:
        """The connections that each realserver of these services has at this moment."""
        result = {}
        for key in keys:
            result[key] = {
                (family, address, port): Connections(*counted)
                for family, address, port, *counted in self._records(key, _read_counters)
            }
        return result

    def statistics(self, keys: Iterable[ServiceKey]) -> dict[ServiceKey, Statistics]:
        """What was counted for these services and their realservers."""
        replies = self._service_records()
        kind = "stats"  # kernels before 4.1 have no other
        totals: dict[ServiceKey, dict[str, int]] = {}
        for kind in _STATS_KINDS:
            read = _read_service_stats[kind]
            totals = {_service(reply).key: read(*_inside(reply, wire.COMMAND_SERVICE))[0] for reply in replies}
            if any(totals.values()):
                break
        result = {}
        for key in keys:
            rows = self._records(key, _read_destination_stats[kind])
            counted = {(family, address, port): stats for family, address, port, stats in rows}
            result[key] = Statistics(totals.get(key, {}), counted)
        return result

    def sent(self, keys: Iterable[ServiceKey]) -> tuple[frozenset[str], frozenset[str]]:
        """The names of all that this kernel sends of a service and of a realserver; none where it has none to send.

        Only the first of the services ``keys`` are asked for their realservers.
        """
        service: frozenset[str] = frozenset()
        for reply in self._service_records()[:1]:
            service = _names(wire.SERVICE, _inside(reply, wire.COMMAND_SERVICE))
        for key in islice(keys, SINGLE_REQUESTS):
            for reply in self.dump(wire.GET_DESTINATION, _service_key(key), _READING):
                return service, _names(wire.DESTINATION, _inside(reply, wire.COMMAND_DESTINATION))
        return service, frozenset()

    # ---- writing

    def apply(self, operations: list[Operation]) -> list[Failure]:
        """Carry out the operations in order, many at once; those that the kernel refused.

        The kernel does not stop at the first refusal, so others after it may have been carried out.
        """
        try:
            result = self._connection.batch(self._family, _requests(operations))
        except GenlError as exc:
            if exc.errno == errno.EPERM:
                raise LvsError(_NOT_ALLOWED.format(what="Changing")) from exc
            raise
        if errno.ENOENT in result.failed.values():
            self.request(wire.GET_INFO, b"", _READING)  # that, or the whole of IPVS is missing
        return [Failure(operations[index], number) for index, number in sorted(result.failed.items())]


def _requests(operations: list[Operation]) -> Iterator[Run]:
    """Operations as requests: what follows one another for one service and alike shares its beginning."""
    position = 0
    named: Service | None = None
    around = b""
    while position < len(operations):
        action, service, destination = operations[position]
        start = position
        position += 1
        if service is not named:
            named, around = service, _service_key(service[:5])
        if destination is None:
            yield Run(_COMMANDS[action], b"", [around if action == DEL_SERVICE else _whole_service(service)])
            continue
        while position < len(operations):
            other_action, other_service, other = operations[position]
            if other is None or other_service is not service or other_action != action:
                break
            position += 1
        records = [operation[2] for operation in operations[start:position] if operation[2] is not None]
        head, contents = wire.pack_destinations(records)
        inside = wire.nest(wire.COMMAND_DESTINATION, head + contents[0])[:4]
        yield Run(_COMMANDS[action], around + inside + head, contents)


def restore(path: str) -> dict[str, Any]:
    """Bring the table saved at ``path`` back: what the boot unit calls."""
    from ._ipvs_reconcile import restore as restore_saved  # the run stands above this file, this is only its door

    return restore_saved(path)


# ---- records


_ATTRIBUTE = struct.Struct("=HH")


def _inside(reply: Payload, number: int) -> Payload:
    """The content of the one attribute that a reply consists of."""
    if reply.end - reply.start >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(reply.buffer, reply.start)
        if kind & 0x3FFF == number and _ATTRIBUTE.size <= length <= reply.end - reply.start:
            return Payload(reply.buffer, reply.start + 4, reply.start + length)
    for kind, start, end in attributes(reply.buffer, reply.start, reply.end):
        if kind == number:
            return Payload(reply.buffer, start, end)
    raise LvsError("The kernel's answer about the IPVS table holds no record where one belongs.")


def _names(table: tuple[wire.Attribute, ...], record: Payload) -> frozenset[str]:
    known = {attribute.number: attribute.name for attribute in table}
    return frozenset(known[number] for number, _start, _end in attributes(*record) if number in known)


def _packed(family: int, address: bytes) -> bytes:
    """The bytes that an address has in its family; the kernel always sends 16."""
    if family not in model.FAMILY_NAMES or not address:
        raise LvsError(f"The kernel's answer about the IPVS table lacks an address, or has it of family {family}.")
    return address[:4] if family == model.IPV4 else address


def _service(reply: Payload) -> Service:
    family, protocol, address, port, fwmark, scheduler, flags, timeout, netmask, engine = _read_service(
        *_inside(reply, wire.COMMAND_SERVICE)
    )
    address = _packed(family, bytes(16) if fwmark else address)
    flags &= model.MEANT_FLAGS
    if flags & model.PERSISTENT:
        netmask = wire.netmask_from_wire(family, netmask)
    else:
        timeout, netmask = 0, model.FULL_NETMASK[family]
    if fwmark:
        protocol, address, port = 0, b"", 0
    return Service(family, protocol, address, port, fwmark, scheduler, flags, timeout, netmask, engine)


def _complete(values: list[Any], service: ServiceKey) -> None:
    """Make family and address of a realserver what the model wants them to be."""
    if not values[0]:
        values[0] = service[0]  # kernels before 3.18 send no family: it is the service's
    values[1] = _packed(values[0], values[1])


def _service_key(key: ServiceKey) -> bytes:
    return wire.nest(wire.COMMAND_SERVICE, wire.pack_service_key(*key))


def _whole_service(service: Service) -> bytes:
    settings = wire.pack_service_settings(
        service.scheduler,
        (service.flags, model.MEANT_FLAGS),
        service.timeout,
        wire.netmask_to_wire(service.family, service.netmask),
        service.engine,
    )
    return wire.nest(wire.COMMAND_SERVICE, wire.pack_service_key(*service.key) + settings)


# ---- words

_UNLOADED = (
    "Module ip_vs was unloaded during this run. There is no table now, which is the same as an empty one. Run again to "
    "load the module and fill it."
)

_NOT_ALLOWED = (
    "{what} the IPVS table is not allowed: the kernel answered EPERM. It needs root (CAP_NET_ADMIN) in the initial "
    "user namespace; use become, and note that root inside a rootless container or a user namespace is not enough."
)


def missing_ip_vs(modules: KernelModules, said: str = "") -> str:
    """Why there is no IPVS, and what would bring it."""
    text = f"The running kernel {modules.release} has no IPVS: module ip_vs "
    if modules.installed() and modules.state("ip_vs") == MISSING:
        text += f"is neither built in nor in {modules.folder}."
    elif said:
        text += f"could not be loaded: {said.rstrip('.')}."
    else:
        text += "is not loaded."
    if not modules.installed():
        text += (
            f" {modules.folder} does not exist here: in a container load ip_vs on the container's host; after a kernel "
            "update reboot into the new kernel."
        )
    return text + (
        " IPVS comes with the kernel option CONFIG_IP_VS (package linux-image-amd64 or its like on Debian, "
        f"linux-modules-extra-{modules.release} on Ubuntu, kernel-modules-core or kernel-modules on Red Hat systems)."
    )


def _reason(operation: Operation, number: int) -> str:
    name = errno.errorcode.get(number, str(number))
    service = operation.service
    on_service = operation.destination is None
    if number == errno.ENOENT and on_service:
        engine = f" or persistence engine {service.engine} (module ip_vs_pe_{service.engine})" if service.engine else ""
        return (
            f"the kernel ({name}) has no scheduler {service.scheduler} (module ip_vs_{service.scheduler}){engine}. "
            "Load the module, or install the package that holds it, or choose another."
        )
    words = {
        errno.EEXIST: "it exists already",
        errno.ESRCH: "its service does not exist",
        errno.ENOENT: "it does not exist",
        errno.EAFNOSUPPORT: "IPv6 is switched off in this kernel, or IPVS was built without CONFIG_IP_VS_IPV6",
        errno.ERANGE: "the weight is negative or the lower threshold is above the upper one",
        errno.EPERM: _NOT_ALLOWED.format(what="Changing"),
        errno.ENOPROTOOPT: "module ip_vs is being unloaded",
        errno.ENOMEM: "the kernel has no memory left for it",
    }
    if number == errno.EINVAL and operation.destination is not None:
        family, address, _port = operation.destination.key
        if family != service.family:
            return (
                f"the kernel ({name}) takes a realserver of another address family only with forwarding tun and only "
                "while no connection synchronisation daemon runs."
            )
        return (
            f"the kernel ({name}) does not take {model.address_text(family, address)} as a realserver. It must be a "
            "unicast address, not a link-local one unless it is the director's own; a gue tunnel needs a port; and "
            "a director without a single address (not even lo is up) takes none."
        )
    if number in words:
        return f"{words[number]} ({name})."
    return f"{os.strerror(number)} ({name})."
