"""The system calls that are refused inside the sandbox, as a filter that libseccomp makes.

Of what Linux offers to a process, these calls have nothing to do with computing on images, and many faults of kernels
were in them. Without `fork` the process stays the only one; without `socket` it has no network, not even its own.
"""

import ctypes
import os
from functools import cache

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
_EPERM, _ENOSYS = 1, 38
_MASKED = 7  # SCMP_CMP_MASKED_EQ
_THREAD = 0x10000  # CLONE_THREAD
_ANY, _SET_PDEATHSIG = 0xFFFFFFFF, 1  # the bits of the option of prctl
REFUSED = (
    "fork vfork socket ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd "
    "pidfd_send_signal kcmp mount umount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig "
    "fsmount fspick mount_setattr unshare setns keyctl add_key request_key bpf perf_event_open userfaultfd "
    "io_uring_setup io_uring_enter io_uring_register kexec_load kexec_file_load init_module finit_module delete_module "
    "open_by_handle_at name_to_handle_at quotactl quotactl_fd reboot swapon swapoff syslog acct settimeofday "
    "clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt personality memfd_create memfd_secret shmget shmat "
    "shmctl semget msgget mq_open fanotify_init fanotify_mark lookup_dcookie vhangup landlock_create_ruleset uselib "
    "ustat sysfs _sysctl nfsservctl move_pages migrate_pages mbind set_mempolicy sethostname setdomainname"
).split()
"""Names of the calls; those that a kernel or an architecture does not have are passed over."""


class _Compared(ctypes.Structure):
    """`struct scmp_arg_cmp` of <seccomp.h>."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


@cache
def library() -> ctypes.CDLL | None:
    """libseccomp; None where it is not installed."""
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    found.seccomp_init.restype = ctypes.c_void_p
    found.seccomp_init.argtypes = [ctypes.c_uint32]
    found.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compared),
    ]  # fmt: skip
    found.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    return found


@cache
def program() -> bytes:
    """The filter, as the kernel takes it.

    Raises:
        OSError: libseccomp is not installed, or refuses a rule.
    """
    found = library()
    if found is None:
        raise OSError("libseccomp.so.2 is not installed")
    context = found.seccomp_init(_ALLOW)
    try:
        for name in REFUSED:
            _refuse(found, context, name, _EPERM)
        _refuse(found, context, "clone3", _ENOSYS)  # C libraries then call clone, whose flags a filter can read
        _refuse(found, context, "clone", _EPERM, _Compared(0, _MASKED, _THREAD, 0))
        # It ends with its parent, and may not ask the kernel to change that.
        _refuse(found, context, "prctl", _EPERM, _Compared(0, _MASKED, _ANY, _SET_PDEATHSIG))
        return _exported(found, context)
    finally:
        found.seccomp_release(context)


def _refuse(found: ctypes.CDLL, context: int, name: str, error: int, *compared: _Compared) -> None:
    number = found.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return
    rules = (_Compared * len(compared))(*compared)
    if found.seccomp_rule_add_array(context, _REFUSE | error, number, len(compared), rules):
        raise OSError(f"libseccomp takes no rule for {name}")


def _exported(found: ctypes.CDLL, context: int) -> bytes:
    file = os.memfd_create("seccomp")
    try:
        if found.seccomp_export_bpf(context, file):
            raise OSError("libseccomp cannot write its filter")
        return os.pread(file, 2**20, 0)
    finally:
        os.close(file)
