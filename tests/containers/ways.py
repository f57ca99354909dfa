"""The ways round, as data: what a container does, and which of the tests' rules must notice.

Numbers are those of THREAT_MODEL.md's table; a letter tells several forms of one idea apart.
"""

from typing import NamedTuple

SHADOW = "test_watched_file_opened"
NAME = "test_watched_name_opened"
PROGRAM = "test_watched_program_run"
FILELESS = "test_program_without_file"
NEW = "test_new_program_run"
APPLET = "test_watched_applet_run"
ARGUMENT = "test_watched_argument"
SCRIPT = "test_watched_script_opened"
CUT = "test_cut_arguments"

OPENER, RUNNER, HOSTILE = "/opt/opener", "/opt/runner", "/opt/hostile"
WORD = ("/bin/true", "watched", "word")
"""What /opt/hostile runs, and the two parts of the word that it gives it."""


class Way(NamedTuple):
    """One trial."""

    number: str
    text: str
    command: tuple[str, ...]
    """Run in a fresh container; must succeed, else the trial shows nothing."""
    rule: str = ""
    """Which must raise an alert, the tests' or a shipped one; empty for a limit: none of the tests' rules may."""
    capabilities: tuple[str, ...] = ()
    """Beyond docker's default set."""

    @property
    def is_limit(self) -> bool:
        return not self.rule


# A command line may not itself hold the word that the way hides: the shell that is given it would be detected instead.


def shell(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text)


WAYS = (
    Way(
        "1a",
        "the name of a file is swapped while it is opened",
        ("/opt/swapper", "open", "/etc/hosts", "/etc/shadow", "50"),
        SHADOW,
    ),
    Way(
        "1b",
        "the name of a program is swapped while it is run",
        ("/opt/swapper", "exec", "/bin/true", "/opt/status7", "3"),
        PROGRAM,
    ),
    Way("2a", "a relative name, from another working directory", (OPENER, "chdir", "/etc/shadow"), SHADOW),
    Way("2b", "an O_PATH descriptor, opened again", (OPENER, "path-fd", "/etc/shadow"), SHADOW),
    Way("3", "through a folder's link and ..", shell("ln -s /var/log /tmp/l && cat /tmp/l/../../etc/shadow"), SHADOW),
    Way("4a", "/proc/self/root", shell("cat /proc/self/root/etc/shadow"), SHADOW),
    Way("4b", "/proc/self/cwd", shell("cd /etc && cat /proc/self/cwd/shadow"), SHADOW),
    Way("4c", "/proc/1/root", shell("cat /proc/1/root/etc/shadow"), SHADOW),
    Way("4d", "/proc/thread-self/root", shell("cat /proc/thread-self/root/etc/shadow"), SHADOW),
    Way("4e", "/dev/fd of a folder", shell("exec 7</etc && cat /proc/self/fd/7/shadow"), SHADOW),
    Way("5", "an own link to a watched folder", shell("ln -s /etc /tmp/harmless && cat /tmp/harmless/shadow"), SHADOW),
    Way("6a", "a hard link to a watched file", shell("ln /etc/shadow /tmp/harmless && cat /tmp/harmless")),
    Way(
        "6b",
        "a bind mount of a watched file",
        shell("touch /tmp/harmless && mount --bind /etc/shadow /tmp/harmless && cat /tmp/harmless"),
        capabilities=("CAP_SYS_ADMIN",),
    ),
    Way(
        "7",
        "a program under another, trusted name",
        shell("cp /opt/status7 /usr/sbin/sshd; /usr/sbin/sshd; [ $? = 7 ]"),
        NEW,
    ),
    Way("8a", "an applet by its link", shell("httpd --help 2>/dev/null; true"), APPLET),
    Way("8b", "an applet by the multi-call program", shell("busybox httpd --help 2>/dev/null; true"), APPLET),
    Way(
        "8c",
        "an applet by an own link",
        shell("ln -s /bin/busybox /tmp/httpd && /tmp/httpd --help 2>/dev/null; true"),
        APPLET,
    ),
    Way("8d", "an applet that busybox's shell runs by itself", shell("w=word; touch /tmp/watched-$w")),
    Way(
        "9a",
        "a script as an interpreter's argument",
        shell("w=word; echo true > /tmp/watched-$w; sh /tmp/watched-$w"),
        ARGUMENT,
    ),
    Way(
        "9b",
        "a script on an interpreter's input",
        shell("echo true > /root/watched-script.sh; sh < /root/watched-script.sh"),
        SCRIPT,
    ),
    Way(
        "9c",
        "a script read by a running shell",
        shell("echo true > /root/watched-script.sh; . /root/watched-script.sh"),
        SCRIPT,
    ),
    Way(
        "10a",
        "the dynamic loader runs the program",
        shell("w=word; /opt/loader /opt/dynamic watched-$w; [ $? = 7 ]"),
        ARGUMENT,
    ),
    Way("10b", "a file's code is mapped by a running program", ("/opt/mapper", "/opt/code")),
    Way("11a", "a program in a memfd", (RUNNER, "memfd", "/bin/busybox", "true"), FILELESS),
    Way("11b", "a program that was removed before it ran", (RUNNER, "deleted", "/bin/busybox", "true"), FILELESS),
    Way("11c", "/proc/self/fd/N", shell(f"{RUNNER} proc-fd /opt/status7 true; [ $? = 7 ]"), PROGRAM),
    Way("11d", "execveat with an empty path", shell(f"{RUNNER} empty-path /opt/status7 true; [ $? = 7 ]"), PROGRAM),
    Way("12", "io_uring opens the file", (OPENER, "io_uring", "/etc/shadow")),
    Way("13a", "the 32-bit execve", shell(f"{RUNNER} int80 /opt/status7 true; [ $? = 7 ]"), PROGRAM),
    Way("13b", "the 32-bit open", (OPENER, "int80", "/etc/shadow")),
    Way("14a", "openat2", (OPENER, "openat2", "/etc/shadow"), SHADOW),
    Way("14b", "creat", (OPENER, "creat", "/etc/shadow"), SHADOW),
    Way("14c", "open, the oldest call", (OPENER, "open", "/etc/shadow"), SHADOW),
    Way(
        "14d",
        "open_by_handle_at",
        shell(f"echo > /dev/shm/watched && {OPENER} handle /dev/shm/watched /dev/shm"),
        SHADOW,
        ("CAP_DAC_READ_SEARCH",),
    ),
    Way("14e", "a detached copy of a mount", (OPENER, "detached-mount", "/etc/shadow"), NAME, ("CAP_SYS_ADMIN",)),
    Way("15a", "padding before the argument that matters", (HOSTILE, "padded", *WORD), ARGUMENT),
    Way("15b", "padding before it and behind it", (HOSTILE, "surrounded", *WORD), CUT),
    Way("16", "an argument of 128 KiB before it", (HOSTILE, "long", *WORD), ARGUMENT),
    Way("17a", "a path of almost 4,096 bytes", (OPENER, "depth", "watched-name", "20"), NAME),
    Way("17b", "a path longer than any name can be", (OPENER, "depth", "watched-name", "40"), NAME),
    Way("17d", "a private key at the end of such a path", (OPENER, "depth", "id_rsa", "40"), "ssh_private_key_read"),
    Way("17e", "a private key far from its folder", (OPENER, "depth", "id_rsa", "15"), "stray_ssh_private_key_read"),
    Way(
        "17c",
        "thousands of mounts upon each other, above the file",
        shell(
            "mkdir /tmp/m && echo > /tmp/m/new && mv /tmp/m/new /tmp/m/watched-name && "
            "for i in $(seq 2200); do mount --bind /tmp/m /tmp/m; done && cat /tmp/m/watched-name"
        ),
        NAME,
        ("CAP_SYS_ADMIN",),
    ),
    Way(
        "23a", "a folder's descriptor that soon means another", (OPENER, "reused-dirfd", "/etc/shadow", "/usr"), SHADOW
    ),
    Way("23b", "a descriptor opened by another process", (OPENER, "passed-descriptor", "/etc/shadow"), SHADOW),
    Way("24", "a name in memory that is not there yet", (OPENER, "cold-page", "/etc/shadow", "/root/cold"), SHADOW),
)
