/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How a file was opened, as the kernel writes it: f_mode (include/linux/fs.h) and f_flags (uapi/asm-generic/fcntl.h).
 */
#ifndef STOCKADE_OPEN_FLAGS_BPF_H
#define STOCKADE_OPEN_FLAGS_BPF_H

#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_CREATED 0x100000
#define O_ACCMODE 0x3
#define O_WRONLY 0x1
#define O_RDWR 0x2
#define O_CREAT 0x40
#define O_TRUNC 0x200

#endif
