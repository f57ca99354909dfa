/* open_loop FILE SECONDS: open and close FILE as fast as can be; prints how often. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 2 ? atol(argv[2]) : 1);
	long count = 0;

	if (argc < 3)
		return 2;
	while (time(NULL) < end) {
		for (int i = 0; i < 1000; i++, count++) {
			int fd = open(argv[1], O_RDONLY);

			if (fd < 0)
				return 1;
			close(fd);
		}
	}
	printf("%ld\n", count);
	return 0;
}
