"""Fields and log sources that Sigma rules name and that no sensor here delivers, with the reason.

A rule that needs one is inactive, not wrong: rule sets written for other
systems load, and ``rules check`` says what they would need.
"""

_NETWORK = "no network sensor yet"
_DNS = "no DNS sensor"
_HASH = "files are not hashed when they run"
_WINDOWS = "a Windows field"
_AUDIT = "an auditd record field; use process_creation or file_access"
_CLOCK = "rules see no wall clock"
_LINEAGE = "not kept with the event"
_ALERT = "of alerts; rules and filters see the event that made them"
_DETAIL = "a detail of documents that rules and filters do not see"

_NAMES: dict[str, str] = {
    **dict.fromkeys(
        (
            "DestinationIp", "DestinationPort", "DestinationHostname", "DestinationIsIpv6", "DestinationPortName",
            "SourceIp", "SourcePort", "SourceHostname", "Initiated", "Protocol",
            "dst_ip", "dst_port", "src_ip", "src_port",
        ),
        _NETWORK,
    ),
    **dict.fromkeys(("QueryName", "QueryResults", "QueryStatus", "query", "answer", "record_type"), _DNS),
    **dict.fromkeys(("Hashes", "md5", "sha1", "sha256", "Imphash", "imphash"), _HASH),
    **dict.fromkeys(
        (
            "IntegrityLevel", "OriginalFileName", "Product", "Company", "Description", "FileVersion", "ParentUser",
            "TargetObject", "Details", "EventID", "EventType", "Provider_Name", "PipeName", "ImageLoaded", "Signed",
            "Signature", "SignatureStatus", "SourceImage", "GrantedAccess", "CallTrace", "StartModule",
            "ScriptBlockText", "Payload", "ContextInfo", "ServiceName", "ServiceFileName", "LogonType",
            "TokenElevationType",
            "LogonId", "LogonGuid", "ProcessGuid", "ParentProcessGuid", "TerminalSessionId", "SubjectUserName",
            "TargetUserName", "WorkstationName", "ShareName", "RelativeTargetName", "CreationUtcTime", "UtcTime",
            "GrandParentImage", "Contents", "Computer", "Channel",
        ),
        _WINDOWS,
    ),
    **dict.fromkeys(
        ("type", "syscall", "SYSCALL", "exe", "comm", "key", "nametype", "auid", "success", "unit", "terminal", "acct",
         "proctitle", "exit", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"),
        _AUDIT,
    ),
    **dict.fromkeys(("event.kind", "event.severity", "event.reason"), _ALERT),
    **dict.fromkeys(("event.category", "event.type"), "event.action says it"),
    **dict.fromkeys(("stockade.cap_effective", "stockade.cap_permitted"), "use process.thread.capabilities.effective"),
    "event.sequence": _DETAIL,
    "message": _DETAIL,
    "Command": "no field of Sigma's taxonomy; write CommandLine",
    "FileMode": "no field of Sigma's taxonomy; write file.mode",
    "@timestamp": _CLOCK,
    "event.created": _CLOCK,
    "host.name": "the same for every event of this service",
}  # fmt: skip

_PREFIXES: dict[str, str] = {
    "destination.": _NETWORK,
    "source.": _NETWORK,
    "server.": _NETWORK,
    "client.": _NETWORK,
    "network.": _NETWORK,
    "url.": _NETWORK,
    "http.": _NETWORK,
    "tls.": _NETWORK,
    "dns.": _DNS,
    "file.hash.": _HASH,
    "process.hash.": _HASH,
    "process.parent.hash.": _HASH,
    "process.entry_leader.": _LINEAGE,
    "process.session_leader.": _LINEAGE,
    "process.group_leader.": _LINEAGE,
    "process.parent.parent.": _LINEAGE,
    "registry.": _WINDOWS,
    "dll.": _WINDOWS,
    "winlog.": _WINDOWS,
    "rule.": _ALERT,
    "threat.": _ALERT,
    "stockade.": _DETAIL,
    "orchestrator.": "pods are container.pod.uid and container.labels.KEY here",
}

_CATEGORIES: dict[str, str] = {
    **dict.fromkeys(("firewall", "proxy", "webserver"), _NETWORK),
    "dns_query": _DNS,
    "dns": _DNS,
    "process_tampering": "no sensor for changed process images",
    "driver_load": "no module sensor yet",
    "antivirus": "scan verdicts are no rule events yet",
}


SIGMA_CATEGORIES = frozenset(
    {
        *_CATEGORIES, "application", "bpf_load", "clipboard_capture", "create_remote_thread", "create_stream_hash",
        "database", "file_block_executable", "file_delete_detected", "file_executable_detected", "image_load",
        "pipe_created", "ps_classic_provider_start", "ps_classic_start", "ps_module", "ps_script", "raw_access_thread",
        "registry_add", "registry_delete", "registry_event", "registry_rename", "registry_set", "sysmon_error",
        "sysmon_status", "system", "wmi_event",
    }
)  # fmt: skip
"""Categories of Sigma's taxonomy that nothing here delivers: none of them is a slip of the pen."""


def unavailable_reason(name: str) -> str:
    """Why no event here has this field; empty when the name is not one of those that are known to be missing."""
    reason = _NAMES.get(name)
    if reason is None:
        reason = next((why for prefix, why in _PREFIXES.items() if name.startswith(prefix)), "")
    return reason


def unavailable_names() -> tuple[str, ...]:
    """The names that :func:`unavailable_reason` knows one by one."""
    return tuple(_NAMES)


def category_reason(category: str) -> str:
    """Why no sensor here delivers this Sigma category."""
    return _CATEGORIES.get(category, "no sensor delivers this category on Linux")
