"""System calls that the sandbox refuses, as a seccomp filter (a small BPF program that bubblewrap loads).

Namespaces and limits do the work; this closes the ways around them: new namespaces (with their own mounts of any size),
memory that belongs to no process and so is counted nowhere (memfd, shared memory, semaphores and queues of System V and
POSIX, large buffers of sockets), socket families that a network namespace does not keep apart (vsock reaches the
hypervisor), and rarely used doors into the kernel.
"""

import platform
import struct
from collections.abc import Sequence

ENOSYS, EPERM = 38, 1
NEW_NAMESPACE = 0x7E020000  # the CLONE_NEW* flags of clone()
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK

# Numbers from the kernel's headers: (x86_64, aarch64).
REFUSED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "ptrace": (101, 117),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
CLONE, CLONE3, SOCKET, SETSOCKOPT = (56, 220), (435, 435), (41, 198), (54, 208)
SOL_SOCKET, BUFFERS = 1, (7, 8)  # SO_SNDBUF, SO_RCVBUF
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH_*

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF instructions
NUMBER, ARCHITECTURE, ARGUMENT_0, ARGUMENT_1, ARGUMENT_2 = 0, 4, 16, 24, 32  # offsets in struct seccomp_data
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # FAIL | errno


def filter_program(machine: str = platform.machine(), families: Sequence[int] = FAMILIES) -> bytes:
    """The filter for this kind of machine, which lets these families of sockets through.

    Raises:
        KeyError: for machines whose system call numbers are not listed here.
    """
    column, architecture = MACHINES[machine]
    program = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    program += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, KILL)]  # the x32 numbers
    for numbers in REFUSED.values():
        program += [(EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, FAIL | EPERM)]
    # clone3 hides its flags in memory; without it libraries fall back on clone
    program += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, FAIL | ENOSYS)]
    program += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, ARGUMENT_0), (ANY_BIT, 0, 1, NEW_NAMESPACE)]
    program += [(RETURN, 0, 0, FAIL | EPERM), (RETURN, 0, 0, ALLOW)]
    # this is said to have worked, since libraries give up where it does not
    program += [(EQUAL, 0, 7, SETSOCKOPT[column]), (LOAD, 0, 0, ARGUMENT_1), (EQUAL, 0, 4, SOL_SOCKET)]
    program += [(LOAD, 0, 0, ARGUMENT_2), (EQUAL, 1, 0, BUFFERS[0]), (EQUAL, 0, 1, BUFFERS[1])]
    program += [(RETURN, 0, 0, FAIL), (RETURN, 0, 0, ALLOW)]
    program += [(EQUAL, 0, len(families) + 2, SOCKET[column]), (LOAD, 0, 0, ARGUMENT_0)]
    program += [(EQUAL, len(families) - i, 0, family) for i, family in enumerate(families)]
    program += [(RETURN, 0, 0, FAIL | EPERM), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
