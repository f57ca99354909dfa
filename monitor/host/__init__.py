"""What the host's files tell: cgroups, processes, mounts, runtimes; and the word to the service manager."""
