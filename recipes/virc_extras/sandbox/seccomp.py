"""The system calls that are refused inside the sandbox, as filters that libseccomp makes.

Of what Linux offers to a process, these calls have nothing to do with computing on images, and many faults of kernels
were in them. Without `fork` the process stays the only one; without `socket` it has no network, not even its own.
Nothing that it can call continues it where it was stopped, changes a file that it does not own alone, or takes of what
all programs of the machine share.
"""

import ctypes
import os
from functools import cache

_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
_SUCCESS, _EPERM, _ENOSYS = 0, 1, 38
_NOT_EQUAL, _MASKED = 1, 7  # SCMP_CMP_NE, SCMP_CMP_MASKED_EQ
_OPTIMIZE, _TREE = 8, 2  # SCMP_FLTATR_CTL_OPTIMIZE: as a binary tree
_THREAD = 0x10000  # CLONE_THREAD
_INT = 0xFFFFFFFF  # the bits of an int
_AF_UNIX = 1
_SET_PDEATHSIG, _SET_DUMPABLE = 1, 4  # options of prctl
_SET_SECCOMP = 22
_FCNTL = (10, 1024, 1026, 1031)  # F_SETSIG, F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ
_LOCKS = (6, 7, 37, 38)  # F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_MAP_HUGETLB = 0x40000
_IOCTL_CLASS, _OF_SOCKETS = 0xFF00, 0x8900  # SIOC* of <linux/sockios.h>
_SIGCONT = 18
_SENDS = {"kill": 1, "tkill": 1, "tgkill": 2, "rt_sigqueueinfo": 1, "rt_tgsigqueueinfo": 2}
"""Calls that send signals, and which of their arguments is the signal's number."""
REFUSED = (
    "fork vfork socket ptrace process_vm_readv process_vm_writev process_madvise pidfd_open pidfd_getfd "
    "pidfd_send_signal kcmp mount umount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig "
    "fsmount fspick mount_setattr unshare setns keyctl add_key request_key bpf perf_event_open userfaultfd "
    "io_uring_setup io_uring_enter io_uring_register kexec_load kexec_file_load init_module finit_module delete_module "
    "open_by_handle_at name_to_handle_at quotactl quotactl_fd reboot swapon swapoff syslog acct settimeofday "
    "clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt personality memfd_create memfd_secret shmget shmat "
    "shmctl semget msgget mq_open fanotify_init fanotify_mark lookup_dcookie vhangup landlock_create_ruleset uselib "
    "ustat sysfs _sysctl nfsservctl move_pages migrate_pages mbind set_mempolicy sethostname setdomainname "
    "setsockopt timer_create io_setup io_submit sync syncfs splice tee vmsplice inotify_init inotify_init1 "
    "inotify_add_watch chown lchown fchown fchownat setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"
).split()
"""Names of the calls; those that a kernel or an architecture does not have are passed over."""
IGNORED = "chmod fchmod fchmodat utime utimes futimesat utimensat flock".split()
"""Calls that succeed and do nothing: where virc runs as root, the code owns the nodes of the devices; a lock is one of
the file of this machine, and nobody else is there to be kept out."""
_UNIFIED = range(424, 600)  # numbers that new calls get on all architectures
_NEW_AND_ALLOWED = {436, 437, 439, 441, 449, 453, 454, 455, 456, 462}
# close_range, openat2, faccessat2, epoll_pwait2, futex_waitv, map_shadow_stack, futex_{wake,wait,requeue}, mseal


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
    found.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    found.seccomp_release.argtypes = [ctypes.c_void_p]
    return found


@cache
def program() -> bytes:
    """Raises OSError: libseccomp is not installed, or refuses a rule."""
    rules = _Rules()
    for name in REFUSED:
        rules.refuse(name, _EPERM)
    for name in IGNORED:
        rules.refuse(name, _SUCCESS)
    rules.refuse("clone3", _ENOSYS)  # C libraries then call clone, whose flags a filter can read
    rules.refuse("clone", _EPERM, _Compared(0, _MASKED, _THREAD, 0))
    rules.refuse("prctl", _EPERM, _Compared(0, _MASKED, _INT, _SET_PDEATHSIG))  # it ends with its parent
    rules.refuse("socketpair", _EPERM, _Compared(0, _NOT_EQUAL, _AF_UNIX))  # others load modules of the kernel
    for command in (*_FCNTL, *_LOCKS):  # locks are as `flock`, and take memory of the kernel without a bound
        rules.refuse("fcntl", _SUCCESS if command in _LOCKS else _EPERM, _Compared(1, _MASKED, _INT, command))
    rules.refuse("mmap", _EPERM, _Compared(3, _MASKED, _MAP_HUGETLB, _MAP_HUGETLB))  # pages that were set aside
    rules.refuse("ioctl", _EPERM, _Compared(1, _MASKED, _IOCTL_CLASS, _OF_SOCKETS))  # some load modules, too
    for name, argument in _SENDS.items():  # a SIGSTOP that waits for its thread is lost with a SIGCONT
        rules.refuse(name, _EPERM, _Compared(argument, _MASKED, _INT, _SIGCONT))
    rules.refuse_new()
    return rules.exported()


@cache
def last_program() -> bytes:
    """The filter that is added before code of a model runs: no program is started, no memory is dumped, and no further
    filter added, for which the kernel has a limit for all users.
    """
    rules = _Rules()
    rules.refuse("execve", _EPERM)
    rules.refuse("execveat", _EPERM)
    rules.refuse("seccomp", _EPERM)
    for option in (_SET_DUMPABLE, _SET_SECCOMP):
        rules.refuse("prctl", _EPERM, _Compared(0, _MASKED, _INT, option))
    return rules.exported()


class _Rules:
    def __init__(self) -> None:
        found = library()
        if found is None:
            raise OSError("libseccomp.so.2 is not installed")
        self._library, self._numbers = found, set[int]()
        self._context = found.seccomp_init(_ALLOW)
        found.seccomp_attr_set(self._context, _OPTIMIZE, _TREE)  # an older library goes without

    def refuse(self, name: str, error: int, *compared: _Compared) -> None:
        """Have a call end with an error, where its arguments compare so; one that there is not is passed over."""
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            self._add(number, error, compared)

    def refuse_new(self) -> None:
        """Refuse the calls that kernels have got, or will get, and that no rule names."""
        if self._library.seccomp_syscall_resolve_name(b"close_range") != 436:  # it would pass over clone3, too
            raise OSError("libseccomp is older than 2.5.1")
        for number in _UNIFIED:
            if number not in self._numbers | _NEW_AND_ALLOWED:
                self._add(number, _ENOSYS, ())

    def _add(self, number: int, error: int, compared: tuple[_Compared, ...]) -> None:
        rules = (_Compared * len(compared))(*compared)
        if self._library.seccomp_rule_add_array(self._context, _REFUSE | error, number, len(compared), rules):
            raise OSError(f"libseccomp takes no rule for call {number}")
        self._numbers.add(number)

    def exported(self) -> bytes:
        file = os.memfd_create("seccomp")
        try:
            if self._library.seccomp_export_bpf(self._context, file):
                raise OSError("libseccomp cannot write its filter")
            return os.pread(file, 2**20, 0)
        finally:
            os.close(file)
            self._library.seccomp_release(self._context)
