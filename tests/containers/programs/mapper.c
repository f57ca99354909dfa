// mapper FILE: write machine code to FILE, map it, call it. No program is run, and yet FILE's code is.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const unsigned char return7[] = { 0xb8, 7, 0, 0, 0, 0xc3 };
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	int (*code)(void);

	if (fd < 0 || write(fd, return7, sizeof(return7)) != sizeof(return7))
		return 2;
	code = (int (*)(void))mmap(NULL, sizeof(return7), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	return code == (int (*)(void))MAP_FAILED || code() != 7;
}
